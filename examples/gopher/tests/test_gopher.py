"""The Gopher example, found by its entry point like any front end, and queried by curl."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

import gopher
from fingertrio.accounts.accounts import Accounts
from fingertrio.accounts.file import TokenFile
from fingertrio.accounts.store import TokenStore
from fingertrio.backend import BackendError
from fingertrio.frontend import Door
from fingertrio.net.address import Address
from fingertrio.net.limits import ConnectionCaps, RateLimiter
from fingertrio.net.listen import bind, close_all
from fingertrio.observe.observer import Observer
from fingertrio.service import FingerService
from fingertrio.testing import FakeBackend
from fingertrio.testing.program import running
from gopher import GopherSection, open_gopher

PATIENT = 0.01  # seconds without activity until the clock jumps: the sockets are real

CONFIG = """
[backend]
use = "memory"
[backend.users]
moshez = "Happy and well"
poet = '''
roses

.
..and so on'''
[gopher]
listen = ["127.0.0.1:0"]
host = "gopher.example.net"
"""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Where the whole program, with a [gopher] section, has that door."""
    with running(CONFIG) as program:
        yield program.addresses["gopher"]


def curl(url: str) -> bytes:
    if shutil.which("curl") is None:
        pytest.skip("needs curl (Debian package curl)")
    return subprocess.run(["curl", "--silent", "--max-time", "5", url], stdout=subprocess.PIPE, check=False).stdout


def test_the_menu_has_everybody(address: str) -> None:
    assert curl(f"gopher://{address}/") == (
        b"0moshez\tmoshez\tgopher.example.net\t70\r\n0poet\tpoet\tgopher.example.net\t70\r\n.\r\n"
    )


def test_a_status_is_a_text(address: str) -> None:
    assert curl(f"gopher://{address}/0moshez") == b"Happy and well\r\n.\r\n"


def test_a_dot_does_not_end_the_text(address: str) -> None:
    assert curl(f"gopher://{address}/0poet") == b"roses\r\n\r\n..\r\n...and so on\r\n.\r\n"


def test_who_is_not_there_is_an_error(address: str) -> None:
    assert curl(f"gopher://{address}/0nobody") == b"3No such user\t\terror.host\t1\r\n.\r\n"


@pytest.fixture
def patient_clock() -> MockClock:
    return MockClock(autojump_threshold=PATIENT)


Talk = Callable[[bytes, FakeBackend], Awaitable[tuple[bytes, Observer]]]


@pytest.fixture
def talk(tmp_path: Path) -> Talk:
    """A function that returns what the front end alone answers, and what it reported."""
    accounts = Accounts(TokenStore(TokenFile(tmp_path / "tokens")), RateLimiter(rate=1, burst=10))

    async def talk(data: bytes, backend: FakeBackend) -> tuple[bytes, Observer]:
        observer = Observer()
        sockets = bind(Address("127.0.0.1", 0))
        try:
            async with FingerService.open(backend, observer=observer) as service, trio.open_nursery() as nursery:
                door = Door(
                    name="gopher",
                    service=service,
                    accounts=accounts,
                    observer=observer,
                    listeners=sockets,
                    caps=ConnectionCaps(total=10, per_address=10),
                    queries=RateLimiter(rate=10, burst=10),
                    writes=RateLimiter(rate=10, burst=10),
                )
                stopping = trio.Event()
                await nursery.start(open_gopher(GopherSection(listen=()), door).serve, stopping)
                async with await trio.open_tcp_stream(*sockets[0].getsockname()) as stream:
                    if data:
                        await stream.send_all(data)
                    answer = b"".join([chunk async for chunk in stream])
                stopping.set()
        finally:
            close_all(sockets)
        return answer, observer

    return talk


async def test_a_line_that_is_too_long_is_an_error(talk: Talk) -> None:
    answer, observer = await talk(b"x" * 300, FakeBackend({}))
    assert answer == b"3line too long\t\terror.host\t1\r\n.\r\n"
    assert observer.metrics.queries == {("gopher", "error"): 1}


async def test_a_failing_backend_is_reported_in_its_words(talk: Talk) -> None:
    backend = FakeBackend({})
    backend.failure = BackendError("Gone\tfishing")
    answer, _ = await talk(b"moshez\r\n", backend)
    assert answer == b"3Gone fishing\t\terror.host\t1\r\n.\r\n"


async def test_a_client_that_sends_nothing_is_too_slow(patient_clock: MockClock, talk: Talk) -> None:
    answer, _ = await talk(b"", FakeBackend({}))
    assert answer == b"3Too slow\t\terror.host\t1\r\n.\r\n"


def test_it_is_a_small_one() -> None:
    assert len(Path(gopher.__file__).read_text().splitlines()) < 60
