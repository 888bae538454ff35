"""Files and directories that the program uses unless its configuration or an option names others."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

# What root's server reads and keeps. Every other user has directories of their own (XDG).
SYSTEM_CONFIG = Path("/etc/fingertrio/fingertrio.toml")
SYSTEM_STATE = Path("/var/lib/fingertrio")


def state_directory() -> Path:
    """The XDG directory for what a program keeps. The specification: a relative path is to be ignored."""
    state = os.environ.get("XDG_STATE_HOME", "")
    return (Path(state) if state.startswith("/") else Path("~/.local/state").expanduser()) / "fingertrio"


def config_directory(environ: Mapping[str, str] = os.environ) -> Path:
    """The XDG directory for what a user configures."""
    config = environ.get("XDG_CONFIG_HOME", "")
    return (Path(config) if config.startswith("/") else Path("~/.config").expanduser()) / "fingertrio"


def config_path() -> Path:
    """Where the configuration of this user's server is by default: `fingertrio init` writes it there."""
    return SYSTEM_CONFIG if os.geteuid() == 0 else config_directory() / SYSTEM_CONFIG.name


def default_config() -> Path | None:
    """The configuration where no other is named; None: there is no such file, and the built-in one counts."""
    try:
        path = config_path()
        return path if path.is_file() else None
    except (OSError, RuntimeError):  # a directory that may not be searched, or a user without a home
        return None
