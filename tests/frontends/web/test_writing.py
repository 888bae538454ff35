"""PUT, POST and DELETE /api/users/U/status, and setUser: who may write, what is understood, what is refused."""

from __future__ import annotations

import io
import json
import shutil
import xmlrpc.client
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partialmethod
from types import SimpleNamespace
from typing import Any

import pytest
import trio
from quart_trio import QuartTrio
from trio.testing import MockClock

from fingertrio.accounts.tokens import TokensError, dump
from fingertrio.backend import Backend
from fingertrio.backends.memory import MemoryBackend
from fingertrio.frontends.web.app import create_app
from fingertrio.frontends.web.frontend import WebFrontend
from fingertrio.frontends.web.proofs import Proofs
from fingertrio.net.address import Address
from fingertrio.net.limits import ConnectionCaps, RateLimiter
from fingertrio.net.listen import bind, close_all
from fingertrio.observe.observer import Observer
from fingertrio.service import FingerService
from fingertrio.testing import FakeReader
from tests.accounts.kit import MemoryDocument
from tests.helpers import no_accounts

PATH = "/api/users/ada/status"


class _Client:
    """A client at an address that limits count."""

    def __init__(self, app: QuartTrio) -> None:
        self._client = app.test_client()

    async def _request(self, path: str, method: str, **kwargs: Any) -> Any:
        return await self._client.open(path, method=method, scope_base={"client": ("192.0.2.1", 1)}, **kwargs)

    get = partialmethod(_request, method="GET")
    put = partialmethod(_request, method="PUT")
    post = partialmethod(_request, method="POST")
    delete = partialmethod(_request, method="DELETE")


@asynccontextmanager
async def application(backend: Backend | None = None, rate: RateLimiter | None = None) -> AsyncIterator[Any]:
    log = io.StringIO()
    observer = Observer(log, human=False)
    document = MemoryDocument()
    accounts = no_accounts(document)
    ada, token = await accounts.tokens.add("ada")
    admin, _ = await accounts.tokens.add("root", scope="admin")
    backend = backend or MemoryBackend({"ada": "Weaving", "bob": "Out"})
    async with FingerService.open(backend, observer=observer) as service:
        app = create_app(service, observer, proofs=Proofs(accounts, rate, observer))
        yield SimpleNamespace(
            client=_Client(app),
            service=service,
            accounts=accounts,
            document=document,
            token=token,
            secret=ada,
            ada={"Authorization": f"Bearer {ada}"},
            admin={"Authorization": f"Bearer {admin}"},
            log=log,
        )


@pytest.mark.parametrize("method", ["GET", "HEAD", "PATCH", "TRACE"])
async def test_allow_names_the_methods_that_work_on_a_status(method: str):
    async with application() as site:
        response = await site.client._request(PATH, method)
        assert response.status_code == 405
        assert {name.strip() for name in response.headers["Allow"].split(",")} == {"DELETE", "OPTIONS", "POST", "PUT"}


async def status(site: Any, user: str = "ada") -> str:
    return str((await site.service.get_user(user)).status)


@pytest.mark.parametrize("method", ["put", "post"])
@pytest.mark.parametrize(
    "content_type", [None, "text/plain", "text/plain; charset=utf-8", "application/x-www-form-urlencoded"]
)
async def test_a_body_of_text_is_the_status(method: str, content_type: str | None):
    async with application() as site:
        headers = site.ada | ({} if content_type is None else {"Content-Type": content_type})
        response = await getattr(site.client, method)(PATH, headers=headers, data="Caf\u00e9 & tea=good\n".encode())
        assert response.status_code == 200
        assert response.mimetype == "application/json"
        document = await response.get_json()
        assert document == await (await site.client.get("/api/users/ada")).get_json()
        assert (document["user"], document["status"], document["until"]) == ("ada", "Caf\u00e9 & tea=good", None)


async def test_a_charset_is_honoured():
    async with application() as site:
        headers = site.ada | {"Content-Type": "text/plain; charset=iso-8859-1"}
        assert (await site.client.put(PATH, headers=headers, data="Caf\u00e9".encode("latin-1"))).status_code == 200
        assert await status(site) == "Caf\u00e9"


@pytest.mark.parametrize(
    ("query", "document", "minutes"),
    [
        ("?for=40m", None, 40),
        ("?until=2h", None, 120),
        ("", {"status": "x", "for": "1h30m"}, 90),
        ("", {"status": "x", "until": "3h"}, 180),
        ("?for=5m", {"status": "x"}, 5),
    ],
)
async def test_an_end_comes_from_the_query_or_the_document(query: str, document: dict[str, str] | None, minutes: int):
    async with application() as site:
        body = {"data": b"x"} if document is None else {"json": document}
        response = await site.client.put(PATH + query, headers=site.ada, **body)
        assert response.status_code == 200, await response.get_data(as_text=True)
        until = datetime.fromisoformat((await response.get_json())["until"])
        assert timedelta(minutes=minutes - 1) < until - datetime.now(UTC) <= timedelta(minutes=minutes)


async def test_a_status_is_taken_back():
    async with application() as site:
        response = await site.client.delete(PATH, headers=site.ada)
        assert response.status_code == 200
        assert (await response.get_json())["status"] == ""
        assert await status(site) == ""
        assert (await site.client.delete("/api/users/zoe/status", headers=site.admin)).status_code == 404


NO_TOKEN = {"", "Bearer", "Basic YWRhOng=", "Token x", "\u00e4"}


@pytest.mark.parametrize(
    "header",
    [None, "", "Bearer", "Bearer ", "Basic YWRhOng=", "Bearer ft_" + "a" * 52, "Bearer x", "Token x", "\u00e4"],
)
async def test_without_a_valid_token_nothing_is_written(header: str | None):
    async with application() as site:
        headers = {} if header is None else {"Authorization": header}
        for method in ("put", "post", "delete"):
            response = await getattr(site.client, method)(PATH, headers=headers)
            assert response.status_code == 401
            assert response.mimetype == "application/problem+json"
            challenge = response.headers["WWW-Authenticate"]
            assert challenge.startswith(('Bearer realm="fingertrio"', "Bearer realm=fingertrio"))
            assert ("invalid_token" in challenge) is ((header or "").strip() not in NO_TOKEN)
        assert await status(site) == "Weaving"


async def test_another_users_status_is_forbidden_and_an_admins_token_sets_everybodys():
    async with application() as site:
        for method in ("put", "delete"):
            response = await getattr(site.client, method)("/api/users/bob/status", headers=site.ada, data=b"Hacked")
            assert response.status_code == 403
            assert (await response.get_json(force=True))["detail"] == "ada may not set the status of bob"
        assert await status(site, "bob") == "Out"
        assert (await site.client.put("/api/users/bob/status", headers=site.admin, data=b"Back")).status_code == 200
        assert await status(site, "bob") == "Back"


async def test_a_revoked_and_an_expired_token_end_at_once():
    async with application() as site:
        expired, token = await site.accounts.tokens.add("ada", expires=datetime.now(UTC) + timedelta(hours=1))
        past = replace(token, expires=datetime.now(UTC))
        site.document.content = dump([past if one.id == token.id else one for one in await site.accounts.tokens.list()])
        response = await site.client.put(PATH, headers={"Authorization": f"Bearer {expired}"}, data=b"x")
        assert response.status_code == 401
        assert "this token has expired" in response.headers["WWW-Authenticate"]
        await site.accounts.tokens.revoke(site.token.id)
        assert (await site.client.put(PATH, headers=site.ada, data=b"x")).status_code == 401
        assert await status(site) == "Weaving"


async def test_a_thousand_guesses_change_nothing_and_are_told_to_wait(autojump_clock: MockClock):
    async with application() as site:
        writes = site.document.writes
        codes = []
        for number in range(1000):
            response = await site.client.put(PATH, headers={"Authorization": f"Bearer {number}"}, data=b"x")
            codes.append(response.status_code)
        assert codes == [401] * 10 + [429] * 990
        assert 1 <= int(response.headers["Retry-After"]) <= 60
        assert await status(site) == "Weaving"
        assert site.document.writes == writes


async def test_an_address_writes_no_more_often_than_it_may(autojump_clock: MockClock):
    async with application(rate=RateLimiter(rate=0.1, burst=2)) as site:
        codes = [(await site.client.put(PATH, headers=site.ada, data=b"x")).status_code for _ in range(3)]
        assert codes == [200, 200, 429]


@pytest.mark.parametrize(
    ("path", "kwargs", "code", "fields"),
    [
        (PATH, {"data": b""}, 422, ["status"]),
        (PATH, {"data": b" \n"}, 422, ["status"]),
        (PATH, {"data": b"\xff"}, 422, ["status"]),
        (PATH, {"data": b"x" * 16_385}, 422, ["status"]),
        (PATH, {"data": b"x\n" * 501}, 422, ["status"]),
        (PATH, {"data": b":tea"}, 422, ["status"]),  # not a preset
        ("/api/users/ADA/status", {"data": b"x"}, 422, ["user"]),  # there is ada
        (PATH + "?until=soon", {"data": b"x"}, 422, ["until"]),
        (PATH + "?for=17:00", {"data": b"x"}, 422, ["for"]),
        (PATH + "?for=1h&until=2h", {"data": b"x"}, 422, ["for"]),
        ("/api/users/-x/status?until=soon", {"data": b""}, 422, ["user", "status", "until"]),  # all of them at once
        (PATH, {"json": {}}, 422, ["status"]),
        (PATH, {"json": {"status": 5}}, 422, ["status"]),
        (PATH, {"json": {"status": "x", "colour": "red"}}, 422, ["colour"]),
        (PATH, {"json": {"status": "x", "for": 40, "until": []}}, 422, ["until", "for"]),
        (PATH, {"json": ["x"]}, 422, [""]),
        (PATH + "?for=1h", {"json": {"status": "x", "for": "2h"}}, 422, ["for"]),
        (PATH, {"json": {"status": "\ud800"}}, 422, ["status"]),
        ("/api/users/-x/status", {"data": b"x"}, 422, ["user"]),
        ("/api/users/p%D0%B0ypal/status", {"data": b"x"}, 422, ["user"]),
        (PATH, {"data": b"{", "headers": {"Content-Type": "application/json"}}, 400, None),
        (PATH, {"data": b"[" * 100_000, "headers": {"Content-Type": "application/json"}}, 400, None),
        (PATH, {"data": b"<x/>", "headers": {"Content-Type": "text/xml"}}, 415, None),
        (PATH, {"data": b"x", "headers": {"Content-Type": "text/plain; charset=klingon"}}, 422, ["status"]),
        (PATH, {"data": b"x" * 300_000}, 413, None),
    ],
)
async def test_bad_input_is_named_field_by_field(path: str, kwargs: Any, code: int, fields: list[str] | None):
    async with application() as site:
        kwargs = {**kwargs, "headers": site.admin | kwargs.get("headers", {})}
        response = await site.client.put(path, **kwargs)
        document = await response.get_json(force=True)
        assert (response.status_code, response.mimetype) == (code, "application/problem+json"), document
        assert document["detail"]
        if fields is not None:
            assert [error["field"] for error in document["errors"]] == fields
            assert all(error["detail"] for error in document["errors"])
        assert await status(site) == "Weaving"


async def test_if_match_overwrites_only_what_the_client_has_seen():
    async with application() as site:
        etag = (await site.client.get("/api/users/ada")).headers["ETag"]
        first = await site.client.put(PATH, headers=site.ada | {"If-Match": etag}, data=b"one")
        assert first.status_code == 200
        second = await site.client.put(PATH, headers=site.ada | {"If-Match": etag}, data=b"two")
        assert second.status_code == 412
        assert await status(site) == "one"
        assert (await site.client.put(PATH, headers=site.ada | {"If-Match": "*"}, data=b"three")).status_code == 200
        new = "/api/users/zoe/status"
        assert (await site.client.put(new, headers=site.admin | {"If-Match": "*"}, data=b"x")).status_code == 412
        assert (await site.client.put(new, headers=site.admin | {"If-None-Match": "*"}, data=b"x")).status_code == 200
        assert (await site.client.put(new, headers=site.admin | {"If-None-Match": "*"}, data=b"y")).status_code == 412


async def test_of_two_writers_who_saw_the_same_one_wins():
    async with application() as site:
        etag = (await site.client.get("/api/users/ada")).headers["ETag"]
        codes = []

        async def write(text: bytes) -> None:
            response = await site.client.put(PATH, headers=site.ada | {"If-Match": etag}, data=text)
            codes.append(response.status_code)

        async with trio.open_nursery() as nursery:
            for text in (b"one", b"two", b"three"):
                nursery.start_soon(write, text)
        assert sorted(codes) == [200, 412, 412]


async def test_a_backend_that_cannot_be_set_says_so():
    async with application(FakeReader({"ada": "x"})) as site:
        response = await site.client.put(PATH, headers=site.ada, data=b"y")
        assert (response.status_code, (await response.get_json(force=True))["detail"]) == (
            403,
            "Statuses cannot be set here",
        )
        assert (await site.client.delete(PATH, headers=site.ada)).status_code == 403


async def test_tokens_that_cannot_be_read_are_an_error_in_the_log_alone():
    async with application() as site:
        site.document.failure = TokensError("the file /var/lib/x is damaged")
        response = await site.client.put(PATH, headers=site.ada, data=b"y")
        assert response.status_code == 500
        assert "/var/lib" not in await response.get_data(as_text=True)
        assert "/var/lib/x is damaged" in site.log.getvalue()


async def test_the_secret_is_in_no_log_line():
    async with application() as site:
        await site.client.put(PATH, headers=site.ada, data=b"y")
        await site.client.post("/RPC2", data=xmlrpc.client.dumps(("ada", "x", site.secret), "setUser").encode())
        assert site.secret not in site.log.getvalue()
        assert site.token.digest not in site.log.getvalue()


class TestSetUser:
    """The XML-RPC method."""

    async def call(self, site: Any, *params: Any, headers: dict[str, str] | None = None) -> object:
        body = xmlrpc.client.dumps(params, "setUser", allow_none=False).encode()
        headers = {"Content-Type": "text/xml"} | (headers or {})
        response = await site.client.post("/RPC2", data=body, headers=headers)
        return xmlrpc.client.loads(await response.get_data(as_text=True))[0][0]

    async def test_takes_the_token_in_the_header_or_as_a_parameter(self):
        async with application() as site:
            assert await self.call(site, "ada", "one", headers=site.ada) == "one"
            assert await self.call(site, "ada", "two", site.secret) == "two"
            assert await status(site) == "two"

    async def test_takes_an_end(self):
        async with application() as site:
            for params, headers in (
                (("ada", "one", "40m"), site.ada),
                (("ada", "two", site.secret, "40m"), {}),
                (("ada", "three", "", "40m"), site.ada),
            ):
                await self.call(site, *params, headers=headers)
                info = await site.service.get_user("ada")
                assert info.status == params[1]
                assert timedelta(minutes=39) < info.until - datetime.now(UTC) <= timedelta(minutes=40)

    async def test_an_empty_status_takes_it_back(self):
        async with application() as site:
            assert await self.call(site, "ada", "", headers=site.ada) == ""
            assert await status(site) == ""

    @pytest.mark.parametrize(
        ("params", "code", "text"),
        [
            (("ada", "x"), -32500, "a token is needed"),
            (("ada", "x", "ft_" + "a" * 52), -32500, "this token is not valid"),
            (("ada",), -32602, "setUser takes string, string or string, string, string or"),
        ],
    )
    async def test_without_a_token_it_is_a_fault(self, params: tuple[str, ...], code: int, text: str):
        async with application() as site:
            with pytest.raises(xmlrpc.client.Fault) as fault:
                await self.call(site, *params)
            assert fault.value.faultCode == code
            assert text in fault.value.faultString
            assert await status(site) == "Weaving"

    @pytest.mark.parametrize(
        ("params", "code", "text"),
        [
            (("bob", "x"), -32500, "ada may not set the status of bob"),
            (("ada", " "), -32602, "the status is empty"),
            (("ada", "x", "soon"), -32602, '"soon" is not a time'),
        ],
    )
    async def test_what_a_writer_may_not_is_a_fault(self, params: tuple[str, ...], code: int, text: str):
        async with application() as site:
            with pytest.raises(xmlrpc.client.Fault) as fault:
                await self.call(site, *params, headers=site.ada)
            assert (fault.value.faultCode, text in fault.value.faultString) == (code, True)

    async def test_introspection_tells_every_signature(self):
        async with application() as site:
            body = xmlrpc.client.dumps(("setUser",), "system.methodSignature").encode()
            response = await site.client.post("/RPC2", data=body, headers={"Content-Type": "text/xml"})
            found = xmlrpc.client.loads(await response.get_data(as_text=True))[0][0]
            assert found == [["string"] * 3, ["string"] * 4, ["string"] * 5]


async def test_the_curl_line_of_the_documentation_works_as_it_stands():
    """A real curl, over a real socket, with no content type of our choosing."""
    accounts = no_accounts()
    secret, _ = await accounts.tokens.add("ada")
    listeners = bind(Address("127.0.0.1", 0))
    host, port = listeners[0].getsockname()
    try:
        async with FingerService.open(MemoryBackend({"ada": "Weaving"})) as service, trio.open_nursery() as nursery:
            door = WebFrontend(
                service=service,
                observer=Observer(),
                listeners=listeners,
                caps=ConnectionCaps(total=10, per_address=10),
                accounts=accounts,
            )
            await nursery.start(door.serve, trio.Event())
            curl = shutil.which("curl")
            if curl is None:
                pytest.skip("needs curl")
            url = f"http://{host}:{port}/api/users/ada/status?for=40m"
            command = [curl, "-sS", "-H", f"Authorization: Bearer {secret}", "-d", "coffee", url]
            done = await trio.run_process(command, capture_stdout=True)
            assert json.loads(done.stdout)["status"] == "coffee"
            info = await service.get_user("ada")
            assert info is not None
            assert info.until is not None
            nursery.cancel_scope.cancel()
    finally:
        close_all(listeners)
