"""The XML-RPC door: what this server's own methods answer, and what HTTP adds."""

from __future__ import annotations

import xmlrpc.client
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from quart_trio import QuartTrio
from trio.testing import MockClock

from fingertrio.backend import BackendError
from fingertrio.frontends.web.gate import Gate
from fingertrio.frontends.web.xmlrpc import BODY_DEADLINE, xmlrpc_blueprint
from fingertrio.observe.observer import Observer
from fingertrio.service import FingerService
from fingertrio.testing import FakeBackend, FakeReader
from fingertrio.wire.xmlrpc import BODY_LIMIT, Fault, dump_call, parse_response

USERS = {"moshez": "Happy and well", "shawn": "one\n\x1b[31mtwo & <three>\u202e"}
XML = {"Content-Type": "text/xml"}


@asynccontextmanager
async def serving(backend: FakeBackend | FakeReader | None = None) -> AsyncIterator[Any]:
    """An application with this door alone; and, as the real one has, a page for every user."""
    observer = Observer()
    backend = backend or FakeBackend(USERS)
    async with FingerService.open(backend, observer=observer) as service:
        app = QuartTrio(__name__)
        app.register_blueprint(xmlrpc_blueprint(service, observer))
        gate = Gate(app.asgi_app, observer)

        async def logged(scope: Any, receive: Any, send: Any) -> None:
            await gate({"client": None} | scope, receive, send)  # which Quart's client leaves out

        app.asgi_app = logged  # type: ignore[method-assign]  # as Quart's documentation wraps applications

        @app.get("/<user>")
        async def page(user: str) -> str:
            return user

        async def post(body: bytes, headers: Mapping[str, str] = XML) -> Any:
            return await app.test_client().post("/RPC2", data=body, headers=dict(headers))

        async def call(method: str, *params: Any) -> Any:
            response = await post(dump_call(method, params))
            assert response.status_code == 200
            return parse_response(await response.get_data())

        yield SimpleNamespace(app=app, backend=backend, observer=observer, post=post, call=call)


async def test_get_user_answers_the_status_without_what_steers_a_terminal() -> None:
    async with serving() as door:
        assert await door.call("getUser", "moshez") == "Happy and well"
        assert await door.call("getUser", "shawn") == "one\ntwo & <three>"


@pytest.mark.parametrize("user", ["nobody", "", "../etc/passwd", "a" * 1000])
async def test_an_unknown_user_is_answered_as_in_the_tutorial(user: str) -> None:
    async with serving() as door:
        assert await door.call("getUser", user) == "No such user"
        assert door.observer.metrics.queries == {("xmlrpc", "unknown"): 1}


async def test_get_users_lists_them() -> None:
    async with serving() as door:
        assert await door.call("getUsers") == ["moshez", "shawn"]
        assert door.observer.metrics.queries == {("xmlrpc", "list"): 1}


async def test_a_backend_that_fails_is_an_application_error_with_its_public_message() -> None:
    async with serving() as door:
        door.backend.failure = BackendError("The library burned down")
        assert await door.call("getUser", "moshez") == Fault(-32500, "The library burned down")
        door.backend.failure = OSError("secret")
        assert await door.call("getUser", "shawn") == Fault(-32500, "Internal error in server")


async def test_a_backend_without_a_list_says_so() -> None:
    async with serving(FakeReader(USERS)) as door:
        fault = await door.call("getUsers")
        assert isinstance(fault, Fault)
        assert fault.code == -32500


async def test_the_methods_are_described() -> None:
    async with serving() as door:
        assert (await door.call("system.listMethods"))[:2] == ["getUser", "getUsers"]
        assert await door.call("system.methodSignature", "getUser") == [["string", "string"]]
        assert await door.call("system.methodSignature", "getUsers") == [["array"]]
        assert "No such user" in await door.call("system.methodHelp", "getUser")


async def test_the_standard_librarys_client_understands_each_answer() -> None:
    async with serving() as door:

        async def ask(method: str, *params: Any) -> Any:
            response = await door.post(xmlrpc.client.dumps(params, method).encode())
            return xmlrpc.client.loads(await response.get_data())[0][0]

        assert await ask("getUser", "moshez") == "Happy and well"
        assert await ask("getUsers") == ["moshez", "shawn"]
        for method in await ask("system.listMethods"):
            assert await ask("system.methodHelp", method)
        with pytest.raises(xmlrpc.client.Fault, match="getUser takes string"):
            await ask("getUser")


async def test_a_fault_is_an_answer_of_status_200() -> None:
    async with serving() as door:
        response = await door.post(b"nonsense")
        assert response.status_code == 200
        assert response.headers["Content-Type"] == "text/xml; charset=utf-8"
        fault = parse_response(await response.get_data())
        assert isinstance(fault, Fault)
        assert fault.code == -32700


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "TRACE"])
async def test_only_post_is_allowed_whatever_other_pages_there_are(method: str) -> None:
    async with serving() as door:
        response = await door.app.test_client().open("/RPC2", method=method)
        assert response.status_code == 405
        assert response.headers["Allow"] == "OPTIONS, POST"
        assert door.observer.metrics.queries == {("http", "bad"): 1}


async def test_a_user_of_that_name_changes_nothing() -> None:
    async with serving(FakeBackend({"RPC2": "Remote and procedural"})) as door:
        assert (await door.app.test_client().get("/RPC2")).status_code == 405
        assert await door.call("getUser", "RPC2") == "Remote and procedural"


@pytest.mark.parametrize(
    ("declaration", "content_type", "encoding"),
    [
        ("<?xml version='1.0' encoding='utf8'?>", "text/xml", "utf-8"),
        ("<?xml version='1.0' encoding='latin1'?>", "text/xml", "latin-1"),
        ("<?xml version='1.0'?>", "text/xml; charset=ISO-8859-1", "latin-1"),
        ("<?xml version='1.0' encoding='utf-8'?>", 'application/xml; charset="windows-1252"', "latin-1"),
    ],
)
async def test_the_encoding_is_that_of_the_content_type_or_the_declaration(
    declaration: str, content_type: str, encoding: str
) -> None:
    call = dump_call("getUser", ["zo\u00eb"]).decode().partition("?>")[2]
    async with serving(FakeBackend({"zo\u00eb": "Here"})) as door:
        response = await door.post((declaration + call).encode(encoding), {"Content-Type": content_type})
        assert parse_response(await response.get_data()) == "Here"


@pytest.mark.parametrize(
    "headers", [XML, {"Content-Type": "application/xml; charset=utf-8"}, {"Content-Type": "foo"}, {}]
)
async def test_a_client_may_be_careless_about_its_content_type(headers: dict[str, str]) -> None:
    async with serving() as door:
        assert (await door.post(dump_call("getUsers", []), headers)).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "multipart/form-data; boundary=x"},
        {"Content-Type": "Text/Plain;charset=UTF-8"},
        {"Origin": "https://elsewhere.example"},
    ],
)
async def test_what_a_page_of_another_site_could_send_is_refused(headers: dict[str, str]) -> None:
    async with serving() as door:
        assert (await door.post(dump_call("getUsers", []), headers)).status_code == 415
        assert not door.backend.calls


async def test_a_body_that_says_it_is_too_long_is_refused_unread() -> None:
    async with serving() as door:
        assert (await door.post(b"x", {**XML, "Content-Length": str(BODY_LIMIT + 1)})).status_code == 413
        assert door.observer.metrics.refusals == {("xmlrpc", "body"): 1}


async def test_a_body_that_turns_out_to_be_too_long_is_refused() -> None:
    async with serving() as door:
        async with door.app.test_client().request("/RPC2", method="POST", headers=XML) as connection:
            for _ in range(BODY_LIMIT // 4096 + 1):
                await connection.send(b" " * 4096)
            response = await connection.as_response()
        assert response.status_code == 413


async def test_a_body_of_the_whole_limit_is_read() -> None:
    async with serving() as door:
        body = dump_call("getUsers", [])
        response = await door.post(body + b"\n" * (BODY_LIMIT - len(body)))
        assert parse_response(await response.get_data()) == ["moshez", "shawn"]


async def test_a_body_that_does_not_come_is_not_waited_for(autojump_clock: MockClock) -> None:
    async with serving() as door:
        async with door.app.test_client().request("/RPC2", method="POST", headers=XML) as connection:
            await connection.send(b"<methodCall>")
            response = await connection.as_response()
        assert response.status_code == 408
        assert autojump_clock.current_time() >= BODY_DEADLINE
        assert door.observer.metrics.refusals == {("xmlrpc", "deadline"): 1}
