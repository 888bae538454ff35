"""The examples' tests, run with the rest of the suite as if each example were installed."""

from __future__ import annotations

import os
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent


@pytest.fixture(scope="module", autouse=True)
def installed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """For each module of tests: the example's metadata and modules, for this process and those that it starts.

    No longer than that: with PYTHONPATH, the program cannot be forked (fingertrio/testing/forkserver.py).
    """
    project = EXAMPLES / request.path.relative_to(EXAMPLES).parts[0]
    directory = tmp_path_factory.mktemp("installed")
    write_metadata(directory, project)
    paths = [str(directory), str(project / "src")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(paths))
        patch.setattr(sys, "path", [paths[0], *sys.path])
        yield


def write_metadata(directory: Path, project: Path) -> None:
    """The metadata that installing `project` gives, from its pyproject.toml: without a build, so it takes no time."""
    table = tomllib.loads((project / "pyproject.toml").read_text())["project"]
    name, version = table["name"], table["version"]
    info = directory / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    lines = []
    for group, points in table["entry-points"].items():
        lines += [f"[{group}]", *(f"{point} = {value}" for point, value in points.items())]
    (info / "entry_points.txt").write_text("\n".join(lines))
