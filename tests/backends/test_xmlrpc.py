"""The xmlrpc backend with a real server: the standard library's, in a thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from typing import Any
from xmlrpc.client import Fault
from xmlrpc.server import SimpleXMLRPCServer

import pytest
from pydantic import ValidationError

from fingertrio.backend import Backend, BackendError, ListsUsers, SetsStatus, UserInfo
from fingertrio.backends.xmlrpc import XMLRPCOptions, open_xmlrpc
from fingertrio.clients.xmlrpc import AnswerError, FaultError, TransportError
from fingertrio.config.plugins import find_backend
from fingertrio.service import FingerService
from fingertrio.testing import CLAUSES, Clause, check_backend

USERS = {"moshez": "Happy and well", "shawn": "Grüße\nfrom the garden", "张三": "在"}


@contextmanager
def serving(methods: Mapping[str, Callable[..., Any]]) -> Iterator[str]:
    """The URL of a server of the standard library, in a thread."""
    with SimpleXMLRPCServer(("127.0.0.1", 0), logRequests=False, allow_none=True) as server:
        for name, function in methods.items():
            server.register_function(function, name)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/RPC2"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def url() -> Iterator[str]:
    """A service as in the tutorial: it returns a string for every user, also for unknown users."""
    with serving({"getUser": lambda user: USERS.get(user, "No such user"), "getUsers": lambda: list(USERS)}) as url:
        yield url


def options(url: str, **more: Any) -> XMLRPCOptions:
    return XMLRPCOptions.model_validate({"url": url, **more})


@pytest.mark.parametrize("clause", CLAUSES, ids=str)
async def test_the_contract(url: str, clause: Clause) -> None:
    await check_backend(lambda: open_xmlrpc(options(url)), known=USERS, clauses=[clause])


async def test_it_answers_what_the_remote_answers(url: str) -> None:
    async with open_xmlrpc(options(url)) as backend:
        assert await backend.get_user("moshez") == UserInfo("moshez", "Happy and well")
        assert await backend.get_user("shawn") == UserInfo("shawn", "Grüße\nfrom the garden")
        assert await backend.get_user("nobody") is None
        assert await backend.get_users() == ["moshez", "shawn", "张三"]


async def test_it_reads_and_lists_and_no_more(url: str) -> None:
    async with open_xmlrpc(options(url)) as backend:
        assert isinstance(backend, Backend)
        assert isinstance(backend, ListsUsers)
        assert not isinstance(backend, SetsStatus)


async def test_it_is_found_by_name(url: str) -> None:
    plugin = find_backend("xmlrpc")
    async with plugin.open(plugin.check_options({"url": url}, "test")) as backend:
        assert await backend.get_user("moshez") == UserInfo("moshez", "Happy and well")


async def test_the_methods_may_have_other_names_and_the_unknown_other_words() -> None:
    with serving({"finger.status": lambda user: f"{user}?" if user != "nobody" else "", "who": lambda: ["a"]}) as url:
        named = options(url, get_user="finger.status", get_users="who", unknown="")
        async with open_xmlrpc(named) as backend:
            assert await backend.get_user("a") == UserInfo("a", "a?")
            assert await backend.get_user("nobody") is None
            assert await backend.get_users() == ["a"]


@pytest.mark.parametrize("status", ["a\x7fb\u202ec\n\n", "a\u0085b\u2028c\r\n"])
async def test_what_steers_a_terminal_does_not_come_in(status: str) -> None:
    with serving({"getUser": lambda _user: status}) as url:
        async with open_xmlrpc(options(url)) as backend:
            info = await backend.get_user("a")
    assert info is not None
    assert info.status in {"abc", "a\nb\nc"}


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (7, "7"),
        (b"Happy", "Happy"),
        ("Gr\u00fc\u00dfe".encode(), "Gr\u00fc\u00dfe"),
        (b"Gr\xfc\xdfe", "Gr\u00fc\u00dfe"),
    ],
)
async def test_integers_and_base64_are_taken_as_text(sent: int | bytes, status: str) -> None:
    with serving({"getUser": lambda _user: sent, "getUsers": lambda: [42, b"moshez", "zo\u00eb"]}) as url:
        async with open_xmlrpc(options(url)) as backend:
            info = await backend.get_user("42")
            assert info is not None
            assert info.status == status
            assert await backend.get_users() == ["42", "moshez", "zo\u00eb"]


async def test_nil_means_unknown() -> None:
    with serving({"getUser": lambda _user: None}) as url:
        async with open_xmlrpc(options(url)) as backend:
            assert await backend.get_user("moshez") is None


async def test_a_fault_means_unknown_if_it_is_configured() -> None:
    def refuse(user: str) -> str:
        raise Fault(404 if user == "moshez" else 500, "no")

    with serving({"getUser": refuse}) as url:
        async with open_xmlrpc(options(url, unknown_faults=[404])) as backend:
            assert await backend.get_user("moshez") is None
            with pytest.raises(BackendError):
                await backend.get_user("ada")
        async with open_xmlrpc(options(url)) as backend:
            with pytest.raises(BackendError):
                await backend.get_user("moshez")


@pytest.mark.parametrize("status", [True, 1.5, ["Happy"], {"status": "Happy"}])
async def test_a_status_that_is_no_string_is_a_failure(status: Any) -> None:
    with serving({"getUser": lambda _user: status}) as url:
        async with open_xmlrpc(options(url)) as backend:
            with pytest.raises(BackendError, match="Internal error") as caught:
                await backend.get_user("moshez")
    assert isinstance(caught.value.__cause__, AnswerError)


@pytest.mark.parametrize("users", [None, "moshez", {"moshez": "Happy"}, ["moshez", True], [["moshez"]]])
async def test_users_that_are_no_array_of_strings_are_a_failure(users: Any) -> None:
    with serving({"getUsers": lambda: users}) as url:
        async with open_xmlrpc(options(url)) as backend:
            with pytest.raises(BackendError, match="Internal error") as caught:
                await backend.get_users()
    assert isinstance(caught.value.__cause__, AnswerError)


async def test_a_user_listed_twice_is_one_user() -> None:
    with serving({"getUsers": lambda: ["b", "a", "b"]}) as url:
        async with open_xmlrpc(options(url)) as backend:
            assert await backend.get_users() == ["b", "a"]


def fail(_user: str) -> str:
    raise RuntimeError("secret")


async def test_a_fault_is_a_failure_whose_words_stay_private() -> None:
    with serving({"getUser": fail}) as url:
        async with open_xmlrpc(options(url)) as backend:
            for call in (
                lambda: backend.get_user("moshez"),
                backend.get_users,
            ):  # the method raises; the method does not exist
                with pytest.raises(BackendError, match=r"^Internal error in server$") as caught:
                    await call()
                assert isinstance(caught.value.__cause__, FaultError)


async def test_a_remote_that_went_away_is_a_failure() -> None:
    async with AsyncExitStack() as stack:
        with serving({"getUser": lambda _user: "Happy"}) as url:
            backend = await stack.enter_async_context(open_xmlrpc(options(url)))
            assert await backend.get_user("a") == UserInfo("a", "Happy")
        with pytest.raises(BackendError) as caught:
            await backend.get_user("a")
    assert isinstance(caught.value.__cause__, TransportError)


async def test_what_is_no_name_is_not_asked() -> None:
    asked: list[str] = []
    with serving({"getUser": asked.append}) as url:
        async with open_xmlrpc(options(url)) as backend:
            for name in ("", "a b", "mo\x00shez", "-l", "a@b"):
                assert await backend.get_user(name) is None
    assert asked == []


async def test_the_service_shows_it(url: str) -> None:
    async with open_xmlrpc(options(url)) as backend, FingerService.open(backend) as service:
        assert await service.get_user("moshez") == UserInfo("moshez", "Happy and well")
        assert await service.get_user("nobody") is None
        assert await service.get_users() == ("moshez", "shawn", "张三")


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"url": "finger.example.net"},
        {"url": "ftp://finger.example.net/"},
        {"url": "http://x/", "get_user": "get user"},
        {"url": "http://x/", "get_users": ""},
        {"url": "http://x/", "timeout": 0},
        {"url": "http://x/", "colour": "blue"},
    ],
)
def test_options_that_cannot_work_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        XMLRPCOptions.model_validate(wrong)


def test_every_option_is_described() -> None:
    assert all(field.description for field in XMLRPCOptions.model_fields.values())
