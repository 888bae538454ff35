"""packaging/container: the Containerfile is linted, and its steps are carried out in a chroot: no engine runs here.

The image starts from Debian 12, and so does the machine where the steps are carried out. What comes out is run alone,
in a chroot, without root and read-only, and all of it is measured. What an engine adds is not shown.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]  # it has no types

from fingertrio.config.config import load_config
from tests.packaging.kit import ROOT, run

CONTAINER = ROOT / "packaging/container"
Step = tuple[str, str]


def steps() -> list[Step]:
    """The instructions of the Containerfile, each with its arguments."""
    text = re.sub(r"^#.*\n", "", (CONTAINER / "Containerfile").read_text(), flags=re.MULTILINE)
    lines = [line for line in re.sub(r"\\\n\s*", " ", text).splitlines() if line.strip()]
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines)]


def last(instruction: str) -> str:
    return [rest for word, rest in steps() if word == instruction][-1]


def test_hadolint_finds_nothing_in_the_containerfile():
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, CONTAINER / "Containerfile"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_image_runs_without_root_and_says_when_it_is_ill():
    user, _, group = last("USER").partition(":")
    assert int(user) > 1000
    assert int(group) > 1000
    assert json.loads(last("HEALTHCHECK").partition("CMD ")[2]) == ["fingertrio", "healthcheck"]
    assert json.loads(last("ENTRYPOINT")) == ["fingertrio"]


def test_the_compose_file_fits_the_image():
    (service,) = yaml.safe_load((CONTAINER / "compose.yaml").read_text())["services"].values()
    assert (service["read_only"], service["cap_drop"], service["tmpfs"]) == (True, ["ALL"], ["/tmp"])
    assert (CONTAINER / service["build"]["context"]).resolve() == ROOT
    assert (ROOT / service["build"]["dockerfile"]).samefile(CONTAINER / "Containerfile")
    exposed = {port.removesuffix("/tcp") for port in last("EXPOSE").split()}
    assert {port.rpartition(":")[2] for port in service["ports"]} == exposed
    assert [volume.partition(":")[2] for volume in service["volumes"]] == json.loads(last("VOLUME"))
    doors = load_config(CONTAINER / "fingertrio.toml", {}).doors
    assert {str(address).rpartition(":")[2] for name in ("finger", "http") for address in doors[name].listen} == exposed


def test_what_the_steps_copy_reaches_the_engine():
    """Everything else is ignored, so that a build does not send .venv and .git."""
    kept = {line[1:] for line in (CONTAINER / "Containerfile.dockerignore").read_text().splitlines() if line[:1] == "!"}
    sources = [
        source
        for word, rest in steps()
        if word == "COPY" and "--from" not in rest
        for source in [each for each in rest.split() if not each.startswith("--")][:-1]
    ]
    assert {source.replace("fingertrio-*", "*") for source in sources} == kept


def as_shell() -> str:
    """The steps as a script for container.sh: what an engine would do with each."""
    lines, stage = [], ""
    for word, rest in steps():
        words = rest.split()
        options = dict(each.removeprefix("--").split("=", 1) for each in words if re.match("--[a-z]+=", each))
        paths = [each for each in words if not each.startswith("--")]
        if word == "FROM":
            stage = paths[2] if len(paths) > 2 else "final"
            lines.append(f"stage {stage}")
        elif word == "COPY":
            place = [options.get("from", ""), options.get("chmod", "")]
            lines.append(" ".join(["copy", *map(shlex.quote, place), *paths]))
        elif word == "RUN":
            lines.append(f"execute {shlex.quote(rest)}")
        elif word in {"ENV", "USER", "WORKDIR"}:
            lines.append(f"{word.lower()} {rest}")
    return "\n".join(lines)


@pytest.mark.release
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_steps_make_something_that_runs_read_only_and_is_small(debian: Path, tmp_path: Path):
    context = tmp_path / "context"
    run("packaging/dist", sys.executable, context / "dist")
    for name in ("constraints.txt", "packaging/container/fingertrio.toml", "packaging/container/rootfs.sh"):
        (context / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, context / name)
    (tmp_path / "steps").write_text(as_shell())
    healthcheck = shlex.join(json.loads(last("HEALTHCHECK").partition("CMD ")[2]))
    command = shlex.join([*json.loads(last("ENTRYPOINT")), *json.loads(last("CMD"))])
    printed = run(Path(__file__).parent / "container.sh", debian, context, tmp_path / "steps", command, healthcheck)
    found = dict(line.split(": ", 1) for line in printed.splitlines() if ": " in line)
    assert found["health"].startswith("ready"), printed
    assert found["status"] == "gone fishing"
    assert found["user"] == last("USER").partition(":")[0]
    assert "Read-only file system" in found["write"]
    assert found["shells"] == "0"
    # The whole image. docs/guide/install.md has the numbers.
    assert int(found["unpacked"]) < 120_000_000
    assert int(found["compressed"]) < 45_000_000
