"""The backend with a finger server on the loopback that answers from a dict."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial

import pytest
import trio
from pydantic import ValidationError

from fingertrio.backend import BackendError, ListsUsers, SetsStatus, UserInfo
from fingertrio.backends.finger import FingerOptions, open_finger
from fingertrio.clients.dial import AddressRefusedError, RemoteError, UnreachableError
from fingertrio.clients.finger import DeadlineError
from fingertrio.testing import check_backend


class Remote:
    """A finger server that answers by line and records the queries."""

    def __init__(self, answers: Mapping[bytes, bytes]) -> None:
        self.answers = answers
        self.asked: list[bytes] = []
        self.open = 0
        self.most_open = 0
        self.gate = trio.Event()
        self.gate.set()

    async def __call__(self, stream: trio.SocketStream) -> None:
        self.open += 1
        self.most_open = max(self.open, self.most_open)
        with suppress(trio.BrokenResourceError):
            line = await stream.receive_some()
            self.asked.append(line)
            await self.gate.wait()
            await stream.send_all(self.answers.get(line, b"No such user\r\n"))
        self.open -= 1

    @asynccontextmanager
    async def running(self) -> AsyncIterator[int]:
        async with trio.open_nursery() as nursery:
            serve = partial(trio.serve_tcp, self, 0, host="127.0.0.1")
            listeners: list[trio.SocketListener] = await nursery.start(serve)
            yield listeners[0].socket.getsockname()[1]
            nursery.cancel_scope.cancel()


async def ask(answer: bytes, **options: object) -> UserInfo | BackendError | None:
    """The backend's result for `answer`."""
    async with Remote({b"moshez\r\n": answer}).running() as port:
        fields = {"host": "127.0.0.1", "port": port, **options}
        async with open_finger(FingerOptions.model_validate(fields)) as backend:
            try:
                return await backend.get_user("moshez")
            except BackendError as error:
                return error


async def test_keeps_the_contract() -> None:
    remote = Remote({b"moshez\r\n": b"Happy and well\r\n", "józef\r\n".encode(): "Zażółć\r\ngęślą\r\n".encode()})
    async with remote.running() as port:
        options = FingerOptions(host="127.0.0.1", port=port)
        checked = await check_backend(
            lambda: open_finger(options), known={"moshez": "Happy and well", "józef": "Zażółć\ngęślą"}
        )
    assert checked
    assert remote.asked


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (b"Happy and well\r\n", "Happy and well"),
        (b"Happy and well", "Happy and well"),
        (b"two\r\nlines\r\n", "two\nlines"),
        (b"\r\n  indented\r\n\r\n", "  indented"),
        (b"caf\xe9\r\n", "café"),
        ("\x1b[31mred\x9b\r\n".encode(), "red"),
        (b"Login: moshez\tName: M\r\nPlan:\r\nx\r\n", "Login: moshez\tName: M\nPlan:\nx"),
        (b"There is no such user interface\r\n", "There is no such user interface"),
        (b"Today:\r\nNo such user\r\n", "Today:\nNo such user"),
    ],
)
async def test_answer_is_the_status(answer: bytes, status: str) -> None:
    assert await ask(answer) == UserInfo("moshez", status)


@pytest.mark.parametrize(
    "answer",
    [
        b"No such user\r\n",
        b"no such user.",
        b"finger: moshez: no such user.\r\n",  # Debian
        b"finger: moshez: no such user\r\n",  # BSD
        b"moshez: no such user\r\n",
        b"finger: sorry, no such user.\r\n",  # fingerd of GNU
        b"Unknown user\r\n",
        b"User not found.\r\n",
        b"Login name: moshez\t\t\tIn real life: ???\r\n",
    ],
)
async def test_words_for_an_unknown_user(answer: bytes) -> None:
    assert await ask(answer) is None


async def test_words_can_be_configured() -> None:
    assert await ask(b"Nie ma\r\n", unknown=["nie ma"]) is None
    assert await ask(b"No such user\r\n", unknown=[]) == UserInfo("moshez", "No such user")
    assert isinstance(await ask(b"Try later!\r\n", failed=["try later."]), BackendError)


@pytest.mark.parametrize("answer", [b"", b"\r\n", b" \r\n \r\n", b"Internal error in server\r\n"])
async def test_server_that_cannot_tell_is_a_failure(answer: bytes) -> None:
    outcome = await ask(answer)
    assert isinstance(outcome, BackendError)
    assert outcome.public_message == "Internal error in server"
    assert isinstance(outcome.__cause__, RemoteError)


HOSTILE = ["moshez@elsewhere", "@elsewhere", "/W", "/W moshez", "a b", "-l", "../x", "|id", "", "a\r\nb", "a\x00"]


@pytest.mark.parametrize("user", HOSTILE)
async def test_what_is_no_name_is_never_sent(user: str) -> None:
    remote = Remote({})
    async with remote.running() as port, open_finger(FingerOptions(host="127.0.0.1", port=port)) as backend:
        assert await backend.get_user(user) is None
    assert remote.asked == []


async def test_failures_have_a_public_face_and_a_private_cause(patient_clock: trio.testing.MockClock) -> None:
    remote = Remote({})
    async with remote.running() as port:
        async with open_finger(FingerOptions(host="127.0.0.1", port=port, limit=1000)) as backend:
            remote.gate = trio.Event()
            with pytest.raises(BackendError) as caught:
                await backend.get_user("moshez")
            assert isinstance(caught.value.__cause__, DeadlineError)
            assert trio.current_time() == pytest.approx(4.5)
            assert caught.value.public_message == "Internal error in server"
        async with open_finger(FingerOptions(host="127.0.0.1", port=port, private=False)) as backend:
            with pytest.raises(BackendError) as caught:
                await backend.get_user("moshez")
            assert isinstance(caught.value.__cause__, AddressRefusedError)
    async with open_finger(FingerOptions(host="127.0.0.1", port=port)) as backend:
        with pytest.raises(BackendError) as caught:
            await backend.get_user("moshez")
        assert isinstance(caught.value.__cause__, UnreachableError)


async def test_a_long_answer_is_cut_and_says_so() -> None:
    assert await ask(b"x" * 1000, limit=1000) == UserInfo("moshez", "x" * 1000)
    cut = "\n[cut here: the answer is longer than 1000 bytes]"
    assert await ask(b"x" * 1001, limit=1000) == UserInfo("moshez", "x" * 1000 + cut)
    assert await ask(b"x" * 999 + "é".encode(), limit=1000) == UserInfo("moshez", "x" * 999 + cut)


async def test_connections_are_bounded() -> None:
    remote = Remote({f"user{number}\r\n".encode(): b"here\r\n" for number in range(10)})
    remote.gate = trio.Event()
    async with (
        remote.running() as port,
        open_finger(FingerOptions(host="127.0.0.1", port=port, connections=3)) as backend,
        trio.open_nursery() as nursery,
    ):
        for number in range(10):
            nursery.start_soon(backend.get_user, f"user{number}")
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert remote.open == 3
        remote.gate.set()
    assert len(remote.asked) == 10
    assert remote.most_open <= 4  # the server may accept a connection before it notices that another has ended


async def test_can_neither_list_nor_set() -> None:
    async with open_finger(FingerOptions(host="127.0.0.1")) as backend:
        assert not isinstance(backend, ListsUsers)
        assert not isinstance(backend, SetsStatus)


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({}, "host"),
        ({"host": ""}, "host"),
        ({"host": "h", "port": 0}, "port"),
        ({"host": "h", "port": 65536}, "port"),
        ({"host": "h", "timeout": 0}, "timeout"),
        ({"host": "h", "limit": 0}, "limit"),
        ({"host": "h", "unknown": ["("]}, "unknown"),
        ({"host": "h", "hots": "h"}, "hots"),
    ],
)
def test_options_are_checked(options: dict[str, object], key: str) -> None:
    with pytest.raises(ValidationError, match=key):
        FingerOptions.model_validate(options)
