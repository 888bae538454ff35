"""The user of a server, and files that are open to everybody."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fingertrio.cli.doctor.account import account_of, open_to_others, own_account


@pytest.fixture
def directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_others_need_every_directory_above(directory: Path):
    file = directory / "file"
    file.write_text("")
    file.chmod(0o644)
    assert open_to_others(file)
    assert not open_to_others(file, os.W_OK)
    directory.chmod(0o700)
    assert not open_to_others(file)


def test_accounts_by_number():
    assert (account_of(0, {0}).name, account_of(4711, {5}).name) == ("root", "4711")
    assert (own_account().uid, os.getegid() in own_account().groups) == (os.geteuid(), True)
