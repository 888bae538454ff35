"""Signing in and out: what a token opens, what is refused, and that the token appears nowhere afterwards."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import ip_network

import pytest
from trio.testing import MockClock

from fingertrio.accounts.tokens import TokensError
from fingertrio.frontends.web.app import create_app
from fingertrio.frontends.web.gate import _target
from fingertrio.frontends.web.peers import ForwardedClient
from fingertrio.net.limits import RateLimiter
from fingertrio.net.proxies import TrustedProxies
from fingertrio.testing import FakeReader
from tests.frontends.web.browsing import Browser, Page, a_site

NOT_A_TOKEN = "ft_" + "a" * 52
COOKIE = "__Host-fingertrio"


async def test_a_token_signs_in_and_a_cookie_stays():
    async with a_site() as site:
        browser = site.browser()
        asked = await browser.get("/-/me")
        assert (asked.status, asked.headers["Location"]) == (303, "sign-in")
        page = await browser.sign_in(site.ada)
        assert page.says("What people see now")
        assert browser.cookies.keys() == {COOKIE}  # the one of a stranger is gone
        assert {"Secure", "HttpOnly", "Path=/", "SameSite=Strict"} <= set(browser.attributes[COOKIE].split("; "))
        assert "Domain" not in browser.attributes[COOKIE]
        assert (await browser.get("/-/sign-in")).headers["Location"] == "me"


async def test_over_plain_http_the_cookie_has_another_name_and_no_other_scheme_takes_it():
    async with a_site() as site:
        browser = await site.signed_in(scheme="http")
        assert browser.cookies.keys() == {"fingertrio"}
        assert "Secure" not in browser.attributes["fingertrio"]
        browser.scheme = "https"
        assert (await browser.get("/-/me")).headers["Location"] == "sign-in"


@pytest.mark.parametrize(("peer", "name"), [("10.1.1.1", COOKIE), ("192.0.2.1", "fingertrio")])
async def test_a_proxy_says_that_the_browser_uses_https_if_it_is_trusted(peer: str, name: str):
    forwarded = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "public.example", "X-Forwarded-For": "192.0.2.7"}
    proxies = TrustedProxies([ip_network("10.0.0.0/8")])
    async with a_site() as site:
        site.app.asgi_app = ForwardedClient(site.app.asgi_app, lambda: proxies)  # type: ignore[method-assign]  # as the server wraps it
        origin = "https://public.example" if name == COOKIE else "http://finger.example"
        browser = site.browser(scheme="http", peer=peer, headers=forwarded | {"Origin": origin})
        assert (await browser.sign_in(site.ada)).status == 200
        assert browser.cookies.keys() == {name}


async def test_the_token_is_in_no_answer_log_line_cookie_or_address():
    async with a_site() as site:
        browser = site.browser()
        pages = [await browser.sign_in(site.ada)]
        pages += [await browser.act("set", status="x"), await browser.act("set", status="")]
        pages += [await site.browser().sign_in(site.ada[:-1]), await site.browser().sign_in(f"{site.ada} {site.ada}")]
        everything = [site.log.getvalue(), str(browser.cookies)]
        everything += [page.text + str(page.headers) + page.url for page in pages]
        assert not any(site.ada[3:40] in text or site.token.digest[:20] in text for text in everything)
        assert '"event": "signed_in"' in site.log.getvalue()


@pytest.mark.parametrize("secret", [NOT_A_TOKEN, "x", "ft_", "Bearer", "\x00", "é", "ft_" + "a" * 100_000])
async def test_a_wrong_token_is_refused_in_words(secret: str):
    async with a_site() as site:
        browser = site.browser()
        page = await browser.sign_in(secret)
        assert page.status == 401
        assert page.headers["WWW-Authenticate"] == 'Bearer realm="fingertrio"'
        assert page.says("This token is not valid.")
        assert secret not in page.text or len(secret) < 10
        assert COOKIE not in browser.cookies


async def test_an_empty_field_says_what_to_do_and_is_no_failed_attempt():
    async with a_site() as site:
        for _ in range(20):
            page = await site.browser().sign_in("  ")
            assert page.status == 422
            assert page.says("Paste your token.")


async def test_blanks_around_a_token_are_no_mistake():
    async with a_site() as site:
        assert (await site.browser().sign_in(f"  {site.ada}\r\n")).says("What people see now")


async def test_an_expired_token_says_so():
    async with a_site() as site:
        secret, _ = await site.accounts.tokens.add("ada", expires=datetime.now(UTC) + timedelta(seconds=0.05))
        site.accounts._now = lambda: datetime.now(UTC) + timedelta(hours=1)
        page = await site.browser().sign_in(secret)
        assert (page.status, page.says("This token has expired.")) == (401, True)


async def test_guesses_are_throttled_with_those_at_other_doors(autojump_clock: MockClock):
    async with a_site() as site:
        browser = site.browser()
        form = (await browser.get("/-/sign-in")).form("sign-in")
        statuses = [(await browser.post("/-/sign-in", form | {"token": NOT_A_TOKEN})).status for _ in range(100)]
        assert statuses == [401] * 10 + [429] * 90
        page = await site.browser().sign_in(site.ada)  # a valid one, too
        assert page.status == 429
        assert page.says(f"Try again in {page.headers['Retry-After']} seconds")
        other_door = await site.browser().get("/api/whoami", Authorization=f"Bearer {site.ada}")
        assert other_door.status == 429
        assert (await site.browser(peer="192.0.2.2").sign_in(site.ada)).status == 200


FOREIGN = [
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},  # a sibling domain
    {"Sec-Fetch-Site": "cross-site", "Origin": "https://finger.example"},
    {"Sec-Fetch-Site": "", "Origin": "https://evil.example"},
    {"Sec-Fetch-Site": "", "Origin": "http://finger.example"},
    {"Sec-Fetch-Site": "", "Origin": "null"},
]
OWN = [
    {"Sec-Fetch-Site": "same-origin"},
    {"Sec-Fetch-Site": "none"},
    {"Sec-Fetch-Site": "", "Origin": "https://finger.example"},
    {"Sec-Fetch-Site": ""},  # lynx
]
FORMS = ["/-/sign-in", "/-/sign-out", "/-/me", "/-/me/preview"]


async def _filled_in(browser: Browser, path: str, secret: str) -> dict[str, str]:
    """A form for `path` that would be accepted."""
    if path == "/-/sign-in":
        return (await browser.get(path)).form("sign-in") | {"token": secret}
    await browser.sign_in(secret)
    page = await browser.get("/-/me")
    return page.form("sign-out") if path == "/-/sign-out" else page.form("me", "status") | {"status": "New"}


@pytest.mark.parametrize("path", FORMS)
async def test_a_form_from_another_site_changes_nothing(path: str):
    async with a_site() as site:
        browser = site.browser()
        form = await _filled_in(browser, path, site.ada)
        before, log = dict(browser.cookies), site.log.getvalue()
        for count, headers in enumerate(FOREIGN, 1):
            page = await browser.post(path, form, **headers)
            assert (page.status, page.says("A page of another site sent this form")) == (403, True), headers
            assert "Set-Cookie" not in page.headers
            assert site.observer.metrics.refusals["http", "origin"] == count
        assert browser.cookies == before
        assert await site.status() == "Weaving"
        assert site.log.getvalue() == log


@pytest.mark.parametrize("path", FORMS)
async def test_our_own_forms_are_accepted(path: str):
    async with a_site() as site:
        for headers in OWN:
            browser = site.browser()
            form = await _filled_in(browser, path, site.ada)
            page = await browser.post(path, form, **headers)
            assert page.status == (200 if path.endswith("preview") else 303), headers


@pytest.mark.parametrize("path", ["/-/sign-in", "/-/sign-out", "/-/me"])
async def test_without_the_seal_of_this_browser_a_form_is_worth_nothing(path: str):
    """Also for browsers that do not report where a form came from, and where SameSite is not known."""
    async with a_site() as site:
        browser = site.browser()
        form = await _filled_in(browser, path, site.ada)
        seal = form.pop("form")
        of_another = (await _filled_in(site.browser(), path, site.bob))["form"]
        before = set(browser.cookies)
        for headers in OWN:
            for wrong in ({}, {"form": ""}, {"form": seal[:-3] + "AAA"}, {"form": of_another}):
                page = await browser.post(path, form | wrong, **headers)
                assert page.status == 403 or (path, page.headers["Location"]) == ("/-/sign-out", "me"), headers
                assert set(browser.cookies) == before
        assert await site.status() == "Weaving"


async def test_a_browser_that_keeps_no_cookies_is_told():
    async with a_site() as site:
        browser = site.browser()
        form = (await browser.get("/-/sign-in")).form("sign-in") | {"token": site.ada}
        browser.cookies.clear()
        page = await browser.post("/-/sign-in", form)
        assert (page.status, page.says("Allow cookies for this site")) == (403, True)


async def test_a_session_that_somebody_planted_is_replaced():
    """Session fixation: what a browser had before signing in is worth nothing afterwards."""
    async with a_site() as site:
        attacker, victim = site.browser(), site.browser()
        await attacker.get("/-/sign-in")
        victim.cookies.update(attacker.cookies)
        await victim.sign_in(site.ada)
        assert attacker.cookies.keys() == {"__Host-fingertrio-visitor"}
        assert (await attacker.get("/-/me")).headers["Location"] == "sign-in"
        one, two = await site.signed_in(), await site.signed_in()
        assert one.cookies != two.cookies


async def test_two_cookies_of_one_name_are_none():
    """Over plain http, a sibling domain can plant a cookie beside ours."""
    async with a_site() as site:
        browser, other = await site.signed_in(scheme="http"), await site.signed_in(site.bob, scheme="http")
        for pair in ((browser, other), (other, browser)):
            cookies = "; ".join(f"fingertrio={one.cookies['fingertrio']}" for one in pair)
            assert (await browser.get("/-/me", Cookie=cookies)).headers["Location"] == "sign-in"


@pytest.mark.parametrize(
    "cookie", ["", "x", "." * 3000, "a" * 100_000, "eyJ", '"', "\x7f", "é", ".eJyLjgUAARUAuQ.x", "null"]
)
async def test_any_cookie_is_a_session_or_none(cookie: str):
    async with a_site() as site:
        page = await site.browser().get("/-/me", Cookie=f"{COOKIE}={cookie}")
        assert (page.status, page.headers["Location"]) == (303, "sign-in")


async def test_signing_out_ends_the_session_in_every_copy():
    async with a_site() as site:
        browser = await site.signed_in()
        copy = site.browser(cookies=dict(browser.cookies))
        assert (await copy.get("/-/me")).status == 200
        form = (await browser.get("/-/me")).form("sign-out")
        page = await browser.follow(await browser.post("/-/sign-out", form))
        assert page.says("You are signed out.")
        assert COOKIE not in browser.cookies
        assert (await copy.get("/-/me")).headers["Location"] == "sign-in"
        assert (await copy.get("/-/sign-in")).says("Your session has ended.")
        assert not (await copy.get("/-/sign-in")).says("Your session has ended.")  # said once
        assert '"event": "signed_out"' in site.log.getvalue()
        assert (await browser.sign_in(site.ada)).status == 200


async def test_the_cookie_of_another_server_on_this_host_is_left_alone():
    """Cookies do not know ports."""
    async with a_site() as site, a_site() as other:
        browser, elsewhere = await other.signed_in(scheme="http"), site.browser(scheme="http")
        elsewhere.cookies.update(browser.cookies)
        page = await elsewhere.get("/-/sign-in")
        assert not page.says("Your session has ended.")
        assert elsewhere.cookies["fingertrio"] == browser.cookies["fingertrio"]


async def test_signing_out_counts_as_a_write_since_it_is_one():
    async with a_site(writes=RateLimiter(rate=0.001, burst=1)) as site:
        statuses = []
        for _ in range(2):
            browser = await site.signed_in()
            form = (await browser.get("/-/me")).form("sign-out")
            statuses.append((await browser.post("/-/sign-out", form)).status)
        assert statuses == [303, 429]


async def test_signing_out_works_where_the_tokens_cannot_be_written(monkeypatch: pytest.MonkeyPatch):
    async with a_site() as site:
        browser = await site.signed_in()
        form = (await browser.get("/-/me")).form("sign-out")

        async def cannot(_document: bytes, _old: bytes | None) -> bool:
            raise TokensError("tokens.json cannot be written: Read-only file system")

        monkeypatch.setattr(site.document, "replace", cannot)
        assert (await browser.post("/-/sign-out", form)).status == 303
        assert COOKIE not in browser.cookies
        assert '"event": "sign_out_not_kept"' in site.log.getvalue()


@pytest.mark.parametrize("path", ["/-/sign-in", "/-/me", "/-/me/session"])
async def test_what_depends_on_the_cookie_is_kept_by_no_cache_and_shown_in_no_frame(path: str):
    async with a_site() as site:
        for browser in (site.browser(), await site.signed_in()):
            page = await browser.get(path)
            assert page.headers["Cache-Control"] == "no-store"
            assert page.headers["Vary"] == "Cookie"
            assert page.headers["X-Frame-Options"] == "DENY"
            assert "frame-ancestors 'none'" in page.headers["Content-Security-Policy"]
            assert page.headers["Referrer-Policy"] == "same-origin"
            assert "Access-Control-Allow-Origin" not in page.headers


@pytest.mark.parametrize("path", ["/", "/ada", "/api/users/ada"])
async def test_pages_for_everybody_do_not_look_at_the_cookie(path: str):
    async with a_site() as site:
        signed_in, stranger = await (await site.signed_in()).get(path), await site.browser().get(path)
        assert signed_in.text == stranger.text
        assert signed_in.headers["ETag"] == stranger.headers["ETag"]
        assert "Cookie" not in signed_in.headers.get("Vary", "")
        assert "Set-Cookie" not in signed_in.headers


async def test_a_link_from_another_site_finds_the_session():
    """Browsers hold back the cookie from the first request after such a link."""
    async with a_site() as site:
        browser = await site.signed_in()
        for path in ("/-/me", "/-/sign-in"):
            page = await browser.get(path, Sec_Fetch_Site="cross-site", Cookie="")
            assert page.status == 200
            assert 'http-equiv="refresh"' in page.text
            assert "Set-Cookie" not in page.headers  # else a link could sign people out
        assert (await browser.get("/-/me")).says("What people see now")


@pytest.mark.parametrize(
    "query", ["?next=https://evil.example", "?next=//evil.example", "?url=javascript:1", "?//evil"]
)
async def test_no_address_in_a_request_is_redirected_to(query: str):
    async with a_site() as site:
        browser = site.browser()
        assert (await browser.get(f"/-/me{query}")).headers["Location"] == "sign-in"
        form = (await browser.get(f"/-/sign-in{query}")).form("sign-in") | {"token": site.ada}
        answer = await browser.post(f"/-/sign-in{query}", form, Host="evil.example")
        assert answer.headers["Location"] == "me"


async def test_a_server_that_cannot_write_says_what_to_do():
    async with a_site(FakeReader({"ada": "Weaving"})) as site:
        assert (await site.browser().get("/-/sign-in")).says("Statuses cannot be set here")
        assert not (await site.browser().get("/")).says("Set your status")


async def test_behind_a_proxy_that_changes_host_our_pages_are_recognised():
    """By the configured address, and by what a trusted proxy reports."""
    old_browser = {"Sec-Fetch-Site": "", "Origin": "https://public.example"}
    async with a_site(url="https://public.example/base") as site:
        assert (
            await site.browser(host="10.0.0.5:8000", scheme="http", headers=old_browser).sign_in(site.ada)
        ).status == 200
    async with a_site() as site:
        browser = site.browser(host="10.0.0.5:8000", headers=old_browser, forwarded="public.example")
        assert (await browser.sign_in(site.ada)).says("https://public.example/api/users/ada")
        assert (await site.browser(host="10.0.0.5:8000", headers=old_browser).sign_in(site.ada)).status == 403


async def test_without_accounts_there_is_nothing_to_sign_in_to():
    async with a_site() as site:
        app = create_app(site.service, site.observer)
        assert (await Browser(app).get("/-/sign-in")).status == 404


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        ("token=x", "text/plain", 415),
        ('{"token": "x"}', "application/json", 415),
        ("--a\r\n", "multipart/form-data; boundary=a", 415),
        ("token=a&token=b", "application/x-www-form-urlencoded", 400),
        ("&".join(f"f{number}=" for number in range(200)), "application/x-www-form-urlencoded", 400),
        ("a" * 300_000, "application/x-www-form-urlencoded", 413),
        ("\xff%ff%00=%", "application/x-www-form-urlencoded", 403),
        ("", "application/x-www-form-urlencoded", 403),
    ],
)
async def test_a_body_that_is_no_form_of_ours_is_refused(body: str, content_type: str, status: int):
    async with a_site() as site:
        page: Page = await site.browser()._open("POST", "/-/sign-in", body, {"Content-Type": content_type})
        assert page.status == status


def test_a_token_in_an_address_is_not_logged():
    assert _target(b"/-/sign-in", b"token=ft_" + b"a" * 52 + b"&x=1") == "/-/sign-in?token=ft_...&x=1"


async def test_tokens_that_cannot_be_read_are_an_error_without_details():
    async with a_site() as site:
        site.document.failure = TokensError("/var/lib/fingertrio/tokens.json cannot be read: Input/output error")
        page = await site.browser().get("/-/sign-in")
        assert page.status == 500
        assert "tokens.json" not in page.text
