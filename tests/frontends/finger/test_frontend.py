"""The finger door over real sockets: every query by both lanes, the policies, and common finger clients."""

import io
import itertools
import json
import os
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from ipaddress import ip_network

import pytest
import trio
import trio.testing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fingertrio.backend import Backend, BackendError, UserInfo
from fingertrio.backends.memory import MemoryBackend
from fingertrio.frontends.finger.answers import FingerAnswers, FingerPolicy
from fingertrio.frontends.finger.forwarding import Forwarder
from fingertrio.frontends.finger.frontend import FingerFrontend
from fingertrio.net.address import Address
from fingertrio.net.limits import ConnectionCaps
from fingertrio.net.listen import bind, close_all, tune
from fingertrio.net.proxies import TrustedProxies
from fingertrio.net.targets import parse_target
from fingertrio.observe.observer import Observer
from fingertrio.service import FingerService, ServicePolicy
from fingertrio.testing import FakeBackend
from fingertrio.wire import PROXY_REFUSAL
from tests.helpers import Ageing

MOSHEZ = UserInfo(
    "moshez",
    "Happy and well",
    name="Moshe Zadka",
    since=datetime(2026, 11, 22, 18, 30, tzinfo=UTC),
    details={"project": "Finger", "pubkey": "ssh-ed25519 AAAA"},
)
USERS = {
    "moshez": MOSHEZ,
    "ada": UserInfo("ada", "Weaving\nalgebraical\npatterns", name="Ada Lovelace"),
    "evil": UserInfo("evil", "\x1b]0;owned\x07red\x9b31m \u202etxt.exe\r\nsecond\rthird", name="E\x1b[2Jvil"),
    "søren": UserInfo("søren", "Læser"),
    "big": UserInfo("big", "\n".join(f"line {number} " + "x" * 60 for number in range(200))),
}


class RecordingBackend:
    """A backend that records the names it is asked for, and fails for "broken"."""

    def __init__(self) -> None:
        self.users = dict(USERS)
        self.asked: list[str] = []

    async def get_user(self, user: str) -> UserInfo | None:
        self.asked.append(user)
        await trio.lowlevel.checkpoint()
        if user == "broken":
            raise BackendError from RuntimeError("secret")
        return self.users.get(user)

    async def get_users(self) -> list[str]:
        return list(self.users)


@asynccontextmanager
async def open_door(
    policy: FingerPolicy | None = None,
    *,
    backend: Backend | None = None,
    address: Address | None = None,
    read_deadline: float = 10.0,
    cache_ttl: float = 1000.0,
    observer: Observer | None = None,
    proxies: TrustedProxies | None = None,
) -> AsyncIterator[tuple[str, int]]:
    sockets = bind(address or Address("127.0.0.1", 0))
    tune(sockets[0], defer_accept=True)
    try:
        observer = observer or Observer()
        async with FingerService.open(
            backend or RecordingBackend(), ServicePolicy(cache_ttl=cache_ttl), observer
        ) as service:
            door = FingerFrontend(
                service=service,
                observer=observer,
                listeners=sockets,
                caps=ConnectionCaps(total=100, per_address=100),
                policy=policy,
                read_deadline=read_deadline,
                proxies=proxies,
            )
            async with trio.open_nursery() as nursery:
                stopping = trio.Event()
                await nursery.start(door.serve, stopping)
                yield sockets[0].getsockname()[:2]
                nursery.cancel_scope.cancel()
    finally:
        close_all(sockets)


async def ask(place: tuple[str, int], *parts: bytes, half_close: bool = False) -> bytes:
    """Send each part in its own segment, and read to the end."""
    with trio.fail_after(5):
        async with await trio.open_tcp_stream(*place) as stream:
            for part in parts:
                await stream.send_all(part)
                await trio.testing.wait_all_tasks_blocked(0.002)
            if half_close:
                await stream.send_eof()
            answer = bytearray()
            async for chunk in stream:
                answer += chunk
            return bytes(answer)


async def both_lanes(place: tuple[str, int], line: bytes) -> bytes:
    """The answer to `line`, which must be the same by the express lane and by the handler task."""
    cold = await ask(place, line)
    express = await ask(place, line)
    by_task = await ask(place, line[:1], line[1:])
    assert express == cold
    assert by_task == cold
    return cold


QUERIES = {
    b"moshez\r\n": b"Happy and well\r\n",
    b"moshez\n": b"Happy and well\r\n",
    b" moshez  \r\n": b"Happy and well\r\n",
    b"ada\r\n": b"Weaving\r\nalgebraical\r\npatterns\r\n",
    b"nobody\r\n": b"No such user\r\n",
    b"broken\r\n": b"Internal error in server\r\n",
    "søren\r\n".encode(): "Læser\r\n".encode(),
    b"evil\r\n": b"red txt.exe\r\nsecond\r\nthird\r\n",
    b"moshez@example.org\r\n": b"Finger forwarding service denied\r\n",
    b"@example.org\r\n": b"Finger forwarding service denied\r\n",
    b"/W a@b@c\r\n": b"Finger forwarding service denied\r\n",
    b"-l\r\n": b"No such user\r\n",
    b"../x\r\n": b"No such user\r\n",
    b"|id\r\n": b"No such user\r\n",
    b"0\r\n": b"No such user\r\n",
    b"moshez ada\r\n": b"One name at a time, please\r\n",
    b"/x moshez\r\n": b"Unknown switch: there is only /W, and a space after it\r\n",
    b"\x00\r\n": b"Query holds a character that cannot be printed\r\n",
    b"\x1b[2J\r\n": b"Query holds a character that cannot be printed\r\n",
    b"\xff\xf4\xff\xfd\x06\r\n": b"Query is not UTF-8 text\r\n",
    b"\xc3\x28\r\n": b"Query is not UTF-8 text\r\n",
    b"x" * 512 + b"\r\n": b"No such user\r\n",
    b"x" * 513 + b"\r\n": b"Query too long\r\n",
    b"@" * 4000 + b"\r\n": b"Query too long\r\n",
    b"\r\n\r\n\x00\r\nQUIT\n!\x11\x00\x0cxxxxxxxxxxxx\r\n": PROXY_REFUSAL.encode() + b"\r\n",
}


@pytest.mark.parametrize("line", QUERIES)
async def test_every_query_is_answered_the_same_in_both_lanes(line):
    async with open_door() as place:
        assert await both_lanes(place, line) == QUERIES[line]


V2 = b"\r\n\r\n\x00\r\nQUIT\n!\x11\x00\x0c" + bytes([192, 0, 2, 7, 192, 0, 2, 2, 4, 210, 0, 79])


@pytest.mark.parametrize("line", QUERIES)
async def test_every_query_behind_a_proxy_header_is_answered_the_same_in_both_lanes(line):
    log = io.StringIO()
    proxies = TrustedProxies([ip_network("127.0.0.1/32")])
    async with open_door(observer=Observer(log, human=False), proxies=proxies) as place:
        assert await ask(place, V2 + line) == await ask(place, V2 + line) == QUERIES[line]
        assert await ask(place, V2, line) == await ask(place, V2 + line[:1], line[1:]) == QUERIES[line]
    queries = [record for record in map(json.loads, log.getvalue().splitlines()) if record["event"] == "query"]
    assert [record["peer"] for record in queries] == ["192.0.2.7"] * 4


@pytest.mark.parametrize("size", range(3, len(V2)))
async def test_without_the_protocol_a_header_in_two_segments_is_refused_and_not_answered_with_the_list(size):
    async with open_door() as place:
        assert await ask(place, V2[:size], V2[size:] + b"moshez\r\n") == PROXY_REFUSAL.encode() + b"\r\n"


async def test_two_empty_lines_are_the_empty_query_after_a_moment():
    async with open_door() as place:
        assert (
            await ask(place, b"\r\n\r\n")
            == await ask(place, b"\r\n\r\n\0", half_close=True)
            == await ask(place, b"\r\n")
        )


@pytest.mark.parametrize("line", [b"/W moshez\r\n", b"/w moshez\r\n", b"moshez /W\r\n"])
async def test_slash_w_says_more_in_both_lanes(line):
    async with open_door() as place:
        answer = await both_lanes(place, line)
    for part in (b"Moshe Zadka", b"22 Nov 2026 18:30", b"Finger", b"ssh-ed25519 AAAA", b"Happy and well"):
        assert part in answer


async def test_the_list_shows_login_name_and_first_line_in_both_lanes():
    async with open_door() as place:
        answer = (await both_lanes(place, b"\r\n")).decode()
        assert await both_lanes(place, b"/W\r\n") == answer.encode()
    rows = answer.split("\r\n")
    assert rows[0].split() == ["Login", "Name", "Status"]
    assert [row.split()[0] for row in rows[1:-1]] == list(USERS)
    assert "Ada Lovelace" in answer
    assert "algebraical" not in answer


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.binary(max_size=80), st.text(alphabet="/Ww @.-moshezadå\t", max_size=30).map(str.encode)))
def test_whatever_is_sent_both_lanes_answer_the_same_bytes(data):
    line = data.replace(b"\n", b"") + b"\r\n"

    async def compare() -> None:
        async with FingerService.open(RecordingBackend(), ServicePolicy(cache_ttl=1000.0), Observer()) as service:
            answers = FingerAnswers(service, FingerPolicy(full=True))
            by_task = await answers.fetch(line[:-2])
            at_once = answers.at_once(line, trio.current_time())
            again = answers.at_once(line, trio.current_time())
            assert at_once is not None
            assert again is not None
            assert by_task.payload == at_once.payload == again.payload
            assert (by_task.outcome, by_task.asked) == (at_once.outcome, at_once.asked)
            assert by_task.payload.endswith(b"\r\n")
            assert by_task.payload.replace(b"\r\n", b"").isascii() or by_task.payload.decode()

    trio.run(compare)


async def test_an_answer_in_memory_is_given_without_asking_the_backend_again():
    backend = RecordingBackend()
    async with open_door(backend=backend) as place:
        for line in (b"moshez\r\n", b"moshez\r\n", b"/W moshez\r\n", b"nobody\r\n", b"nobody\n"):
            await ask(place, line)
    assert backend.asked == ["moshez", "nobody"]


async def test_an_expired_answer_is_fetched_from_the_backend_again():
    backend = RecordingBackend()
    async with open_door(backend=backend, cache_ttl=0.0) as place:
        assert await ask(place, b"moshez\r\n") == b"Happy and well\r\n"
        backend.users["moshez"] = replace(MOSHEZ, status="Asleep")
        assert await ask(place, b"moshez\r\n") == b"Asleep\r\n"
        assert b"Asleep" in await ask(place, b"\r\n")
        del backend.users["moshez"]
        assert await ask(place, b"moshez\r\n") == b"No such user\r\n"
        assert b"moshez" not in await ask(place, b"\r\n")


async def test_a_full_answer_has_the_name_the_times_and_the_plan():
    async with open_door(FingerPolicy(full=True)) as place:
        answer = (await both_lanes(place, b"moshez\r\n")).decode()
    assert answer.startswith("Login: moshez ")
    assert "Name: Moshe Zadka" in answer
    assert "Plan:\r\nHappy and well\r\n" in answer


async def test_the_administrator_chooses_the_facts_one_by_one():
    async with open_door(FingerPolicy(full=True, facts=frozenset({"plan"}))) as place:
        for line in (b"moshez\r\n", b"/W moshez\r\n"):
            answer = await both_lanes(place, line)
            assert b"Happy and well" in answer
            assert b"Moshe Zadka" in answer  # the minimum of section 3.2.3
            assert b"2026" not in answer
            assert b"Finger" not in answer
            assert b"ssh-ed25519" not in answer


async def test_the_user_list_can_be_denied():
    async with open_door(FingerPolicy(user_list=False)) as place:
        assert await both_lanes(place, b"\r\n") == b"Finger online user list denied\r\n"
        assert await both_lanes(place, b"/W\r\n") == b"Finger online user list denied\r\n"


async def test_partial_names_match_only_if_the_administrator_allows_it():
    async with open_door() as place:
        assert await both_lanes(place, b"mosh\r\n") == b"No such user\r\n"
    async with open_door(FingerPolicy(ambiguous=True)) as place:
        assert b"Name: Moshe Zadka" in await both_lanes(place, b"mosh\r\n")
        assert b"Login: ada" in await both_lanes(place, b"LOVE\r\n")
        assert await both_lanes(place, b"moshez\r\n") == b"Happy and well\r\n"
        assert await both_lanes(place, b"zzz\r\n") == b"No such user\r\n"


async def test_partial_names_match_in_every_normal_form():
    backend = RecordingBackend()
    backend.users["zoe"] = UserInfo("zoe", "Away", name="Zoe\u0301 \u00c9tienne")
    async with open_door(FingerPolicy(ambiguous=True), backend=backend) as place:
        for query in ("zo\u00e9", "zoe\u0301", "\u00e9t", "e\u0301t"):
            assert b"Login: zoe" in await both_lanes(place, f"{query}\r\n".encode())


async def test_every_query_is_logged_escaped_in_both_lanes():
    log = io.StringIO()
    observer = Observer(log, human=False)
    async with open_door(observer=observer) as place:
        for line in (
            b"moshez\r\n",
            "søren\r\n".encode(),
            b"\x1b[2J\r\n",
            b"a\x07b\r\n",
            b"\xff\r\n",
            b"x" * 600 + b"\r\n",
        ):
            await both_lanes(place, line)
    queries = [json.loads(line) for line in log.getvalue().splitlines()]
    assert len(queries) == 18  # three ways each
    assert [query["asked"] for query in queries[::3]] == [query["asked"] for query in queries[2::3]]
    assert {(query["door"], query["peer"]) for query in queries} == {("finger", "127.0.0.1")}
    assert [query["asked"] for query in queries[::3]] == [
        "moshez",
        "s\\xf8ren",
        "\\x1b[2J",
        "a\\x07b",
        "\\xff",
        "x" * 200 + "...",
    ]
    assert [query["outcome"] for query in queries[::3]] == ["ok", "ok", "bad", "bad", "bad", "bad"]
    assert log.getvalue().isascii()


# Forwarding: two of our own doors, one forwards to the other.


async def test_a_query_is_forwarded_to_a_listed_host_and_the_answer_relayed():
    async with open_door() as upstream:
        target = parse_target(f"{upstream[0]}:{upstream[1]}")
        async with open_door(FingerPolicy(forward=Forwarder([target]))) as place:
            assert await both_lanes(place, b"moshez@127.0.0.1\r\n") == b"Happy and well\r\n"
            assert b"Moshe Zadka" in await both_lanes(place, b"/W moshez@127.0.0.1\r\n")
            assert (await both_lanes(place, b"@127.0.0.1\r\n")).startswith(b"Login")
            assert await both_lanes(place, b"evil@127.0.0.1\r\n") == QUERIES[b"evil\r\n"]
            assert await both_lanes(place, b"big@127.0.0.1\r\n") == await ask(upstream, b"big\r\n")


@pytest.mark.parametrize(
    "line", [b"moshez@127.0.0.2\r\n", b"moshez@localhost\r\n", b"moshez@example.org\r\n", b"@[::1]\r\n"]
)
async def test_a_host_that_is_not_listed_is_never_asked(line):
    async with open_door(FingerPolicy(forward=Forwarder([parse_target("127.0.0.1:9")]))) as place:
        assert await both_lanes(place, line) == b"Finger forwarding service denied\r\n"


async def test_a_query_that_names_a_second_host_is_refused():
    async with open_door(FingerPolicy(forward=Forwarder([parse_target("127.0.0.1:9")]))) as place:
        answer = await both_lanes(place, b"moshez@127.0.0.1@127.0.0.1\r\n")
    assert answer == b"Finger forwarding service denied: one host at a time\r\n"


async def test_a_listed_name_that_leads_to_this_machine_is_refused_unless_the_address_is_listed():
    async with open_door() as upstream:
        by_name = parse_target(f"localhost:{upstream[1]}")
        async with open_door(FingerPolicy(forward=Forwarder([by_name]))) as place:
            assert b"connecting to this address is not allowed" in await both_lanes(place, b"moshez@localhost\r\n")
        allowed = [by_name, parse_target("127.0.0.0/8"), parse_target("::1")]
        async with open_door(FingerPolicy(forward=Forwarder(allowed))) as place:
            assert await both_lanes(place, b"moshez@LOCALHOST.\r\n") == b"Happy and well\r\n"


async def test_a_silent_upstream_times_out_and_an_endless_answer_is_truncated():
    async def silent(stream: trio.SocketStream) -> None:
        await trio.sleep_forever()

    async def endless(stream: trio.SocketStream) -> None:
        try:
            while True:
                await stream.send_all(b"x" * 1000 + b"\r\n")
        except trio.BrokenResourceError:
            pass

    for behaviour, expected in ((silent, b"no answer within 0.2 seconds"), (endless, b"longer than 65536 bytes")):
        async with trio.open_nursery() as nursery:
            (listener,) = await nursery.start(partial(trio.serve_tcp, behaviour, 0, host="127.0.0.1"))
            port = listener.socket.getsockname()[1]
            forward = Forwarder([parse_target(f"127.0.0.1:{port}")], deadline=0.2)
            if behaviour is endless:
                forward = Forwarder([parse_target(f"127.0.0.1:{port}")])
            async with open_door(FingerPolicy(forward=forward)) as place:
                answer = await ask(place, b"x@127.0.0.1\r\n")
            assert expected in answer
            assert len(answer) < 70_000
            nursery.cancel_scope.cancel()


# Slow, broken and hostile clients.


async def test_the_end_of_input_ends_the_query_and_an_empty_connection_gets_no_answer():
    async with open_door() as place:
        assert await ask(place, b"moshez", half_close=True) == b"Happy and well\r\n"
        assert await ask(place, b"moshez\r", half_close=True) == b"Happy and well\r\n"
        assert await ask(place, half_close=True) == b""


async def test_a_query_byte_by_byte_is_answered():
    async with open_door() as place:
        assert await ask(place, *(bytes([byte]) for byte in b"/W ada\r\n")) == await ask(place, b"/W ada\r\n")


async def test_a_query_that_arrives_too_slowly_is_refused_at_its_deadline():
    async with open_door(read_deadline=0.1) as place:
        assert await ask(place, b"mos") == b"The query took too long\r\n"


async def test_a_query_over_its_limit_is_counted_in_both_lanes_as_refused():
    observer = Observer()
    async with open_door(observer=observer) as place:
        assert await ask(place, b"x" * 513 + b"\r\n") == b"Query too long\r\n"
        assert await ask(place, b"x" * 256, b"x" * 257 + b"\r\n") == b"Query too long\r\n"
        assert await ask(place, b"moshez@\r\n") != b""
    assert observer.metrics.refusals == {("finger", "line"): 2}
    assert observer.metrics.queries["finger", "bad"] >= 2


@pytest.mark.parametrize("user", [b"moshez", b"big", b"nobody"])
async def test_junk_after_the_query_never_destroys_the_answer(user):
    """With 64 KiB after the CRLF, in the same segment or later, the whole answer always arrives."""
    junk = b"j" * 65536

    async def ask_with_junk(place: tuple[str, int], *, split: bool) -> bytes:
        with trio.fail_after(10):
            stream = await trio.open_tcp_stream(*place)
            async with stream:
                try:
                    if split:
                        await stream.send_all(user + b"\r\n")
                        await stream.send_all(junk)
                    else:
                        await stream.send_all(user + b"\r\n" + junk)
                except trio.BrokenResourceError:
                    pytest.fail("the connection was reset while we were sending")
                answer = bytearray()
                async for chunk in stream:
                    answer += chunk
                return bytes(answer)

    async with open_door() as place:
        expected = await ask(place, user + b"\r\n")
        for _ in range(170):  # three users, two ways: more than a thousand in all
            assert await ask_with_junk(place, split=False) == expected
            assert await ask_with_junk(place, split=True) == expected


async def test_an_answer_that_fills_the_send_buffer_arrives_whole():
    backend = RecordingBackend()
    backend.users["huge"] = UserInfo("huge", "y" * 4_000_000)
    async with open_door(backend=backend) as place:
        for _ in range(2):  # by task, then express
            assert len(await ask(place, b"huge\r\n")) == 4_000_002


# Common clients. finger and lynx support port 79 only, so each test uses its own loopback address.


def needs(program: str, package: str) -> str:
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"needs {program} (Debian package {package})")
    return path


_numbers = itertools.count()


@pytest.fixture
def port_79() -> Address:
    number = os.getpid() * 7 + next(_numbers)
    address = Address(f"127.79.{number % 250 + 1}.{number // 250 % 250 + 1}", 79)
    try:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((address.host, address.port))
    except PermissionError:
        pytest.skip("needs the right to listen on port 79 (root)")
    return address


async def run(*argv: str) -> str:
    with trio.fail_after(20):
        done = await trio.run_process(argv, capture_stdout=True, stderr=subprocess.STDOUT, check=False)
    return done.stdout.decode().replace("\r\n", "\n")


async def test_debians_finger(port_79):
    program = needs("finger", "finger")
    async with open_door(address=port_79) as (host, _):
        assert "Happy and well" in await run(program, f"moshez@{host}")
        verbose = await run(program, "-l", f"moshez@{host}")  # three writes: "/W ", the name, CRLF
        assert "Moshe Zadka" in verbose
        assert "ssh-ed25519" in verbose
        assert "No such user" in await run(program, f"nobody@{host}")
        assert "Ada Lovelace" in await run(program, f"@{host}")
        assert "Finger forwarding service denied" in await run(program, f"a@b@{host}")


async def test_lynx(port_79):
    program = needs("lynx", "lynx")
    async with open_door(address=port_79) as (host, _):
        assert "Happy and well" in await run(program, "-dump", f"finger://{host}/moshez")
        assert "Moshe Zadka" in await run(program, "-dump", f"finger://{host}/w/moshez")


async def test_elinks(port_79):
    program = needs("elinks", "elinks")
    async with open_door(address=port_79) as (host, _):
        assert "Happy and well" in await run(program, "-dump", f"finger://moshez@{host}/")


async def test_curl_speaks_gopher_to_any_port():
    program = needs("curl", "curl")
    async with open_door() as (host, port):
        assert await run(program, "-s", f"gopher://{host}:{port}/0moshez") == "Happy and well\n"


async def test_stale_answers_say_so_except_a_bare_status():
    backend = Ageing({"moshez": "Happy and well"})
    backend.age = datetime(2026, 1, 1, 12, tzinfo=UTC)
    note = b"As of Thu 1 Jan 2026 12:00 UTC: the source is unavailable\r\n"
    async with FingerService.open(backend) as service:
        for policy in (FingerPolicy(), FingerPolicy(full=True)):
            answers = FingerAnswers(service, policy)
            for line in (b"\r\n", b"/W moshez\r\n"):
                assert (await answers.fetch(line)).payload.endswith(note)
                at_once = answers.at_once(line, trio.current_time())
                assert at_once is not None
                assert at_once.payload.endswith(note)
        assert (await FingerAnswers(service, FingerPolicy()).fetch(b"moshez\r\n")).payload == b"Happy and well\r\n"
        assert (await FingerAnswers(service, FingerPolicy(ambiguous=True)).fetch(b"mosh\r\n")).payload.endswith(note)


async def ask_for_the_list(answers: FingerAnswers, payloads: list[bytes]) -> None:
    payloads.append((await answers.fetch(b"\r\n")).payload)


async def test_concurrent_queries_for_the_list_collect_it_once():
    backend = FakeBackend({f"user{number}": "x" for number in range(50)})
    async with FingerService.open(backend) as service:
        answers = FingerAnswers(service, FingerPolicy())
        payloads: list[bytes] = []
        backend.hold()
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(ask_for_the_list, answers, payloads)
            await trio.testing.wait_all_tasks_blocked()
            backend.release()
        assert len(set(payloads)) == 1
        assert backend.calls == {"get_users": 1, "get_user": 50}
        asked = service._observer.metrics.cache_hits
        await answers.fetch(b"\r\n")
        assert service._observer.metrics.cache_hits - asked < 60
        await backend.set_user("user7", "changed")
        await trio.testing.wait_all_tasks_blocked()
        assert b"changed" in (await answers.fetch(b"\r\n")).payload


async def test_a_failed_list_fails_for_all_waiting_clients_and_a_cancelled_client_for_none():
    backend = FakeBackend({"moshez": "x"})
    async with FingerService.open(backend) as service:
        answers = FingerAnswers(service, FingerPolicy())
        payloads: list[bytes] = []
        backend.hold()
        async with trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(ask_for_the_list, answers, payloads)
                await trio.testing.wait_all_tasks_blocked()
            backend.failure = BackendError("Gone fishing")
            backend.release()
        assert payloads == [b"Gone fishing\r\n"] * 2
        assert backend.calls["get_users"] == 1
        backend.failure = None
        payloads.clear()
        backend.hold()
        async with trio.open_nursery() as nursery:
            first = trio.CancelScope()

            async def collect_first() -> None:
                with first:
                    await ask_for_the_list(answers, payloads)

            nursery.start_soon(collect_first)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(ask_for_the_list, answers, payloads)
            await trio.testing.wait_all_tasks_blocked()
            first.cancel()
            await trio.testing.wait_all_tasks_blocked()
            backend.release()
        assert len(payloads) == 1
        assert b"moshez" in payloads[0]


async def test_a_name_that_nobody_asked_for_yet_is_answered_by_the_lane(monkeypatch: pytest.MonkeyPatch):
    """A backend that has it in memory is asked within the accept loop."""

    async def no_task(*_: object) -> None:
        raise AssertionError("a task was started")

    monkeypatch.setattr(FingerFrontend, "_handle", no_task)
    backend = MemoryBackend({f"user{number}": f"Status {number}" for number in range(3)})
    async with open_door(backend=backend) as address:
        for number in range(3):
            assert await ask(address, f"user{number}\r\n".encode()) == f"Status {number}\r\n".encode()
