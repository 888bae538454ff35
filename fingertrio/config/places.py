"""Directories that the program uses unless its configuration names others."""

from __future__ import annotations

import os
from pathlib import Path


def state_directory() -> Path:
    """The XDG directory for what a program keeps. The specification: a relative path is to be ignored."""
    state = os.environ.get("XDG_STATE_HOME", "")
    return (Path(state) if state.startswith("/") else Path("~/.local/state").expanduser()) / "fingertrio"
