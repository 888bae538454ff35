"""WebFinger over HTTP: docs/reference/webfinger.md names for each clause of RFC 7033 the test here that shows it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from fingertrio.backend import UserInfo
from fingertrio.frontends.web.app import create_app
from fingertrio.frontends.web.site import Site
from fingertrio.frontends.web.webfinger import WebFingerPolicy, webfinger_blueprint
from fingertrio.observe.observer import Observer
from fingertrio.service import FingerService
from fingertrio.testing import FakeReader

PATH = "/.well-known/webfinger"
ADA = UserInfo("ada", "Weaving", details={"webfinger": "http://example.org/rel/blog https://blog.example/ text/html"})
MOVED = UserInfo("grace", "At sea", details={"fediverse": "@grace@social.example"})
ZOE = UserInfo("zo\u00eb", "Here")
ISSUER = "http://openid.net/specs/connect/1.0/issuer"
PAGE = "https://finger.example.org/ada"
PROFILE = "http://webfinger.net/rel/profile-page"


class Failing(FakeReader):
    """No backend answers."""

    async def get_user(self, user: str) -> UserInfo | None:
        raise OSError("away")


@asynccontextmanager
async def client(
    *infos: UserInfo,
    domains: tuple[str, ...] = ("example.org", "example.net"),
    issuer: str | None = None,
    fails: bool = False,
) -> AsyncIterator[Any]:
    backend: FakeReader = Failing({})
    if not fails:
        backend = FakeReader({})
        backend.users = {info.user: info for info in infos or (ADA, MOVED, ZOE)}
    policy, site = WebFingerPolicy(domains=domains, issuer=issuer), Site(url="https://finger.example.org")
    async with FingerService.open(backend, observer=Observer()) as service:
        more = [webfinger_blueprint(service, lambda: policy, lambda: site)]
        yield create_app(service, Observer(), more=more).test_client()


async def test_an_account_is_described() -> None:
    async with client() as web:
        response = await web.get(f"{PATH}?resource=acct:ada@example.org")
        assert response.status_code == 200
        assert await response.get_json() == {
            "subject": "acct:ada@example.org",
            "aliases": ["https://finger.example.org/ada", "acct:ada@example.net"],
            "links": [
                {"rel": PROFILE, "type": "text/html", "href": "https://finger.example.org/ada"},
                {"rel": "alternate", "type": "application/json", "href": "https://finger.example.org/api/users/ada"},
                {"rel": "alternate", "type": "application/atom+xml", "href": f"{PAGE}/feed.atom"},
                {"rel": "alternate", "type": "application/feed+json", "href": f"{PAGE}/feed.json"},
                {"rel": "http://example.org/rel/blog", "type": "text/html", "href": "https://blog.example/"},
            ],
        }


@pytest.mark.parametrize(
    ("resource", "subject"),
    [
        ("acct:ada@EXAMPLE.net", "acct:ada@example.net"),
        ("https://finger.example.org/ada", "acct:ada@example.org"),
        ("acct:zo%25C3%25AB@example.org", "acct:zo%C3%AB@example.org"),
        ("https://finger.example.org/zo%25C3%25AB", "acct:zo%C3%AB@example.org"),
    ],
)
async def test_every_uri_of_a_user_leads_to_the_subject(resource: str, subject: str) -> None:
    async with client() as web:
        response = await web.get(f"{PATH}?resource={resource}")
        assert (response.status_code, (await response.get_json())["subject"]) == (200, subject)


@pytest.mark.parametrize(
    "query", ["", "rel=a", "resource=ada", "resource=acct:a@b.c&resource=acct:d@b.c", "resource=%zz"]
)
async def test_a_resource_that_is_missing_or_malformed_is_status_400(query: str) -> None:
    async with client() as web:
        response = await web.get(f"{PATH}?{query}")
        assert response.status_code == 400
        assert response.headers["Content-Type"] == "application/problem+json"
        assert "resource" in (await response.get_json())["detail"]


@pytest.mark.parametrize(
    "resource",
    [
        "acct:nobody@example.org",
        "acct:ada@elsewhere.example",
        "acct:..%252Fetc@example.org",
        "https://finger.example.org/nobody",
        "https://elsewhere.example/ada",
        "mailto:ada@example.org",
    ],
)
async def test_what_is_not_known_is_status_404_with_the_same_bytes(resource: str) -> None:
    async with client() as web:
        response = await web.get(f"{PATH}?resource={resource}")
        unknown = await web.get(f"{PATH}?resource=acct:unknown@example.org")
        assert response.status_code == 404
        assert await response.get_data() == await unknown.get_data()


async def test_relations_filter_links_and_nothing_else() -> None:
    async with client() as web:
        query = f"resource=acct:ada@example.org&rel={PROFILE}&rel=other"
        found = await (await web.get(f"{PATH}?{query}")).get_json()
        assert [link["rel"] for link in found["links"]] == [PROFILE]
        assert len(found["aliases"]) == 2
        none = await (await web.get(f"{PATH}?resource=acct:ada@example.org&rel=other")).get_json()
        assert none["links"] == []


@pytest.mark.parametrize("accept", [None, "text/html", "application/xml", "*/*"])
async def test_it_is_a_jrd_whatever_the_client_accepts_and_any_site_may_read_it(accept: str | None) -> None:
    async with client() as web:
        headers = {} if accept is None else {"Accept": accept}
        for query, status in (("resource=acct:ada@example.org", 200), ("resource=acct:nobody@example.org", 404)):
            response = await web.get(f"{PATH}?{query}", headers=headers)
            assert response.status_code == status
            assert response.headers["Access-Control-Allow-Origin"] == "*"
            kind = "application/jrd+json" if status == 200 else "application/problem+json"
            assert response.headers["Content-Type"] == kind


async def test_only_get_and_head_are_allowed() -> None:
    async with client() as web:
        response = await web.post(f"{PATH}?resource=acct:ada@example.org")
        assert response.status_code == 405
        assert set(response.headers["Allow"].split(", ")) == {"GET", "HEAD", "OPTIONS"}
        head = await web.head(f"{PATH}?resource=acct:ada@example.org")
        assert head.status_code == 200


async def test_an_unchanged_answer_is_not_sent_again() -> None:
    async with client() as web:
        first = await web.get(f"{PATH}?resource=acct:ada@example.org")
        headers = {"If-None-Match": first.headers["ETag"]}
        again = await web.get(f"{PATH}?resource=acct:ada@example.org", headers=headers)
        assert again.status_code == 304


async def test_a_user_of_the_fediverse_is_described_by_that_server() -> None:
    async with client() as web:
        response = await web.get(f"{PATH}?resource=acct:grace@example.org&rel=self")
        assert response.status_code == 307
        assert response.headers["Location"] == (
            "https://social.example/.well-known/webfinger?resource=acct%3Agrace%40social.example&rel=self"
        )


@pytest.mark.parametrize("detail", ["x@evil.example/path", "x@evil.example?y", "x@a\r\nX: y", "x@[::1]", "@@", "x@y@z"])
async def test_a_redirect_leads_to_a_host_and_nowhere_else(detail: str) -> None:
    moved = UserInfo("grace", "At sea", details={"fediverse": detail})
    async with client(moved) as web:
        response = await web.get(f"{PATH}?resource=acct:grace@example.org")
        assert response.status_code == 200
        assert "Location" not in response.headers


async def test_every_account_at_the_domain_has_the_issuer_and_hidden_is_like_unknown() -> None:
    async with client(issuer="https://login.example.org") as web:
        query = f"resource=acct:anybody@example.org&rel={ISSUER}"
        expected = {
            "subject": "acct:anybody@example.org",
            "links": [{"rel": ISSUER, "href": "https://login.example.org"}],
        }
        assert await (await web.get(f"{PATH}?{query}")).get_json() == expected
        known = await (await web.get(f"{PATH}?resource=acct:ada@example.org")).get_json()
        assert [link["rel"] for link in known["links"]] == [
            PROFILE,
            *["alternate"] * 3,
            ISSUER,
            "http://example.org/rel/blog",
        ]
        moved = await web.get(f"{PATH}?resource=acct:grace@example.org&rel={ISSUER}")
        assert (await moved.get_json())["links"] == expected["links"]
        assert (await web.get(f"{PATH}?resource=acct:a@elsewhere.example")).status_code == 404


@pytest.mark.parametrize(
    "query",
    [
        "resource=acct:{}@example.org",
        "resource=acct%3A{}%40example.org",
        f"resource=acct:{{}}@example.org&rel={ISSUER}",
        f"rel={ISSUER.replace(':', '%3A').replace('/', '%2F')}&resource=acct%3A{{}}%40example.org",
    ],
)
@pytest.mark.parametrize("user", ["admin", "ada"])
async def test_tailscale_finds_what_its_documentation_asks_for(query: str, user: str) -> None:
    """https://tailscale.com/kb/1240/sso-custom-oidc: a JRD for the address, with the issuer exactly as configured.

    The account need not have a status.
    """
    issuer = "https://login.example.org/application/o/tailscale/"  # some providers end theirs with a slash
    async with client(issuer=issuer) as web:
        response = await web.get(f"{PATH}?{query.format(user)}", headers={"User-Agent": "Go-http-client/1.1"})
        assert response.status_code == 200
        document = await response.get_json()
        assert document["subject"] == f"acct:{user}@example.org"
        assert [link["href"] for link in document["links"] if link["rel"] == ISSUER] == [issuer]


async def test_without_domains_it_is_off() -> None:
    async with client(domains=()) as web:
        response = await web.get(f"{PATH}?resource=acct:ada@example.org")
        assert response.status_code == 404
        assert "does not answer WebFinger" in (await response.get_json())["detail"]


async def test_a_failing_backend_is_status_503() -> None:
    async with client(fails=True) as web:
        response = await web.get(f"{PATH}?resource=acct:ada@example.org")
        assert response.status_code == 503
        assert "Retry-After" in response.headers
