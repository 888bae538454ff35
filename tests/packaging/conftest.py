"""A clean Debian and the Debian package, each made once for all tests and all workers of pytest-xdist."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.packaging import transcripts

_PROGRAMS = {
    "mmdebstrap": "mmdebstrap",
    "git": "git",
    "dpkg-shlibdeps": "dpkg-dev",
    "ip": "iproute2",
    "pgrep": "procps",
}


def _need_programs() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root, for namespaces and chroot")
    for program, package in _PROGRAMS.items():
        if shutil.which(program) is None:
            pytest.skip(f"needs {program} (Debian package {package})")


def once(tmp_path_factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """What `make` puts into a directory that all workers share; only the first one makes it."""
    _need_programs()
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    place, done = shared / name, shared / f"{name}.done"
    with (shared / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            shutil.rmtree(place, ignore_errors=True)
            make(place)
            done.touch()
    return place


@pytest.fixture(scope="module")
def debian(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if kept := os.environ.get("CLEAN_DEBIAN"):
        return Path(kept)
    return once(tmp_path_factory, "debian", transcripts.debian)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    (found,) = once(tmp_path_factory, "deb", transcripts.build_deb).glob("*.deb")
    return found
