from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fingertrio.accounts.file import TokenFile
from fingertrio.accounts.tokens import TokensError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "tokens.json"


async def test_it_is_made_for_its_owner_alone(path: Path):
    file = TokenFile(path)
    assert await file.read() is None
    assert await file.replace(b"one", None)
    assert await file.read() == b"one"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert [entry.name for entry in path.parent.iterdir()] == ["tokens.json"]


async def test_it_is_read_again_when_another_program_changed_it(path: Path):
    file, other = TokenFile(path), TokenFile(path)
    await file.replace(b"one", None)
    assert await other.read() == b"one"
    assert await other.replace(b"two", b"one")
    assert await file.read() == b"two"
    path.unlink()
    assert await file.read() is None


async def test_it_is_not_replaced_when_another_program_was_first(path: Path):
    file, other = TokenFile(path), TokenFile(path)
    await file.replace(b"one", None)
    assert not await other.replace(b"two", None)
    assert not await other.replace(b"two", b"zero")
    assert await other.read() == b"one"


@pytest.mark.parametrize("plant", ["hardlink_to", "symlink_to"])
async def test_what_is_in_the_way_of_the_new_file_is_not_written_to(path: Path, tmp_path: Path, plant: str):
    """Root writes into a directory of the server's user, who could otherwise have any file truncated and given away."""
    other = tmp_path / "shadow"
    other.write_bytes(b"of somebody else")
    other.chmod(0o644)
    path.parent.mkdir()
    temporary = path.with_name(f".tokens.json.{os.getpid()}")
    getattr(temporary, plant)(other)
    assert await TokenFile(path).replace(b"one", None)
    assert other.read_bytes() == b"of somebody else"
    assert path.read_bytes() == b"one"
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
async def test_a_file_that_others_can_change_is_refused(path: Path, mode: int):
    file = TokenFile(path)
    await file.replace(b"one", None)
    path.chmod(mode)
    with pytest.raises(TokensError, match="can be changed by other users: chmod 600"):
        await TokenFile(path).read()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
async def test_a_file_of_another_user_is_refused(path: Path):
    file = TokenFile(path)
    await file.replace(b"one", None)
    os.chown(path, 12345, 12345)
    with pytest.raises(TokensError, match="can be changed by other users"):
        await TokenFile(path).read()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
async def test_what_root_writes_belongs_to_the_servers_user(path: Path):
    path.parent.mkdir()
    os.chown(path.parent, 12345, 12346)
    file = TokenFile(path)
    for document, old in ((b"one", None), (b"two", b"one")):
        assert await file.replace(document, old)
        assert (path.stat().st_uid, path.stat().st_gid) == (12345, 12346)
        assert await TokenFile(path).read() == document


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo], ids=["directory", "fifo"])
async def test_what_is_not_a_file_is_refused_and_does_not_hang(path: Path, make):
    path.parent.mkdir()
    make(path)
    with pytest.raises(TokensError):
        await TokenFile(path).read()


async def test_a_file_that_is_too_large_is_refused(path: Path):
    path.parent.mkdir()
    path.write_bytes(b"x" * (4 * 1024 * 1024 + 1))
    path.chmod(0o600)
    with pytest.raises(TokensError, match="revoke tokens"):
        await TokenFile(path).read()


async def test_a_directory_that_cannot_be_made_is_an_error(tmp_path: Path):
    (tmp_path / "state").write_text("a file")
    with pytest.raises(TokensError, match="cannot be written"):
        await TokenFile(tmp_path / "state" / "tokens.json").replace(b"one", None)


_ADDS = """
import sys, trio
from fingertrio.accounts.file import TokenFile
from fingertrio.accounts.store import TokenStore
from pathlib import Path
async def main():
    store = TokenStore(TokenFile(Path(sys.argv[1])))
    for _ in range(20):
        await store.add("ada")
trio.run(main)
"""


def test_programs_that_add_at_once_lose_nothing(path: Path):
    processes = [subprocess.Popen([sys.executable, "-c", _ADDS, str(path)]) for _ in range(3)]
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert path.read_bytes().count(b'"sha256"') == 60
