"""The system's Chromium, driven by Playwright.

Debian's chromium-headless-shell is the same engine without the browser around it, and a page costs half. Where it is
not installed, chromium serves.
"""

from __future__ import annotations

import shutil

import pytest
from playwright.sync_api import Browser, Playwright

# As root there is no sandbox. Without the GPU's process and its emulation, a page costs a sixth less.
_ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-software-rasterizer")


def need_chromium() -> None:
    """Skip the test if there is no Chromium."""
    if _program() is None:
        pytest.skip("needs chromium-headless-shell (Debian package chromium-headless-shell)")


def launch(playwright: Playwright, *arguments: str) -> Browser:
    """Start the browser, with more arguments."""
    return playwright.chromium.launch(executable_path=_program(), args=[*_ARGUMENTS, *arguments])


def _program() -> str | None:
    return shutil.which("chromium-headless-shell") or shutil.which("chromium")
