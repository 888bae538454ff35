"""The system's Chromium, driven by Playwright."""

from __future__ import annotations

import shutil

import pytest
from playwright.sync_api import Browser, Playwright

# As root there is no sandbox. Without the GPU's process and its emulation, a page costs a sixth less.
_ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-software-rasterizer")


def need_chromium() -> None:
    """Skip the test if there is no Chromium."""
    if shutil.which("chromium") is None:
        pytest.skip("needs chromium (Debian package chromium)")


def launch(playwright: Playwright, *arguments: str) -> Browser:
    """Start the browser, with more arguments."""
    return playwright.chromium.launch(executable_path=shutil.which("chromium"), args=[*_ARGUMENTS, *arguments])
