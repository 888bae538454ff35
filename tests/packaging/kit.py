"""What the tests of packages share: this checkout, and commands that leave nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]

_LONGEST = 280.0  # seconds: making a Debian on a busy machine takes minutes


def run(*command: str | Path, directory: Path = ROOT, environ: Mapping[str, str] | None = None) -> str:
    """The output of a command, which must succeed. Its environment has `environ` besides the present one.

    A command that takes too long is killed with everything that it started.
    """
    with subprocess.Popen(
        command,
        cwd=directory,
        env={**os.environ, **(environ or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            output, errors = process.communicate(timeout=_LONGEST)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    assert process.returncode == 0, f"{command} ended with {process.returncode}:\n{output[-3000:]}\n{errors[-3000:]}"
    return output
