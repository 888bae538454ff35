"""/-/sign-in and /-/me in real browsers: Chromium over https, by keyboard; and lynx, without script."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib import resources
from pathlib import Path

import pytest
import trio
import trustme
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright

from fingertrio.backends.memory import MemoryBackend
from tests.chromium import launch, need_chromium
from tests.frontends.web.browsing import PRESETS
from tests.frontends.web.kit import serving
from tests.helpers import no_accounts

pytestmark = pytest.mark.slow  # it starts a browser

AXE = resources.files("axe_playwright_python").joinpath("axe.min.js").read_text()
PHONE = {"width": 390, "height": 844}
PLAN = "Release notes\n\n  /\\_/\\    https://example.org/\n ( o.o )"


async def test_a_visit(tmp_path: Path):
    need_chromium()
    certificate = tmp_path / "localhost.pem"
    trustme.CA().issue_cert("localhost", "127.0.0.1").private_key_and_cert_chain_pem.write_to_path(certificate)
    accounts = no_accounts()
    backend = MemoryBackend({"ada": "Weaving"})
    async with serving(backend, certfile=certificate, accounts=accounts, presets=PRESETS) as site:
        url = f"https://localhost:{site.address[1]}"
        secret, token = await accounts.tokens.add("ada")

        def status() -> str:
            info = trio.from_thread.run(backend.get_user, "ada")
            return "" if info is None else info.status

        def set_elsewhere(text: str) -> None:
            trio.from_thread.run(backend.set_user, "ada", text)

        def revoked() -> None:
            trio.from_thread.run(accounts.tokens.revoke, token.id)

        await trio.to_thread.run_sync(visit, url, secret, status, set_elsewhere, revoked)
        assert secret not in site.log.getvalue()


def visit(
    url: str,
    secret: str,
    status: Callable[[], str],
    set_elsewhere: Callable[[str], None],
    revoked: Callable[[], None],
) -> None:
    with sync_playwright() as playwright:
        browser = launch(playwright)
        context = new_context(browser)
        page = context.new_page()
        mistakes: list[str] = []
        page.on("pageerror", lambda error: mistakes.append(str(error)))
        page.on("console", partial(note_violation, mistakes))
        sign_in_by_keyboard(page, url, secret)
        check_cookie(context, secret)
        set_with_preview_and_take_back(page, status)
        clear(page, status)
        press_a_preset(page, status)
        send_from_another_site(context, url, status)
        follow_a_link_from_another_site(context, url)
        follow_changes(page, url, set_elsewhere)
        end_while_open(page, url, status, revoked)
        assert mistakes == []
        browser.close()


def is_accessible(page: Page) -> None:
    """Nothing that axe-core finds, in both themes, and nothing wider than a phone."""
    page.evaluate(AXE)
    for scheme, options in (("dark", {"runOnly": ["color-contrast"]}), ("light", {})):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]  # a literal, which a loop loses
        found = page.evaluate("options => axe.run(document, options)", options)
        assert [(one["id"], one["nodes"][0]["html"]) for one in found["violations"]] == []
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def note_violation(mistakes: list[str], message: ConsoleMessage) -> None:
    if "Security Policy" in message.text:
        mistakes.append(message.text)


def new_context(browser: Browser) -> BrowserContext:
    context = browser.new_context(
        ignore_https_errors=True,
        timezone_id="Asia/Kolkata",
        viewport=PHONE,  # type: ignore[arg-type]  # a plain dict
    )
    context.set_default_timeout(20_000)
    return context


def sign_in_by_keyboard(page: Page, url: str, secret: str) -> None:
    page.goto(f"{url}/-/me")
    assert page.url == f"{url}/-/sign-in"
    page.keyboard.type("ft_nonsense")  # the field has the focus
    page.keyboard.press("Enter")
    page.get_by_text("This token is not valid.").wait_for()
    is_accessible(page)
    page.keyboard.type(secret)
    page.keyboard.press("Enter")
    page.get_by_text("What people see now").wait_for()
    assert page.url == f"{url}/-/me"


def check_cookie(context: BrowserContext, secret: str) -> None:
    [cookie] = context.cookies()
    assert cookie["name"] == "__Host-fingertrio"
    assert (cookie["secure"], cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (True, True, "Strict", "/")
    assert secret not in cookie["value"]


def set_with_preview_and_take_back(page: Page, status: Callable[[], str]) -> None:
    """By keyboard alone; the end is read in the browser's zone."""
    page.locator("#status").focus()
    page.keyboard.press("Control+a")
    page.keyboard.insert_text(PLAN)
    page.get_by_text("As it would look").wait_for()
    assert page.locator("#card a").get_attribute("href") == "https://example.org/"
    assert page.locator("#count").inner_text() == f"{len(PLAN)} characters, 4 lines."
    assert status() == "Weaving"
    page.keyboard.press("Tab")
    page.keyboard.type("2099-12-24 18:00")
    page.locator("#status").focus()
    page.keyboard.press("Control+Enter")
    page.get_by_text("Your status is set.").wait_for()
    assert status() == PLAN
    assert page.locator("#times .chip time").get_attribute("datetime") == "2099-12-24T12:30:00Z"
    assert page.locator("#until").input_value() == "2099-12-24 18:00"
    assert page.locator("#zone").input_value() == "Asia/Calcutta"  # the old name, which Chromium still uses
    page.locator("button[value=undo]").focus()
    page.keyboard.press("Enter")
    page.get_by_text("The change was taken back.").wait_for()
    assert status() == "Weaving"


def clear(page: Page, status: Callable[[], str]) -> None:
    page.locator("button[value=clear]").click()
    page.get_by_text("Your status is cleared.").wait_for()
    assert status() == ""


def press_a_preset(page: Page, status: Callable[[], str]) -> None:
    page.locator("#status").fill("Half typed\nand more")
    page.get_by_role("button", name="Lunch").click()
    page.get_by_text("Your status is set.").wait_for()
    assert status() == "Lunch"
    page.get_by_text("You typed \u201cHalf typed\u201d and did not set it.").wait_for()
    is_accessible(page)
    page.get_by_role("button", name="Put it back").click()
    assert page.locator("#status").input_value() == "Half typed\nand more"
    page.locator("#status").fill("Lunch")


def send_from_another_site(context: BrowserContext, url: str, status: Callable[[], str]) -> None:
    """A form of another site, sent by its script, changes nothing and signs nobody out."""
    before = context.cookies()
    page = context.new_page()
    for path, fields in (
        ("me", {"do": "set", "status": "Owned"}),
        ("sign-out", {}),
        ("sign-in", {"token": "ft_" + "a" * 52}),
    ):
        inputs = "".join(f'<input name="{name}" value="{value}">' for name, value in fields.items())
        page.set_content(f'<form method="post" action="{url}/-/{path}">{inputs}</form>')
        page.evaluate("document.forms[0].submit()")
        page.get_by_text("A page of another site sent this form").wait_for()
        page.goto("about:blank")
    page.close()
    assert status() == "Lunch"
    assert [cookie["value"] for cookie in context.cookies()] == [cookie["value"] for cookie in before]


def follow_a_link_from_another_site(context: BrowserContext, url: str) -> None:
    page = context.new_page()
    page.set_content(f'<a href="{url}/-/me">your status</a>')
    page.locator("a").click()
    page.get_by_text("What people see now").wait_for()
    page.close()


def follow_changes(page: Page, url: str, set_elsewhere: Callable[[str], None]) -> None:
    """What is set elsewhere shows at once; what was typed stays."""
    page.goto(f"{url}/-/me")
    set_elsewhere("From a shell")
    page.locator("#card").get_by_text("From a shell").wait_for()
    assert page.locator("#status").input_value() == "From a shell"
    assert "From a shell" in page.evaluate("fetch(document.querySelector('.badge img').src).then(a => a.text())")
    page.locator("#status").fill("Typed")
    page.locator("#card").get_by_text("Typed").wait_for()
    set_elsewhere("Again from a shell")
    page.wait_for_function("document.getElementById('state').textContent === 'live'")
    page.locator("#status").fill("")
    page.locator("#card").get_by_text("Again from a shell").wait_for()


def end_while_open(page: Page, url: str, status: Callable[[], str], revoked: Callable[[], None]) -> None:
    page.goto(f"{url}/-/me")
    page.locator("#status").fill("Typed before the end")
    revoked()
    page.evaluate("dispatchEvent(new Event('focus'))")  # as when one comes back to the tab
    page.get_by_text("Your session has ended.").wait_for()
    assert page.locator("button[value=set]").is_disabled()
    page.locator("summary").click()
    is_accessible(page)
    assert page.locator("#status").input_value() == "Typed before the end"
    assert status() == "Again from a shell"


@pytest.mark.skipif(shutil.which("lynx") is None, reason="needs lynx (Debian package lynx)")
async def test_a_text_browser_signs_in_and_sets(tmp_path: Path):
    accounts, backend = no_accounts(), MemoryBackend({"ada": "Weaving"})
    async with serving(backend, accounts=accounts) as site:
        secret, _ = await accounts.tokens.add("ada")
        down, enter = "Down Arrow", "^J"
        sign_in = [down, down, *secret, down, enter]
        four_lines, to_the_button = [down] * 4, [down] * 2
        write = [down, down, down, down, *" and reading", *four_lines, *"2h", *to_the_button, enter]
        script = tmp_path / "keys"
        script.write_text(typed([*sign_in, *write]))
        options = ["-accept_all_cookies", "-cfg=/dev/null", "-nopause", "-term=vt100", f"-cmd_script={script}"]
        with trio.fail_after(30):
            await trio.run_process(
                ["lynx", *options, f"http://127.0.0.1:{site.address[1]}/-/me"],
                stdin=b"",
                capture_stdout=True,
                env={**os.environ, "LINES": "60", "COLUMNS": "100", "HOME": str(tmp_path)},
            )
        info = await backend.get_user("ada")
        assert info is not None
        assert info.status == "Weaving and reading"
        assert info.until is not None
        assert abs(info.until - datetime.now(UTC) - timedelta(hours=2)) < timedelta(minutes=1)


def typed(keys: Sequence[str]) -> str:
    """Keys as a script of lynx."""
    return "".join(f"key {'<space>' if key == ' ' else key}\n" for key in keys)
