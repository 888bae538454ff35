"""The setter door over real sockets: valid requests, invalid requests, and one-line errors."""

from __future__ import annotations

import io
import json
import os
import pwd
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import trio
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from fingertrio.accounts.accounts import Accounts
from fingertrio.accounts.tokens import TokensError
from fingertrio.backend import BackendError, UserInfo
from fingertrio.clients.setter import SetterError, set_status
from fingertrio.frontends.setter.frontend import READ_DEADLINE, Proof, SetterFrontend
from fingertrio.names import is_user_name
from fingertrio.net.address import Address
from fingertrio.net.limits import ConnectionCaps
from fingertrio.net.listen import bind, close_all
from fingertrio.observe.observer import Observer
from fingertrio.service import FingerService
from fingertrio.testing import FakeBackend
from fingertrio.wire.setter import NAME_LINE_LIMIT, REQUEST_LIMIT, STATUS_LINE_LIMIT
from tests.accounts.kit import MemoryDocument
from tests.helpers import no_accounts, reset

GOOD = b"moshez\r\nIn the garden\r\n"


class Door:
    """An open setter door with its service and backend."""

    def __init__(self, place: tuple[str, int] | str, service: FingerService, backend: FakeBackend) -> None:
        self.place = place
        self.service = service
        self.backend = backend
        self.log = io.StringIO()
        self.observer = Observer()

    async def connect(self) -> trio.SocketStream:
        sock = trio.socket.socket(socket.AF_UNIX if isinstance(self.place, str) else socket.AF_INET)
        await sock.connect(self.place)
        return trio.SocketStream(sock)

    async def say(self, *chunks: bytes) -> bytes:
        """Send the chunks and the end of input; return the answer."""
        async with await self.connect() as stream:
            for chunk in chunks:
                await stream.send_all(chunk)
                if len(chunks) > 1:
                    await wait_all_tasks_blocked()
            await stream.send_eof()
            return await read_all(stream)

    def records(self) -> list[dict[str, Any]]:
        """The log so far."""
        return [json.loads(line) for line in self.log.getvalue().splitlines()]

    async def status(self, user: str = "moshez") -> str | None:
        info = await self.service.get_user(user)
        return info.status if info is not None else None

    @property
    def sets(self) -> int:
        return self.backend.calls["set_user"]


async def read_all(stream: trio.SocketStream) -> bytes:
    answer = bytearray()
    with trio.fail_after(10):
        async for chunk in stream:
            answer += chunk
    return bytes(answer)


@asynccontextmanager
async def opened(
    address: Address | None = None,
    *,
    caps: ConnectionCaps | None = None,
    read_deadline: float = READ_DEADLINE,
    proof: Proof = "none",
    accounts: Accounts | None = None,
) -> AsyncIterator[Door]:
    backend = FakeBackend({"moshez": "Happy and well"})
    listeners = bind(address or Address("127.0.0.1", 0))
    try:
        observer = Observer(log := io.StringIO(), human=False)
        async with FingerService.open(backend, observer=observer) as service, trio.open_nursery() as nursery:
            frontend = SetterFrontend(
                service=service,
                accounts=accounts or no_accounts(),
                observer=observer,
                listeners={proof: listeners},
                caps=caps or ConnectionCaps(total=100, per_address=100),
                read_deadline=read_deadline,
            )
            stopping = trio.Event()
            await nursery.start(frontend.serve, stopping)
            door = Door(listeners[0].getsockname(), service, backend)
            door.log = log
            door.observer = observer
            yield door
            stopping.set()
    finally:
        close_all(listeners)


@pytest.mark.parametrize(
    ("request_", "user", "status"),
    [
        (GOOD, "moshez", "In the garden"),
        (b"moshez\nIn the garden\n", "moshez", "In the garden"),
        (b"newcomer\r\nhere\r\n", "newcomer", "here"),
        (b"s\xc3\xb8ren\r\nL\xc3\xa6ser\r\n", "s\u00f8ren", "L\u00e6ser"),
        (b'moshez\r\n<b>: 100% \\ "x"\r\n', "moshez", '<b>: 100% \\ "x"'),
        (
            b"moshez\r\nred \x1b[31m and \xe2\x80\xae back\r\n",
            "moshez",
            "red  and  back",
        ),  # terminal controls are removed
        (b"moshez\r\n" + b"x" * STATUS_LINE_LIMIT + b"\r\n", "moshez", "x" * STATUS_LINE_LIMIT),
    ],
    ids=lambda value: ascii(value)[:40],
)
async def test_two_lines_and_the_end_of_input_set_a_status(request_: bytes, user: str, status: str):
    async with opened() as door:
        assert await door.say(request_) == b"OK\r\n"
        assert await door.status(user) == status


async def test_a_request_byte_by_byte_sets_a_status():
    async with opened() as door:
        assert await door.say(*(GOOD[position : position + 1] for position in range(len(GOOD)))) == b"OK\r\n"
        assert await door.status() == "In the garden"


async def test_a_client_that_closes_without_reading_the_answer_sets_a_status():
    """`printf ... | nc` closes both directions at once."""
    async with opened() as door, door.service.changes() as feed:
        async with await door.connect() as stream:
            await stream.send_all(GOOD)
        with trio.fail_after(10):
            await anext(feed)
        assert await door.status() == "In the garden"


async def test_nothing_is_set_before_the_end_of_input():
    async with opened() as door:
        async with await door.connect() as stream:
            await stream.send_all(GOOD)
            await wait_all_tasks_blocked()
            assert door.sets == 0
            await stream.send_eof()
            assert await read_all(stream) == b"OK\r\n"
            assert await door.status() == "In the garden"


@pytest.mark.parametrize(
    "said", [b"", b"mos", b"moshez\r\n", b"moshez\r\nIn the", GOOD, GOOD + b"x", b"\xff", b"x" * (REQUEST_LIMIT - 1)]
)
async def test_a_connection_that_breaks_before_its_end_of_input_sets_nothing(said: bytes):
    """Also if both lines arrived, since the end of input did not."""
    async with opened() as door:
        stream = await door.connect()
        await stream.send_all(said)
        await wait_all_tasks_blocked()
        reset(stream.socket)
        await wait_all_tasks_blocked()
        assert await door.say(b"alice\r\nhere\r\n") == b"OK\r\n"
        assert door.sets == 1
        assert await door.status() == "Happy and well"
        assert "connection_failed" not in door.log.getvalue()


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (b"", b"expected two lines: a user name and a status"),
        (b"moshez\r\n", b"expected two lines: a user name and a status"),
        (b"moshez", b"the last line is incomplete: it has no line end"),
        (b"moshez\r\nIn the gar", b"the last line is incomplete: it has no line end"),
        (b"moshez\r\nIn\r\nthe garden\r\n", b"more than two lines"),
        (GOOD + b"\r\n", b"more than two lines"),
        (b"moshez\r\nIn the g\xe4rden\r\n", b"not UTF-8"),
        (b"m\xf8shez\r\nIn the garden\r\n", b"not UTF-8"),
        (b"moshez\r\n \r\n", b"the status is empty"),
        (b"moshez\r\n \t \r\n", b"the status is empty"),
        (b"moshez\r\n\x1b\x07\r\n", b"the status is empty"),
        (b"\r\nIn the garden\r\n", b"the user name is empty"),
        (b"-l\r\nIn the garden\r\n", b"a user name is made of"),
        (b"mos hez\r\nIn the garden\r\n", b"a user name is made of"),
        (b"moshez@host\r\nIn the garden\r\n", b"a user name is made of"),
        (b"../x\r\nIn the garden\r\n", b"a user name is made of"),
        (b"mos\rhez\r\nIn the garden\r\n", b"line end inside a line"),
        (b"p\xd0\xb0ypal\r\nIn the garden\r\n", b"the user name mixes letters"),
        (b"x" * 65 + b"\r\nIn the garden\r\n", b"the user name is longer than 64 characters"),
        (b"x" * (NAME_LINE_LIMIT + 1) + b"\r\nIn the garden\r\n", b"line too long"),
        (b"moshez\r\n" + b"x" * (STATUS_LINE_LIMIT + 1) + b"\r\n", b"line too long"),
        (b"moshez\r\n" + b"x" * 1_000_000, b"line too long"),  # rejected long before its end
    ],
    ids=lambda value: ascii(value)[:40],
)
async def test_everything_else_is_one_error_line_and_sets_nothing(request_: bytes, reason: bytes):
    async with opened() as door:
        async with await door.connect() as stream, trio.open_nursery() as nursery:

            async def speak() -> None:
                try:
                    await stream.send_all(request_)
                    await stream.send_eof()
                except trio.BrokenResourceError:
                    pass  # the request was rejected before its end

            nursery.start_soon(speak)
            answer = await read_all(stream)
            nursery.cancel_scope.cancel()
        assert answer.startswith(b"ERROR " + reason)
        assert answer.endswith(b"\r\n")
        assert answer.count(b"\r") == answer.count(b"\n") == 1
        assert door.sets == 0
        assert door.observer.metrics.refusals == ({("setter", "line"): 1} if reason == b"line too long" else {})
        assert await door.status() == "Happy and well"


async def test_a_failing_backend_shows_its_public_message():
    async with opened() as door:
        door.backend.failure = BackendError("Read only\r\nOK today\x1b[2J")
        assert await door.say(GOOD) == b"ERROR Read only OK today\r\n"
        door.backend.failure = OSError("/etc/shadow: permission denied")
        assert await door.say(GOOD) == b"ERROR Internal error in server\r\n"
        door.backend.failure = None
        assert await door.status() == "Happy and well"


async def test_a_silent_client_gets_an_error_at_the_deadline(patient_clock: MockClock):
    async with opened(read_deadline=60) as door:
        async with await door.connect() as stream:
            await stream.send_all(b"moshez\r\nIn the")
            await trio.sleep(59)
            await stream.send_all(b" garden\r\n")  # more data does not extend the deadline
            assert await read_all(stream) == b"ERROR no complete request within 60 seconds\r\n"
        assert trio.current_time() == pytest.approx(60, abs=2.5)
        assert door.sets == 0


async def test_a_connection_over_the_limit_gets_an_error_line():
    async with opened(caps=ConnectionCaps(total=1, per_address=1)) as door:
        async with await door.connect():
            await wait_all_tasks_blocked()
            answer = await door.say(GOOD)
        assert answer.startswith(b"ERROR too many")
        assert answer.count(b"\r\n") == 1
        assert door.sets == 0


async def test_every_attempt_is_in_the_log(tmp_path: Path):
    async with opened() as door:
        await door.say(GOOD)
        await door.say(b"-l\r\nx\r\n")
        await door.say(b"one line\r\n")
        door.backend.failure = BackendError("Read only")
        await door.say(GOOD)
        records = [json.loads(line) for line in door.log.getvalue().splitlines()]
        queries = [(record["asked"], record["outcome"]) for record in records if record["event"] == "query"]
        assert queries == [("moshez", "ok"), ("-l", "bad"), ("", "bad"), ("moshez", "error")]
        assert {record["peer"] for record in records if record["event"] == "query"} == {"127.0.0.1"}


async def test_through_a_unix_socket(tmp_path: Path):
    async with opened(Address(path=tmp_path / "setter")) as door:
        assert await door.say(GOOD) == b"OK\r\n"
        assert '"peer": "unix"' in door.log.getvalue()


async def test_our_client_works_with_the_door():
    async with opened() as door:
        assert not isinstance(door.place, str)
        host, port = door.place
        await set_status("moshez", "Gr\u00fc\u00dfe", host=host, port=port)
        assert await door.status() == "Gr\u00fc\u00dfe"
        with pytest.raises(SetterError, match="a user name is made of"):
            await set_status("-l", "x", host=host, port=port)


async def test_concurrent_requests_are_all_set():
    async with opened() as door:
        async with trio.open_nursery() as nursery:
            for number in range(50):
                nursery.start_soon(door.say, b"user%d\r\nstatus %d\r\n" % (number, number))
        for number in range(50):
            assert await door.status(f"user{number}") == f"status {number}"


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example([b"moshez", b"\r\n", b"\r\n"])
@given(st.lists(st.binary(max_size=12) | st.sampled_from([b"moshez", b"\r\n", b"\n", b"\r", b"\x00", b"\xff"])))
async def test_every_input_gets_one_answer_line(pieces: list[bytes]):
    async with opened() as door:
        answer = await door.say(b"".join(pieces))
        assert answer == b"OK\r\n" or answer.startswith(b"ERROR ")
        assert answer.endswith(b"\r\n")
        assert answer.count(b"\n") == 1
        changes = door.sets + (await door.status() == "")  # an empty status clears
        assert changes == (answer == b"OK\r\n")
        assert "connection_failed" not in door.log.getvalue()


async def test_a_status_that_was_set_is_complete():
    async with opened() as door:
        await door.say(GOOD)
        info = await door.service.get_user("moshez")
        assert isinstance(info, UserInfo)
        assert info.status == "In the garden"
        assert info.since is not None


class TestProofs:
    """Who may set whose status, by the proof that the socket asks for."""

    async def test_a_token_sets_its_users_status_and_no_other(self):
        accounts = no_accounts()
        secret, token = await accounts.tokens.add("moshez")
        async with opened(proof="token", accounts=accounts) as door:
            assert await door.say(b"AUTH " + secret.encode() + b"\r\n" + GOOD) == b"OK\r\n"
            assert await door.status() == "In the garden"
            refused = await door.say(b"AUTH " + secret.encode() + b"\r\nshawn\r\nHacked\r\n")
            assert refused == b"ERROR moshez may not set the status of shawn\r\n"
            assert await door.status("shawn") is None
            audit = [record for record in door.records() if record["event"] == "set"]
            assert [(line["by"], line["proof"]) for line in audit] == [("moshez", f"token:{token.id}")]
            assert secret not in door.log.getvalue()

    async def test_without_a_token_nothing_is_set(self):
        async with opened(proof="token") as door:
            assert await door.say(GOOD) == b'ERROR a token is needed: send a first line "AUTH " and your token\r\n'
            assert await door.say(b"AUTH \r\n" + GOOD) == b"ERROR this token is not valid\r\n"
            assert await door.say(b"AUTH ft_" + b"a" * 52 + b"\r\n" + GOOD) == b"ERROR this token is not valid\r\n"
            assert door.sets == 0
            assert [record["outcome"] for record in door.records() if record["event"] == "query"] == ["denied"] * 3

    async def test_guesses_are_throttled_in_the_protocols_words(self):
        async with opened(proof="token") as door:
            answers = [await door.say(b"AUTH x\r\n" + GOOD) for _ in range(12)]
            assert answers[:10] == [b"ERROR this token is not valid\r\n"] * 10
            assert answers[10:] == [b"ERROR too many failed attempts from your address, try again later\r\n"] * 2
            assert door.sets == 0

    async def test_a_wrong_token_fails_where_none_is_needed_too(self):
        async with opened(proof="none") as door:
            assert await door.say(b"AUTH x\r\n" + GOOD) == b"ERROR this token is not valid\r\n"
            assert door.sets == 0

    async def test_the_kernel_proves_who_is_at_a_unix_socket(self, tmp_path: Path):
        me = pwd.getpwuid(os.geteuid()).pw_name
        async with opened(Address(path=tmp_path / "setter"), proof="peer") as door:
            assert await door.say(f"{me}\r\nHere\r\n".encode()) == b"OK\r\n"
            assert await door.status(me) == "Here"

    @pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become two other users")
    async def test_two_users_cannot_write_for_each_other_through_the_unix_socket(self):
        """Real processes with real user ids; root writes for both."""
        users = [entry for entry in pwd.getpwall() if entry.pw_uid != 0 and is_user_name(entry.pw_name)][:2]
        with TemporaryDirectory(dir="/tmp") as directory:  # pytest's own directories are closed to other users
            Path(directory).chmod(0o755)
            path = Path(directory) / "setter"
            async with opened(Address(path=path), proof="peer") as door:
                path.chmod(0o666)
                for writer in users:
                    for user in users:
                        request = f"{user.pw_name}\r\nby {writer.pw_name}\r\n"
                        answer = await run_as(writer, path, request)
                        if user == writer:
                            assert answer == "OK\r\n"
                        else:
                            assert answer == f"ERROR {writer.pw_name} may not set the status of {user.pw_name}\r\n"
                for user in users:
                    assert await door.status(user.pw_name) == f"by {user.pw_name}"
                    assert await door.say(f"{user.pw_name}\r\nby root\r\n".encode()) == b"OK\r\n"

    async def test_tokens_that_cannot_be_read_let_no_client_in(self):
        document = MemoryDocument()
        document.failure = TokensError("damaged")
        accounts = no_accounts(document)
        async with opened(proof="token", accounts=accounts) as door:
            assert await door.say(b"AUTH ft_" + b"a" * 52 + b"\r\n" + GOOD) == b"ERROR Internal error in server\r\n"
            assert door.sets == 0
            assert "tokens_unreadable" in [record["event"] for record in door.records()]


async def test_an_end_is_set_with_the_status():
    async with opened() as door:
        assert await door.say(b"moshez\r\nAt lunch\r\nuntil: 40m\r\n") == b"OK\r\n"
        info = await door.service.get_user("moshez")
        assert info is not None
        assert info.until is not None
        assert timedelta(minutes=39) < info.until - datetime.now(UTC) <= timedelta(minutes=40)
        answer = await door.say(b"moshez\r\nAt lunch\r\nuntil: soonish\r\n")
        assert answer.startswith(b'ERROR "soonish" is not a time; expected 40m')


async def test_more_lines_are_one_status():
    async with opened() as door:
        assert await door.say(b"moshez\r\none\r\nmore: two\r\nmore:\r\nmore:   four\r\n") == b"OK\r\n"
        assert await door.status() == "one\ntwo\n\n  four"


async def test_an_empty_status_takes_the_present_one_back():
    async with opened() as door:
        assert await door.say(b"moshez\r\n\r\n") == b"OK\r\n"
        assert await door.status() == ""
        assert await door.say(b"zoe\r\n\r\n") == b"ERROR No such user\r\n"


async def run_as(user: pwd.struct_passwd, path: Path, request: str) -> str:
    """What the setter at `path` answers to a process of `user`."""
    script = (
        "import socket, sys\n"
        "s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])\n"
        "s.sendall(sys.argv[2].encode()); s.shutdown(socket.SHUT_WR)\n"
        "sys.stdout.write(s.makefile('r', newline='').read())"
    )
    done = await trio.run_process(
        ["/usr/bin/python3", "-c", script, str(path), request],
        capture_stdout=True,
        user=user.pw_uid,
        group=user.pw_gid,
        extra_groups=[],
    )
    return done.stdout.decode()
