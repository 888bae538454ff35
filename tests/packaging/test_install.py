"""What docs/guide/install.md promises, on a clean Debian: from a clone, and from the Debian package.

Each is a script that prints a transcript and ends with an error if something besides does not hold. The Debian is made
once for all workers, which takes half a minute; the machines are overlays of it.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.packaging import transcripts
from tests.packaging.kit import ROOT, run

pytestmark = [
    pytest.mark.release,
    pytest.mark.slow,
    pytest.mark.timeout(300),
]  # minutes on a busy machine, and packages come over a network


def seconds(transcript: str) -> int:
    (found,) = re.findall(r"^\((\d+) seconds\)$", transcript, re.MULTILINE)
    return int(found)


def test_from_a_clone_to_a_status_over_finger(debian: Path):
    transcript = transcripts.from_clone(debian)
    assert transcripts.without_numbers(transcript) == transcripts.without_numbers(
        transcripts.written()["from_clone.sh"]
    ), "run: make transcripts"
    assert seconds(transcripts.written()["from_clone.sh"]) < 120


def test_from_the_debian_package_to_a_page_an_upgrade_and_a_purge(debian: Path, package: Path):
    if shutil.which("chromium-headless-shell") is None:
        pytest.skip("needs chromium-headless-shell (Debian package chromium-headless-shell)")
    transcript = transcripts.from_deb(debian, package)
    assert transcripts.without_numbers(transcript) == transcripts.without_numbers(
        transcripts.written()["from_deb.sh"]
    ), "run: make transcripts"
    assert seconds(transcripts.written()["from_deb.sh"]) < 180


def test_the_same_commit_gives_the_same_debian_package(package: Path, tmp_path: Path):
    build = f"umask 077; exec '{ROOT}/packaging/deb/build' '{sys.executable}' '{tmp_path / 'again'}'"
    run("sh", "-c", build, environ={"XZ_LEVEL": "1", "TZ": "Asia/Kolkata", "LC_ALL": "C", "TMPDIR": str(tmp_path)})
    assert (tmp_path / "again" / package.name).read_bytes() == package.read_bytes()


def test_lintian_finds_nothing_in_the_package(package: Path, tmp_path: Path):
    """Without the modules, which are other projects' and on which lintian spends most of its time."""
    if shutil.which("lintian") is None:
        pytest.skip("needs lintian (Debian package lintian)")
    tree, slim = tmp_path / "tree", tmp_path / package.name
    run("dpkg-deb", "--raw-extract", package, tree)
    for path in (tree / "usr/lib/fingertrio/lib").rglob("*.py"):
        path.unlink()
    sums = (tree / "DEBIAN/md5sums").read_text().splitlines(keepends=True)
    kept = [line for line in sums if (tree / line.split("  ", 1)[1].rstrip("\n")).exists()]
    (tree / "DEBIAN/md5sums").write_text("".join(kept))
    run("dpkg-deb", "--root-owner-group", "-Zxz", "-z1", "--build", tree, slim)
    command = ["lintian", "--allow-root", "--fail-on", "error,warning", str(slim)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
