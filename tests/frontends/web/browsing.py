"""A browser without a window, for the pages that need a cookie: it keeps cookies, follows redirects, fills in forms."""

from __future__ import annotations

import io
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit

from quart_trio import QuartTrio

from fingertrio.accounts.accounts import Accounts
from fingertrio.accounts.tokens import Token
from fingertrio.backend import Backend
from fingertrio.backends.memory import MemoryBackend
from fingertrio.frontends.web.app import create_app
from fingertrio.frontends.web.proofs import Proofs
from fingertrio.frontends.web.visits import Visits
from fingertrio.net.limits import RateLimiter
from fingertrio.observe.observer import Observer
from fingertrio.service import FingerService, ServicePolicy
from tests.accounts.kit import MemoryDocument
from tests.helpers import no_accounts

PRESETS = {"lunch": {"status": "Lunch", "for": "1h"}, "out": {"status": "Out", "until": "tomorrow"}}


class _Forms(HTMLParser):
    """The forms of a page: the action and the fields with their values."""

    def __init__(self) -> None:
        super().__init__()
        self.forms: list[tuple[str, dict[str, str]]] = []
        self._textarea = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.forms.append((values["action"], {}))
        elif tag == "input" and self.forms:
            self.forms[-1][1][values["name"]] = values.get("value", "")
        elif tag == "textarea":
            self._textarea = values["name"]
            self.forms[-1][1][self._textarea] = ""

    def handle_endtag(self, tag: str) -> None:
        if tag == "textarea":
            self._textarea = ""

    def handle_data(self, data: str) -> None:
        if self._textarea:
            fields = self.forms[-1][1]
            fields[self._textarea] += data if fields[self._textarea] else data.removeprefix("\n")


@dataclass
class Page:
    """One answer."""

    status: int
    headers: Any
    text: str
    url: str

    def form(self, action: str, having: str = "form") -> dict[str, str]:
        """The fields of the form that is sent to `action` and has a field `having`."""
        parser = _Forms()
        parser.feed(self.text)
        return next(
            dict(fields) for found, fields in parser.forms if found.partition("?")[0] == action and having in fields
        )

    def says(self, text: str) -> bool:
        """Whether the page has `text`, without regard to elements."""
        return text in re.sub(r"\s+", " ", re.sub(r"<[^>]*>", "", self.text))


@dataclass
class Browser:
    """One browser, at one address.

    Attributes:
        forwarded: the host that a trusted proxy reports.
        cookies: by name, as they were set.
        attributes: of each cookie, as it was set last.
    """

    app: QuartTrio
    scheme: str = "https"
    host: str = "finger.example"
    peer: str = "192.0.2.1"
    forwarded: str = ""
    headers: Mapping[str, str] = field(default_factory=lambda: {"Sec-Fetch-Site": "same-origin"})
    cookies: dict[str, str] = field(default_factory=dict)
    attributes: dict[str, str] = field(default_factory=dict)

    async def get(self, path: str, **headers: str) -> Page:
        return await self._open("GET", path, None, headers)

    async def post(self, path: str, fields: Mapping[str, str], **headers: str) -> Page:
        return await self._open("POST", path, urlencode(fields), headers)

    async def follow(self, page: Page) -> Page:
        """The page that a redirect leads to."""
        assert page.status == 303
        url = urlsplit(urljoin(page.url, page.headers["Location"]))
        return await self.get(f"{url.path}?{url.query}" if url.query else url.path)

    async def sign_in(self, secret: str) -> Page:
        """Paste a token; the page that follows."""
        page = await self.get("/-/sign-in")
        answer = await self.post("/-/sign-in", page.form("sign-in") | {"token": secret})
        return await self.follow(answer) if answer.status == 303 else answer

    async def act(self, do: str, page: Page | None = None, **fields: str) -> Page:
        """Press a button of /-/me after changing fields; the answer, not followed."""
        page = page or await self.get("/-/me")
        return await self.post("/-/me", page.form("me", "status") | fields | {"do": do})

    async def _open(self, method: str, path: str, body: str | None, more: Mapping[str, str]) -> Page:
        headers = {"Host": self.host, **self.headers, **{name.replace("_", "-"): value for name, value in more.items()}}
        if body is not None:
            headers.setdefault("Content-Type", "application/x-www-form-urlencoded")
        if self.cookies:
            headers.setdefault("Cookie", "; ".join(f"{name}={value}" for name, value in self.cookies.items()))
        client: Any = self.app.test_client(use_cookies=False)
        response = await client.open(
            path,
            method=method,
            headers={name: value for name, value in headers.items() if value},
            data=body,
            scheme=self.scheme,
            scope_base={"client": (self.peer, 1), "fingertrio.forwarded_host": self.forwarded},
        )
        for line in response.headers.getlist("Set-Cookie"):
            pair, _, attributes = line.partition("; ")
            name, _, value = pair.partition("=")
            self.attributes[name] = attributes
            if "Max-Age=0" in attributes:
                self.cookies.pop(name, None)
            else:
                self.cookies[name] = value
        url = f"{self.scheme}://{self.host}{path}"
        return Page(response.status_code, response.headers, await response.get_data(as_text=True), url)


@dataclass
class Site:
    """A server with accounts: ada and bob have a token each, and root one for everybody."""

    app: QuartTrio
    service: FingerService
    accounts: Accounts
    document: MemoryDocument
    log: io.StringIO
    observer: Observer
    ada: str
    bob: str
    root: str
    token: Token

    def browser(self, **options: Any) -> Browser:
        return Browser(self.app, **options)

    async def signed_in(self, secret: str | None = None, **options: Any) -> Browser:
        browser = self.browser(**options)
        page = await browser.sign_in(secret or self.ada)
        assert page.status == 200, page.text
        return browser

    async def status(self, user: str = "ada") -> str | None:
        info = await self.service.get_user(user)
        return None if info is None else info.status


@asynccontextmanager
async def a_site(
    backend: Backend | None = None,
    writes: RateLimiter | None = None,
    url: str | None = None,
    policy: ServicePolicy | None = None,
) -> AsyncIterator[Site]:
    log = io.StringIO()
    observer = Observer(log, human=False)
    document = MemoryDocument()
    accounts = no_accounts(document)
    ada, token = await accounts.tokens.add("ada", label="phone")
    bob, _ = await accounts.tokens.add("bob")
    root, _ = await accounts.tokens.add("root", scope="admin")
    backend = backend or MemoryBackend({"ada": "Weaving", "bob": "Out"})
    async with FingerService.open(backend, policy, observer) as service:
        app = create_app(
            service,
            observer,
            proofs=Proofs(accounts, writes, observer),
            visits=Visits(accounts, writes, observer, lambda: url),
            presets=lambda: PRESETS,
        )
        yield Site(app, service, accounts, document, log, observer, ada, bob, root, token)
