"""What the tests of packages share: this checkout, builds of it, and files that several workers make only once."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run(*command: str | Path, directory: Path = ROOT, environ: Mapping[str, str] | None = None) -> str:
    """The output of a command, which must succeed. Its environment has `environ` besides the present one."""
    done = subprocess.run(
        command,
        cwd=directory,
        env={**os.environ, **(environ or {})},
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    assert done.returncode == 0, (
        f"{command} ended with {done.returncode}:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    )
    return done.stdout
