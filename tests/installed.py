"""Distributions that seem to be installed, for tests that look for plug-ins by their entry points."""

from __future__ import annotations

from pathlib import Path

import pytest


def pretend_installed(monkeypatch: pytest.MonkeyPatch, directory: Path, group: str, **points: str) -> None:
    """Until the end of the test, a distribution in `directory` has these entry points in `group`, by name."""
    write_distribution(directory, group, **points)
    monkeypatch.syspath_prepend(directory)


def write_distribution(directory: Path, group: str, **points: str) -> None:
    """A distribution for every Python that has `directory` in PYTHONPATH."""
    info = directory / "pretended-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: pretended\nVersion: 1.0\n")
    lines = [f"[{group}]", *(f"{name} = {value}" for name, value in points.items())]
    (info / "entry_points.txt").write_text("\n".join(lines))
