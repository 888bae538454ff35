"""What a user may do with a file, computed as the kernel decides it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fingertrio.cli.doctor.account import Account, named_account, open_to_others, own_account

STRANGER = Account("stranger", 4711, frozenset({4711}))


@pytest.fixture
def directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.mark.parametrize(
    ("mode", "wanted", "may"),
    [
        (0o644, os.R_OK, True),
        (0o640, os.R_OK, False),
        (0o644, os.W_OK, False),
        (0o602, os.W_OK, True),
        (0o604, os.R_OK | os.W_OK, False),
    ],
)
def test_a_stranger_has_the_last_three_bits(directory: Path, mode: int, wanted: int, may: bool):
    file = directory / "file"
    file.write_text("")
    file.chmod(mode)
    assert (STRANGER.obstacle(file, wanted) is None) is may


def test_a_member_of_the_group_has_those_of_the_group(directory: Path):
    file = directory / "file"
    file.write_text("")
    file.chmod(0o640)
    member = Account("member", 4711, frozenset({4711, file.stat().st_gid}))
    assert member.obstacle(file, os.R_OK) is None
    file.chmod(0o604)  # the group has less than everybody else
    assert member.obstacle(file, os.R_OK) == file


def test_a_directory_that_keeps_a_user_out_is_named(directory: Path):
    closed = directory / "closed"
    (closed / "inner").mkdir(parents=True)
    (closed / "inner/file").write_text("")
    closed.chmod(0o700)
    assert STRANGER.obstacle(closed / "inner/file", os.R_OK) == closed
    closed.chmod(0o711)
    assert STRANGER.obstacle(closed / "inner/file", os.R_OK) is None


def test_this_user_is_asked_of_the_kernel(directory: Path):
    assert own_account().obstacle(directory, os.W_OK) is None
    with pytest.raises(FileNotFoundError):
        own_account().obstacle(directory / "none", os.R_OK)


def test_others_need_every_directory_above(directory: Path):
    file = directory / "file"
    file.write_text("")
    file.chmod(0o644)
    assert open_to_others(file)
    assert not open_to_others(file, os.W_OK)
    directory.chmod(0o700)
    assert not open_to_others(file)


def test_accounts_by_name():
    root = named_account("root")
    assert root is not None
    assert (root.uid, 0 in root.groups) == (0, True)
    assert named_account("no-such-user-here") is None
