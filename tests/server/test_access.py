"""What another user may do with files, beside what the kernel says."""

from __future__ import annotations

import os
import pwd
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fingertrio.server.access import ServerUser

NOBODY = ServerUser("nobody", 65534, frozenset({65534}))
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def place() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="fingertrio-access-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.mark.parametrize(
    ("mode", "wanted", "lacks"),
    [
        (0o644, os.R_OK, None),
        (0o640, os.R_OK, "read"),
        (0o644, os.R_OK | os.W_OK, "write to"),
        (0o600, os.R_OK | os.W_OK, "read and write to"),
        (0o666, os.R_OK | os.W_OK, None),
        (0o644, os.X_OK, "run"),
    ],
)
def test_a_file_of_another_user(place: Path, mode: int, wanted: int, lacks: str | None):
    file = place / "f"
    file.touch()
    file.chmod(mode)
    found = NOBODY.obstacle(file, wanted)
    assert (found.lacks if found else None) == lacks
    if found is not None:
        assert (found.place, found.ownership[-4:]) == (file, f"{mode:04o}")


def test_every_directory_above_counts(place: Path):
    deep = place / "a/b/c"
    deep.mkdir(parents=True)
    (deep / "f").touch()
    assert NOBODY.obstacle(deep / "f", os.R_OK) is None
    (place / "a").chmod(0o700)
    found = NOBODY.obstacle(deep / "f", os.R_OK)
    assert found is not None
    assert (found.place, found.lacks) == (place / "a", "enter")


def test_a_link_counts_by_its_target(place: Path):
    (place / "closed").mkdir(mode=0o700)
    (place / "closed/f").touch()
    (place / "link").symlink_to(place / "closed/f")
    found = NOBODY.obstacle(place / "link", os.R_OK)
    assert found is not None
    assert found.place == place / "closed"


def test_a_file_that_is_to_be_made_needs_a_directory_to_make_it_in(place: Path):
    assert NOBODY.obstacle(place / "new", os.R_OK) is None
    assert NOBODY.obstacle(place / "more/new", os.R_OK) is None
    for path in (place / "new", place / "more/new"):
        found = NOBODY.obstacle(path, os.R_OK | os.W_OK)
        assert found is not None
        assert (found.place, found.lacks) == (place, "write to")
    place.chmod(0o777)
    assert NOBODY.obstacle(place / "more/new", os.R_OK | os.W_OK) is None


def test_groups_count_and_those_of_the_owner_hide_those_of_others(place: Path):
    file = place / "f"
    file.touch()
    status = file.stat()
    member = ServerUser("x", 12345, frozenset({status.st_gid}))
    owner = ServerUser("x", status.st_uid or 1, frozenset({status.st_gid}))
    file.chmod(0o640)
    assert member.obstacle(file, os.R_OK) is None
    file.chmod(0o604)
    assert member.obstacle(file, os.R_OK) is not None  # the group's bits are the ones that count
    if status.st_uid:
        file.chmod(0o066)
        assert owner.obstacle(file, os.R_OK) is not None


@AS_ROOT
@pytest.mark.parametrize("mode", [0o000, 0o400, 0o440, 0o444, 0o604, 0o640, 0o666])
def test_it_says_what_the_kernel_says(place: Path, mode: int):
    """A child becomes the user and tries."""
    daemon = ServerUser.find("daemon", None)
    file = place / "f"
    file.touch()
    os.chown(file, 0, pwd.getpwnam("daemon").pw_gid)
    file.chmod(mode)
    done = subprocess.run(
        ["test", "-r", file],
        check=False,
        user=daemon.uid,
        group=pwd.getpwnam("daemon").pw_gid,
        extra_groups=list(daemon.groups),
    )
    kernel = done.returncode == 0
    assert (daemon.obstacle(file, os.R_OK) is None) == kernel


def test_an_unknown_user_or_group_is_an_error():
    with pytest.raises(KeyError):
        ServerUser.find("no-such-user", None)
    with pytest.raises(KeyError):
        ServerUser.find("root", "no-such-group")
