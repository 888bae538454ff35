"""How long certificates last, and whether clients accept them."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme

from fingertrio.cli.doctor.certificates import CHECK
from fingertrio.cli.doctor.installation import Installation
from fingertrio.frontends.web.frontend import WebPolicy
from fingertrio.http.tls import make_tls_context
from tests.cli.doctor.kit import faults, installation, look, only, running
from tests.cli.doctor.web_kit import trust_of
from tests.frontends.web.kit import serving

Issue = Callable[..., tuple[Path, Path]]


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def issue(authority: trustme.CA, tmp_path: Path) -> Issue:
    """Files with a certificate and its key."""

    def write(
        *names: str, days: float = 90, begins: float = -100, by: trustme.CA = authority, chain: bool = True
    ) -> tuple[Path, Path]:
        now = datetime.now(UTC).replace(tzinfo=None)
        leaf = by.issue_cert(
            *(names or ("localhost",)), not_before=now + timedelta(days=begins), not_after=now + timedelta(days=days)
        )
        number = len(list(tmp_path.iterdir()))
        certfile, keyfile = tmp_path / f"{number}.pem", tmp_path / f"{number}-key.pem"
        certfile.write_bytes(b"".join(each.bytes() for each in leaf.cert_chain_pems[: None if chain else 1]))
        keyfile.write_bytes(leaf.private_key_pem.bytes())
        return certfile, keyfile

    return write


def place(files: tuple[Path, Path], trust: trustme.CA, url: str | None = None, **fields: Any) -> Installation:
    table = {"listen": ["127.0.0.1:0"], "certfile": str(files[0]), "keyfile": str(files[1])}
    if url is not None:
        table["url"] = url
    return installation({"http": table}, trust=trust_of(trust), **fields)


async def test_a_good_certificate(issue: Issue, authority: trustme.CA):
    found = await only(CHECK, place(issue("localhost", "finger.example.org"), authority), "ok")
    assert "89 days left, for localhost, finger.example.org" in found.what


@pytest.mark.parametrize(
    ("days", "level", "said"),
    [
        (13.5, "warning", "13.5 days left"),
        (2.5, "problem", "2.5 days left"),
        (-2, "problem", "expired on"),
    ],
)
async def test_the_end_comes_near(issue: Issue, authority: trustme.CA, days: float, level: str, said: str):
    found = await only(CHECK, place(issue(days=days), authority), level)
    assert said in found.what
    assert "certbot renew" in found.next


@pytest.mark.parametrize(
    ("begins", "days", "level", "said"),
    [
        (-1, 5, "ok", "4 days left"),  # for six days: no ACME client has to renew it yet
        (-5, 1, "warning", "1.0 days left"),
        (-5.6, 0.4, "problem", "0.4 days left"),
        (-0.1, 0.4, "ok", "10 hours left"),  # for twelve hours, as in Caddy's own authority
    ],
)
async def test_a_short_lived_certificate_is_renewed_later(
    issue: Issue, authority: trustme.CA, begins: float, days: float, level: str, said: str
):
    assert said in (await only(CHECK, place(issue(days=days, begins=begins), authority), level)).what


async def test_one_that_is_not_valid_yet(issue: Issue, authority: trustme.CA):
    found = await only(CHECK, place(issue(begins=2), authority), "problem")
    assert "not valid yet" in found.what


async def test_another_name_than_that_of_the_pages(issue: Issue, authority: trustme.CA):
    found = await faults(CHECK, place(issue("other.example"), authority, "http://finger.example.org"))
    assert found == [found[0]]
    assert "it is for other.example, not for finger.example.org" in found[0]


async def test_a_key_of_another_certificate(issue: Issue, authority: trustme.CA):
    certfile, _ = issue()
    _, keyfile = issue()
    found = await only(CHECK, place((certfile, keyfile), authority), "problem")
    assert "does not belong to the certificate" in found.what


async def test_an_incomplete_chain(issue: Issue, authority: trustme.CA):
    inner = authority.create_child_ca()
    assert await faults(CHECK, place(issue(by=inner), authority)) == []
    found = await only(CHECK, place(issue(by=inner, chain=False), authority), "problem")
    assert "the chain is incomplete" in found.what
    assert "fullchain.pem" in found.next


async def test_an_authority_that_this_machine_does_not_know(issue: Issue, authority: trustme.CA):
    files = issue(by=authority.create_child_ca())
    found = await only(CHECK, place(files, trustme.CA()), "warning")
    assert "an authority that this machine does not know" in found.what
    assert "--ca FILE" in found.next


async def test_a_wildcard_is_for_the_names_below_it(issue: Issue, authority: trustme.CA):
    assert await faults(CHECK, place(issue("*.example.org"), authority)) == []


async def test_the_served_certificate_is_another_one_than_that_in_the_file(issue: Issue, authority: trustme.CA):
    old, new = issue(days=20), issue(days=90)
    async with serving(policy=WebPolicy(tls=make_tls_context(*old))) as site:
        found = await only(CHECK, place(new, authority, server=running(doors={"http": [site.url]})), "problem")
    assert "still serves an older certificate" in found.what
    assert "systemctl reload fingertrio" in found.next


async def test_what_is_served_at_the_public_address(issue: Issue, authority: trustme.CA):
    files = issue("localhost", days=8)
    async with serving(policy=WebPolicy(tls=make_tls_context(*files))) as site:
        url = site.url.replace("127.0.0.1", "localhost")
        server = running(doors={"http": [site.url]})
        results = await look(CHECK, place(files, authority, url, server=server))
        assert [result.level for result in results] == ["warning", "warning"]
        assert f"served at {url}: 8.0 days left" in results[1].what
        wrong = await faults(CHECK, place(files, authority, site.url, server=server))
    assert any(f"served at {site.url}: it is for localhost, not for 127.0.0.1" in each for each in wrong)


async def test_the_public_address_has_no_tls(authority: trustme.CA):
    async with serving() as site:
        table = {"http": {"listen": ["127.0.0.1:0"], "url": site.url.replace("http://", "https://")}}
        found = await only(CHECK, installation(table, server=running(), trust=trust_of(authority)), "problem")
    assert "no TLS" in found.what


def test_it_does_not_apply_without_tls():
    assert CHECK.skip(installation({"http": {"listen": ["127.0.0.1:0"]}}))
    assert not CHECK.skip(installation({"http": {"listen": ["127.0.0.1:0"], "url": "https://x.example"}}))
    assert ssl.OPENSSL_VERSION  # the flags that `tls` numbers itself are OpenSSL's
