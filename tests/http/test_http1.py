"""What the protocols refuse, ignore and survive. The bytes are those that end the nursery of stock Hypercorn 0.18."""

from __future__ import annotations

import h11
import pytest
from trio.testing import MockClock

from fingertrio.http.request import vet
from fingertrio.testing.hostile_http import UPGRADES
from tests.frontends.web.kit import assert_unharmed, serving


def request(head: str, *headers: tuple[str, str]) -> h11.Request:
    method, target, version = head.split()
    return h11.Request(
        method=method, target=target, headers=[("Host", "test"), *headers], http_version=version.removeprefix("HTTP/")
    )


def test_an_ordinary_request_is_left_as_it_is() -> None:
    ordinary = request("GET /moshez?x=1 HTTP/1.1", ("Accept", "*/*"))
    assert vet(ordinary) is ordinary


@pytest.mark.parametrize(
    ("head", "target"),
    [
        ("GET http://test/moshez?x=1 HTTP/1.1", b"/moshez?x=1"),
        ("GET HTTPS://test:8000/api/users HTTP/1.1", b"/api/users"),
        ("GET http://test HTTP/1.1", b"/"),
        ("OPTIONS * HTTP/1.1", b"/"),
        ("GET //moshez HTTP/1.1", b"//moshez"),
    ],
)
def test_targets_come_out_in_origin_form(head: str, target: bytes) -> None:
    assert vet(request(head)).target == target


@pytest.mark.parametrize(
    ("refused", "status"),
    [
        (request("CONNECT example.net:443 HTTP/1.1"), 501),
        (request("GET moshez HTTP/1.1"), 400),
        (request("GET ?x HTTP/1.1"), 400),
        (request("GET * HTTP/1.1"), 400),
        (request("GET ftp://test/ HTTP/1.1"), 400),
        (request("PRI * HTTP/2.0"), 505),
        (request("GET / HTTP/1.2"), 505),
        (request("POST / HTTP/1.1", ("Transfer-Encoding", "chunked"), ("Content-Length", "3")), 400),
        (request("POST / HTTP/1.0", ("Transfer-Encoding", "chunked")), 400),
    ],
)
def test_what_others_could_understand_differently_is_refused(refused: h11.Request, status: int) -> None:
    with pytest.raises(h11.RemoteProtocolError) as raised:
        vet(refused)
    assert raised.value.error_status_hint == status


def test_wishes_for_an_upgrade_are_taken_out() -> None:
    wish = request("GET / HTTP/1.1", ("Upgrade", "h2c"), ("HTTP2-Settings", "AAA"), ("Accept", "*/*"))
    assert list(vet(wish).headers) == [(b"host", b"test"), (b"accept", b"*/*")]


@pytest.mark.parametrize("name", UPGRADES)
async def test_an_upgrade_is_answered_as_if_it_had_not_been_asked_for(name: str, patient_clock: MockClock) -> None:
    async with serving() as site:
        answer = await site.ask(UPGRADES[name])
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b"<p>Happy and well</p>" in answer
        assert b"upgrade" not in answer.lower()
        await assert_unharmed(site)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"CONNECT example.net:443 HTTP/1.1\r\nHost: example.net:443\r\n\r\n", b"501"),
        (b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\n\r\n", b"400"),
        (b"GET /\xff HTTP/1.1\r\nHost: t\r\n\r\n", b"400"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: t\r\nX: " + b"x" * 20_000, b"431"),
        (b"PRI * HTTP/2.0\r\n\r\nSX\r\n\r\n", b"505"),
    ],
)
async def test_a_refusal_has_a_status_and_ends_the_connection(
    sent: bytes, status: bytes, patient_clock: MockClock
) -> None:
    async with serving() as site:
        answer = await site.ask(sent)
        assert answer.startswith(b"HTTP/1.1 " + status)
        assert answer.count(b"HTTP/1.1") == 1
        assert b"connection: close" in answer
        await assert_unharmed(site)
