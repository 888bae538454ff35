"""Makes the pictures in docs/images: `make screenshots`.

The pages of a site that looks alive (`people`), as Chromium shows them, light and dark, on a desktop and on a phone.
Look at each before it is committed.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Literal

import trio
from playwright.sync_api import Browser, Page, sync_playwright

from fingertrio.accounts.accounts import Accounts
from fingertrio.frontends.web.frontend import WebPolicy
from fingertrio.frontends.web.site import Site
from fingertrio.net.address import Address
from tests.chromium import launch
from tests.frontends.web.kit import serving
from tests.frontends.web.people import PEOPLE, People
from tests.helpers import no_accounts

IMAGES = Path(__file__).parents[3] / "docs/images"
NEEDED = {"chromium-headless-shell": "chromium-headless-shell", "pngquant": "pngquant", "fc-list": "fontconfig"}
FONTS = {"Noto Color Emoji": "fonts-noto-color-emoji", "Noto Sans CJK": "fonts-noto-cjk"}

# All pictures together. They are in the repository for ever, each version of them.
LIMIT = 600 * 1024  # bytes

SITE = Site(
    title="tilde.example",
    description="What everybody here is up to. Also by finger.",
    url="https://tilde.example",
    finger=[Address("0.0.0.0", 79)],
)
PRESETS = {
    "lunch": {"status": "🍽️ Lunch", "for": "1h"},
    "train": {"status": "🚂 On a train", "for": "2h"},
    "off": {"status": "🌙 Off until tomorrow", "until": "tomorrow"},
}

Scheme = Literal["light", "dark"]
SIZES = {"desktop": (900, 800), "phone": (390, 844)}
PAGES = {"stream": "/", "user": "/ken", "me": "/-/me"}
SHOWN = [
    ("stream", "desktop", "light"),
    ("stream", "desktop", "dark"),
    ("stream", "phone", "dark"),
    ("user", "desktop", "light"),
    ("user", "desktop", "dark"),
    ("user", "phone", "light"),
    ("me", "desktop", "light"),
    ("me", "phone", "dark"),
]


def check_tools() -> None:
    missing = [package for program, package in NEEDED.items() if shutil.which(program) is None]
    if not missing:
        fonts = subprocess.run(["fc-list"], capture_output=True, text=True, check=True).stdout
        missing = [package for font, package in FONTS.items() if font not in fonts]
    if missing:
        sys.exit(f"the pictures need these Debian packages: apt-get install {' '.join(missing)}")


async def main() -> None:
    check_tools()
    IMAGES.mkdir(exist_ok=True)
    backend, accounts = People(), no_accounts()
    await backend.enter(*PEOPLE)
    async with serving(backend, policy=WebPolicy(site=SITE), accounts=accounts, presets=PRESETS) as site:
        secret = await make_token(accounts, "ada")
        await trio.to_thread.run_sync(take_all, site.url, secret)
    sizes = {path.name: path.stat().st_size for path in sorted(IMAGES.glob("*.png"))}
    for name, size in sizes.items():
        print(f"{size // 1024:5} kB  {name}")  # noqa: T201 -- it is a command
    if sum(sizes.values()) > LIMIT:
        sys.exit(f"all pictures together have more than {LIMIT // 1024} kB")


async def make_token(accounts: Accounts, user: str) -> str:
    secret, _ = await accounts.tokens.add(user)
    return secret


def take_all(url: str, secret: str) -> None:
    with sync_playwright() as playwright:
        browser = launch(playwright)
        for name, device, scheme in SHOWN:
            take(browser, url, secret, name, device, scheme)  # type: ignore[arg-type]
        browser.close()


def take(browser: Browser, url: str, secret: str, name: str, device: str, scheme: Scheme) -> None:
    width, height = SIZES[device]
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=scheme, device_scale_factor=2, timezone_id="UTC"
    )
    page = context.new_page()
    if name == "me":
        sign_in(page, url, secret)
    page.goto(url + PAGES[name])
    if name != "me":
        page.locator(".state.live").wait_for()
    page.evaluate("document.fonts.ready")
    path = IMAGES / f"{name}-{device}-{scheme}.png"
    page.screenshot(path=path, animations="disabled", caret="hide")
    subprocess.run(["pngquant", "--force", "--strip", "--speed", "1", "--ext", ".png", "48", path], check=True)
    context.close()


def sign_in(page: Page, url: str, secret: str) -> None:
    page.goto(f"{url}/-/sign-in")
    page.locator("#token").fill(secret)
    page.keyboard.press("Enter")
    page.wait_for_url("**/-/me")


if __name__ == "__main__":
    trio.run(main)
