"""Connections over the real loopback, with a fake resolver."""

from __future__ import annotations

import gc
import socket
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from ipaddress import ip_address

import pytest
import trio

from fingertrio.clients.dial import (
    HEAD_START,
    MOST_ATTEMPTS,
    Address,
    AddressRefusedError,
    HostNotFoundError,
    SocketAddress,
    UnreachableError,
    connect,
    is_public,
    resolve,
)


class Names:
    """A resolver that returns the same addresses for every name, and records the names."""

    def __init__(self, *addresses: SocketAddress) -> None:
        self.addresses = addresses
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[SocketAddress]:
        self.asked.append(host)
        return self.addresses


@asynccontextmanager
async def listening(host: str = "127.0.0.1") -> AsyncIterator[SocketAddress]:
    """A listener that the kernel accepts connections for, and that never answers."""
    (listener,) = await trio.open_tcp_listeners(0, host=host)
    async with listener:
        yield listener.socket.getsockname()


@asynccontextmanager
async def silent() -> AsyncIterator[SocketAddress]:
    """An address that never answers, as behind a firewall: a listener whose queue is full."""
    with socket.socket() as listener, socket.socket() as first, socket.socket() as second:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for sock in (first, second):
            sock.setblocking(False)
            sock.connect_ex(listener.getsockname())
        yield listener.getsockname()


def refusing() -> SocketAddress:
    """An address without a listener."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        host, port = sock.getsockname()
        return host, port


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_connects_to_an_address_as_text(host: str) -> None:
    async with listening(host) as address, await connect(host, address[1]) as stream:
        assert stream.socket.getpeername() == address


async def test_connects_to_a_name_of_the_system() -> None:
    async with listening() as address, await connect("localhost", address[1], resolve=resolve) as stream:
        assert stream.socket.getpeername() == address


async def test_connects_to_exactly_what_was_checked() -> None:
    """The name is resolved once, so that a second answer (DNS rebinding) is never asked for."""
    checked: list[Address] = []

    def note(address: Address) -> bool:
        checked.append(address)
        return True

    async with listening() as address:
        names = Names(address)
        async with await connect("rebind.example", 79, allow=note, resolve=names) as stream:
            assert stream.socket.getpeername() == address
    assert names.asked == ["rebind.example"]
    assert checked == [ip_address("127.0.0.1")]


async def test_refused_addresses_are_not_connected_to() -> None:
    async with listening() as inside, listening("::1") as outside:
        names = Names(inside, outside)
        async with await connect("both.example", 79, allow=lambda ip: ip.version == 6, resolve=names) as stream:
            assert stream.socket.getpeername() == outside
        with pytest.raises(AddressRefusedError, match=r"both\.example"):
            await connect("both.example", 79, allow=lambda ip: False, resolve=names)
        with pytest.raises(AddressRefusedError):
            await connect("both.example", 79, allow=is_public, resolve=names)


@pytest.mark.parametrize("host", ["127.1", "2130706433", "0x7f.1", "0", "::ffff:127.0.0.1", "0:0:0:0:0:0:0:1"])
async def test_loopback_in_disguise_is_refused(host: str) -> None:
    with pytest.raises(AddressRefusedError):
        await connect(host, 79, allow=is_public)


@pytest.mark.parametrize("host", ["", "a..b", ".", "x" * 80, "\u2603" * 80])
async def test_what_is_no_host_name_is_not_found(host: str) -> None:
    with pytest.raises(HostNotFoundError):
        await resolve(host, 79)


async def test_name_without_addresses_is_not_found() -> None:
    with pytest.raises(HostNotFoundError):
        await connect("none.example", 79, resolve=Names())


async def test_stuck_lookups_starve_only_each_other(
    monkeypatch: pytest.MonkeyPatch, patient_clock: trio.testing.MockClock
) -> None:
    """If no name server answers, the waiting threads are not those that the rest of the program shares."""
    gate = threading.Event()

    def stuck(host: str, port: int, *, flags: int, **_hints: int) -> list[object]:
        if flags & socket.AI_NUMERICHOST:
            raise socket.gaierror(socket.EAI_NONAME, "not numeric")
        gate.wait(10)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", stuck)
    try:
        with trio.move_on_after(5) as scope:
            async with trio.open_nursery() as nursery:
                for number in range(50):
                    nursery.start_soon(resolve, f"host{number}.example", 79)
        assert scope.cancelled_caught
        assert trio.current_time() == pytest.approx(5)
        assert trio.to_thread.current_default_thread_limiter().borrowed_tokens == 0
    finally:
        gate.set()


@pytest.mark.parametrize("port", [-1, 0, 65536, 65536 + 79])
async def test_port_is_not_taken_modulo_65536(port: int) -> None:
    with pytest.raises(ValueError, match="not a port"):
        await resolve("127.0.0.1", port)


async def test_nobody_listening_is_unreachable() -> None:
    names = Names(refusing(), refusing())
    with pytest.raises(UnreachableError, match="Connection refused") as caught:
        await connect("down.example", 79, resolve=names)
    assert isinstance(caught.value.__cause__, ExceptionGroup)
    assert len(caught.value.__cause__.exceptions) == 2


async def test_next_address_is_tried_at_once_when_one_refuses(patient_clock: trio.testing.MockClock) -> None:
    async with listening() as address:
        async with await connect("half.example", 79, resolve=Names(refusing(), address)) as stream:
            assert stream.socket.getpeername() == address
        assert trio.current_time() == 0


async def test_next_address_is_tried_beside_one_that_is_silent(patient_clock: trio.testing.MockClock) -> None:
    async with silent() as hole, listening() as address:
        async with await connect("slow.example", 79, resolve=Names(hole, address)) as stream:
            assert stream.socket.getpeername() == address
        assert trio.current_time() == pytest.approx(HEAD_START)


async def test_families_take_turns(patient_clock: trio.testing.MockClock) -> None:
    """If one family does not answer, the first address of the other waits for one head start only."""
    async with silent() as hole, silent() as hole2, listening("::1") as address:
        async with await connect("v4down.example", 79, resolve=Names(hole, hole2, address)) as stream:
            assert stream.socket.getpeername() == address
        assert trio.current_time() == pytest.approx(HEAD_START)


async def test_number_of_attempts_is_bounded() -> None:
    async with listening() as address:
        with pytest.raises(UnreachableError) as caught:
            await connect("many.example", 79, resolve=Names(*(refusing() for _ in range(MOST_ATTEMPTS)), address))
    assert isinstance(caught.value.__cause__, ExceptionGroup)
    assert len(caught.value.__cause__.exceptions) == MOST_ATTEMPTS


async def test_cancelled_connecting_leaves_no_socket(patient_clock: trio.testing.MockClock) -> None:
    """An open socket would be reported as a ResourceWarning, which is an error here."""
    async with silent() as hole:
        with trio.move_on_after(5) as scope:
            await connect("slow.example", 79, resolve=Names(hole))
    assert scope.cancelled_caught


async def test_cancelled_at_the_moment_of_success_leaves_no_socket() -> None:
    class CancelTheWinner(trio.abc.Instrument):
        def task_exited(self, task: trio.lowlevel.Task) -> None:
            if task.name.endswith("attempt"):
                scope.cancel()

    async with listening() as address:
        with trio.CancelScope() as scope:
            trio.lowlevel.add_instrument(instrument := CancelTheWinner())
            try:
                await connect("up.example", 79, resolve=Names(address))
            finally:
                trio.lowlevel.remove_instrument(instrument)
        assert scope.cancelled_caught
    gc.collect()  # an open socket causes a warning now


PUBLIC = ["8.8.8.8", "1.1.1.1", "192.0.1.1", "100.63.0.1", "100.128.0.1", "172.32.0.1", "223.255.255.255"]
PUBLIC += ["2606:4700::1111", "2a00:1450::1", "64:ff9b::8.8.8.8", "::ffff:8.8.8.8", "2001:4860:4860::8888"]
NOT_PUBLIC = ["0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.255.255.255"]
NOT_PUBLIC += ["168.63.129.16", "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.192", "192.0.2.1"]
NOT_PUBLIC += ["192.88.99.1", "192.168.1.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.1.1.1"]
NOT_PUBLIC += ["240.0.0.1", "255.255.255.255", "::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:169.254.169.254"]
NOT_PUBLIC += ["64:ff9b::10.0.0.1", "64:ff9b:1::1", "100::1", "2001::1", "2001:2::1", "2001:db8::1", "2002:7f00:1::1"]
NOT_PUBLIC += [
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%1",
    "fec0::1",
    "ff02::1",
    "4000::1",
]


@pytest.mark.parametrize("address", PUBLIC)
def test_public(address: str) -> None:
    assert is_public(ip_address(address))


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_not_public(address: str) -> None:
    assert not is_public(ip_address(address))
