"""Long lists are compressed once, and only for clients that accept it."""

from __future__ import annotations

import gzip
import json
from xmlrpc.client import loads

import pytest

from fingertrio.accounts.writer import unproved
from fingertrio.frontends.web.compressed import accepts_gzip
from tests.frontends.web.kit import Client, serving

NAMES = [f"user{number:05}" for number in range(2000)]
USERS = dict.fromkeys(NAMES, "here")


@pytest.mark.parametrize(
    ("field", "accepted"),
    [
        ("", False),
        ("gzip", True),
        ("br, GZIP;q=0.5", True),
        ("x-gzip", True),
        ("deflate, br", False),
        ("*", True),
        ("*;q=0", False),
        ("gzip;q=0", False),
        ("gzip; q=0.000, *", False),
        ("gzip;q=1.0", True),
        ("identity, *;q=0.1", True),
        ("gzip;q=", False),
    ],
)
def test_whether_a_client_accepts_gzip(field: str, accepted: bool) -> None:
    assert accepts_gzip(field.encode()) == accepted


async def ask(client: Client, path: str, *lines: str) -> tuple[str, bytes]:
    await client.send("\r\n".join([f"GET {path} HTTP/1.1", "Host: test", *lines, "", ""]).encode())
    head, _, body = (await client.response()).partition(b"\r\n\r\n")
    return head.decode().lower(), body


async def test_a_long_list_is_compressed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the lane too; and again only when the list has changed, which a new status does not do."""
    made = []
    compress = gzip.compress

    def count(*args: object, **options: object) -> bytes:
        made.append(args)
        return compress(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(gzip, "compress", count)
    async with serving(USERS) as site, await site.connect() as client:
        for turn in range(3):
            for _ in range(3):
                head, body = await ask(client, "/api/users", "Accept-Encoding: br, gzip")
                assert "\r\ncontent-encoding: gzip\r\n" in head
                assert "\r\nvary: accept-encoding\r\n" in head
                users = json.loads(gzip.decompress(body))["users"]
                assert [user["user"] for user in users][:2000] == NAMES
                plain_head, plain_body = await ask(client, "/api/users")
                assert "content-encoding" not in plain_head
                assert "\r\nvary: accept-encoding\r\n" in plain_head
                assert json.loads(plain_body)["users"] == users
                assert len(body) < len(plain_body) / 5
            await site.service.set_user(NAMES[turn], "away", writer=unproved("test"))
        assert len(made) == 1
        await site.service.set_user("user99999", "new", writer=unproved("test"))
        _, body = await ask(client, "/api/users", "Accept-Encoding: gzip")
        assert b"user99999" in gzip.decompress(body)
        assert len(made) == 2


async def test_the_two_forms_have_different_entity_tags() -> None:
    async with serving(USERS) as site, await site.connect() as client:
        tags = []
        for lines in ([], ["Accept-Encoding: gzip"]):
            head, _ = await ask(client, "/api/users", *lines)
            tags.append(head.partition("\r\netag: ")[2].partition("\r\n")[0])
        assert len(set(tags)) == 2
        for _ in range(2):
            fields = f"Host: test\r\nAccept-Encoding: gzip\r\nIf-None-Match: {tags[1]}\r\n\r\n"
            await client.send(f"GET /api/users HTTP/1.1\r\n{fields}".encode())
            assert (await client.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 304 ")


async def test_a_short_list_is_not_compressed() -> None:
    async with serving() as site, await site.connect() as client:
        head, body = await ask(client, "/api/users", "Accept-Encoding: gzip")
        assert "content-encoding" not in head
        assert "vary" not in head
        assert json.loads(body)


async def test_xml_rpc_is_compressed_too() -> None:
    call = b"<methodCall><methodName>getUsers</methodName></methodCall>"
    async with serving(USERS) as site, await site.connect() as client:
        for _ in range(2):
            await client.send(
                b"POST /RPC2 HTTP/1.1\r\nHost: test\r\nContent-Type: text/xml\r\nAccept-Encoding: gzip\r\n"
                b"Content-Length: %d\r\n\r\n%b" % (len(call), call)
            )
            head, _, body = (await client.response()).partition(b"\r\n\r\n")
            assert b"\r\ncontent-encoding: gzip\r\n" in head
            assert loads(gzip.decompress(body).decode())[0][0] == NAMES
