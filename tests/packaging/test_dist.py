"""`make dist`: the same commit gives the same bytes, everything is inside, and what is installed from it runs."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from packaging.metadata import Metadata

import fingertrio
from fingertrio.testing.process import environment
from fingertrio.testing.program import Program
from tests.packaging.kit import ROOT, run

pytestmark = [pytest.mark.release, pytest.mark.slow]

WHEEL = f"fingertrio-{fingertrio.version}-py3-none-any.whl"
SDIST = f"fingertrio-{fingertrio.version}.tar.gz"

if not (ROOT / ".git").exists() or shutil.which("git") is None:
    pytest.skip("needs git, and a checkout: a build has its files and times from there", allow_module_level=True)


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build of this checkout, with what is not committed yet."""
    directory = tmp_path_factory.mktemp("dist")
    run("packaging/dist", sys.executable, directory)
    return directory


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The last commit elsewhere, with files that others cannot read."""
    directory = tmp_path_factory.mktemp("another place") / "c"
    subprocess.run(f"umask 077; git clone -q '{ROOT}' '{directory}'", shell=True, check=True)
    return directory


def built(clone: Path, target: Path, umask: str, environ: dict[str, str]) -> dict[str, bytes]:
    run(
        "sh",
        "-c",
        f"umask {umask}; exec packaging/dist '{sys.executable}' '{target}'",
        directory=clone,
        environ=environ,
    )
    return {path.name: path.read_bytes() for path in target.iterdir()}


def test_the_same_commit_gives_the_same_bytes(clone: Path, tmp_path: Path):
    """Whatever the umask, the time zone, the locale and the directory. The sdist gives the same wheel again."""
    first = built(clone, tmp_path / "1", "022", {"TZ": "UTC", "LC_ALL": "C"})
    moved = clone.rename(clone.with_name("moved"))
    second = built(moved, tmp_path / "2", "077", {"TZ": "Asia/Kolkata", "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "7"})
    moved.rename(clone)
    assert first == second
    with tarfile.open(tmp_path / "1" / SDIST) as sdist:
        sdist.extractall(tmp_path, filter="data")
    epoch = run("git", "log", "-1", "--format=%ct").strip()
    source = tmp_path / SDIST.removesuffix(".tar.gz")
    run(
        sys.executable,
        "-m",
        "hatchling",
        "build",
        "-t",
        "wheel",
        "-d",
        tmp_path,
        directory=source,
        environ={"SOURCE_DATE_EPOCH": epoch},
    )
    assert (tmp_path / WHEEL).read_bytes() == first[WHEEL]


def test_everything_is_in_the_wheel(dist: Path):
    names = set(zipfile.ZipFile(dist / WHEEL).namelist())
    package = {str(path.relative_to(ROOT)) for path in (ROOT / "fingertrio").rglob("*") if path.is_file()}
    package = {name for name in package if "__pycache__" not in name}
    assert "fingertrio/py.typed" in package
    assert package <= names
    data = f"fingertrio-{fingertrio.version}.data/data/share"
    for source, place in (
        ("docs/man", "man"),
        ("conf", "fingertrio/conf"),
        ("docs/guide", "doc/fingertrio/docs/guide"),
    ):
        files = [path for path in (ROOT / source).rglob("*") if path.is_file() and path.suffix not in {".py", ".pyc"}]
        assert files
        assert {f"{data}/{place}/{path.relative_to(ROOT / source)}" for path in files} <= names
    assert not [name for name in names if name.startswith(("tests", "packaging", "docs"))]


def test_what_is_in_git_is_in_the_sdist(dist: Path):
    with tarfile.open(dist / SDIST) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
        owners = {(member.uid, member.gid, member.uname, member.gname) for member in sdist.getmembers()}
    assert set(run("git", "ls-files").splitlines()) <= names
    assert owners == {(0, 0, "", "")}


def test_the_metadata_is_valid_and_the_description_is_the_readme(dist: Path):
    with zipfile.ZipFile(dist / WHEEL) as wheel:
        text = wheel.read(f"fingertrio-{fingertrio.version}.dist-info/METADATA")
    found = Metadata.from_email(text, validate=True)  # raises for what an index would refuse
    assert (found.name, str(found.version)) == ("fingertrio", fingertrio.version)
    assert found.license_expression == "MIT"
    assert found.description_content_type == "text/markdown"
    assert found.description == (ROOT / "README.md").read_text("utf-8")


def test_the_version_has_its_section_in_the_changelog_and_its_tag():
    """The newest section is this version, with its date; a tag of it, if there is one, is in our history."""
    headings = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert re.fullmatch(rf"{re.escape(fingertrio.version)} \(\d{{4}}-\d\d-\d\d\)", headings[0]), headings[0]
    tag = f"v{fingertrio.version}"
    if run("git", "tag", "--list", tag).strip():
        run("git", "merge-base", "--is-ancestor", tag, "HEAD")


def test_what_is_installed_from_the_wheel_runs(dist: Path, tmp_path: Path):
    """In an environment of its own, with the pinned versions: a status over finger, the manual, the configurations."""
    run(sys.executable, "-m", "venv", "--without-pip", tmp_path / "env")
    python, command = tmp_path / "env/bin/python", tmp_path / "env/bin/fingertrio"
    pip: list[str | Path] = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-compile"]
    run(*pip, "--constraint", ROOT / "constraints.txt", dist / WHEEL)
    config = tmp_path / "fingertrio.toml"
    config.write_text(f"""
        [backend]
        use = "sqlite"
        path = {json.dumps(str(tmp_path / "statuses.db"))}
        [process]
        run_as_root = true
        [log]
        format = "json"
        [finger]
        listen = ["127.0.0.1:0"]
        [setter]
        listen = ["127.0.0.1:0"]
    """)
    environ = {**environment(), "XDG_RUNTIME_DIR": str(tmp_path)}
    environ.pop("PYTHONPATH", None)
    with Program([command, "serve", "--config", config], tmp_path / "log", environ=environ, fresh=True) as program:
        run(command, "set", "--user", "ada", "back at five", environ=environ)
        host, port = program.address("finger")
        assert run(command, "finger", f"ada@{host}:{port}", environ=environ) == "back at five\n"
        program.end()
    assert run(command, "--version") == f"fingertrio, version {fingertrio.version}\n"
    share = tmp_path / "env/share"
    assert (share / "man/man1/fingertrio-set.1").read_bytes() == (ROOT / "docs/man/man1/fingertrio-set.1").read_bytes()
    assert "no mistakes" in run(command, "check-config", share / "fingertrio/conf/production.toml")
