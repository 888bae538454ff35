"""The JavaScript of docs/reference/live-feed.md in a real browser: compression, Origin and pings included."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import trio
import trustme
from playwright.sync_api import Browser, sync_playwright

from fingertrio.backends.memory import MemoryBackend
from fingertrio.frontends.web.live_watcher import EVENTS
from tests.backends.mirror.test_backend import line
from tests.chromium import launch, need_chromium
from tests.frontends.web.kit import USERS, serving

pytestmark = pytest.mark.slow  # it starts a browser

PAGE = (Path(__file__).parents[2] / "docs/reference/live-feed.md").read_text()
[EVENTS_SCRIPT, SCRIPT] = re.findall(r"^```js\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)

# A hundred times faster than on the page, for the pause between two attempts.
HURRY = "const wait = setTimeout; setTimeout = (action, ms) => wait(action, ms / 100);"


def follow(url: str, set_status: Callable[[str, str], object], cut: Callable[[], object]) -> str:
    with sync_playwright() as playwright:
        browser = launch(playwright)
        follow_events(browser, url, set_status, cut)
        page = browser.new_context(bypass_csp=True).new_page()
        page.set_default_timeout(20_000)
        page.goto(url)
        script = SCRIPT.replace("wss://finger.example.net", url.replace("http", "ws"))
        page.add_script_tag(content=f"{HURRY}\nfunction show() {{}}\n{script}\nwatch();")
        for user, status in USERS.items():
            page.wait_for_function(f"known.get('{user}')?.status === '{status}'")
        set_status("moshez", "In the garden")
        page.wait_for_function("known.get('moshez').status === 'In the garden'")
        before = page.evaluate("since")
        cut()
        set_status("ada", "Weaving")
        page.wait_for_function("known.get('ada')?.status === 'Weaving'")
        assert page.evaluate("since") > before
        assert page.evaluate("known.size") == 4
        browser.close()
    return str(before)


NOTE_RESUMED = """
    const resumed = [];
    feed.addEventListener("message", ({data}) => {
        const message = JSON.parse(data);
        if (message.type === "hello") resumed.push(message.resumed);
    });
"""


def follow_events(
    browser: Browser, url: str, set_status: Callable[[str, str], object], cut: Callable[[], object]
) -> None:
    page = browser.new_context(bypass_csp=True).new_page()
    page.set_default_timeout(20_000)
    page.goto(url)
    script = EVENTS_SCRIPT.replace("https://finger.example.net", url)
    page.add_script_tag(content=f"function show() {{}}\n{script}\n{NOTE_RESUMED}")
    for user, status in USERS.items():
        page.wait_for_function(f"known.get('{user}')?.status === '{status}'")
    set_status("grace", "Compiling")
    page.wait_for_function("known.get('grace')?.status === 'Compiling'")
    cut()
    set_status("grace", "Debugging")
    page.wait_for_function("known.get('grace').status === 'Debugging'")
    assert page.evaluate("resumed") == [False, True]
    page.close()


# Loads an image first, which opens an HTTP/2 connection. The WebSocket then uses the same connection (RFC 8441).
OVER_HTTP2 = """
    async () => {
        const image = new Image();
        await new Promise((done, failed) => {
            [image.onload, image.onerror] = [done, failed];
            image.src = "/-/icon.svg";
        });
        const socket = new WebSocket(`wss://${location.host}/api/watch?snapshot=1`);
        const first = await new Promise((done) => {
            socket.onmessage = (event) => done(event.data);
            socket.onclose = (event) => done(`closed with ${event.code}`);
        });
        const entry = performance.getEntriesByType("resource").find((entry) => entry.name.endsWith("icon.svg"));
        return [entry.nextHopProtocol, JSON.parse(first).type];
    }
"""


def watch_over_http2(url: str) -> object:
    with sync_playwright() as playwright:
        browser = launch(playwright)
        page = browser.new_context(bypass_csp=True, ignore_https_errors=True).new_page()
        page.set_default_timeout(20_000)
        page.goto(url)
        found = page.evaluate(OVER_HTTP2)
        browser.close()
        return found


async def test_a_page_over_https_opens_the_feed_on_its_http2_connection(tmp_path: Path):
    need_chromium()
    certificate = tmp_path / "localhost.pem"
    trustme.CA().issue_cert("localhost", "127.0.0.1").private_key_and_cert_chain_pem.write_to_path(certificate)
    async with serving(MemoryBackend(USERS), certfile=certificate) as site:
        assert await trio.to_thread.run_sync(watch_over_http2, site.url) == ["h2", "hello"]
        assert site.observer.metrics.queries["http", "ok"] >= 3
        assert "http_connection_failed" not in site.log.getvalue()


async def test_the_scripts_follow_and_come_back(monkeypatch: pytest.MonkeyPatch):
    need_chromium()
    monkeypatch.setattr("fingertrio.frontends.web.live.EVENTS", replace(EVENTS, preamble=b"retry: 30\n\n"))
    backend = MemoryBackend(USERS)
    async with serving(backend) as site, line(site.address[1]) as (relay, url):
        before = await trio.to_thread.run_sync(
            follow,
            url,
            lambda user, status: trio.from_thread.run(backend.set_user, user, status),
            lambda: trio.from_thread.run(relay.cut),
        )
        assert f"since={before.replace(':', '%3A')}" in site.log.getvalue(), "it did not go on where it was"
