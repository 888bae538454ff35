"""Whether finger clients reach the server, which may only be said as far as it can be seen from here."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from fingertrio.cli.doctor import port79
from fingertrio.cli.doctor.port79 import CHECK
from fingertrio.server.access import ServerUser
from tests.cli.doctor.kit import FakeMachine, faults, installation, look, only, running


@asynccontextmanager
async def fingerd(answer: bytes = b"No such user\r\n") -> AsyncIterator[int]:
    """A finger server on 127.0.0.1; its port."""

    async def serve(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        if answer:
            await stream.send_all(answer)

    async with trio.open_nursery() as nursery:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


@pytest.fixture
def at_79(monkeypatch: pytest.MonkeyPatch):
    """The well-known port, which a test cannot open, is another one."""

    def set_port(port: int) -> dict[str, dict[str, list[str]]]:
        monkeypatch.setattr(port79, "FINGER_PORT", port)
        return {"finger": {"listen": [f"0.0.0.0:{port}"]}}

    return set_port


async def test_an_answer_here_is_not_said_to_be_one_for_others(fake: FakeMachine, at_79):
    fake.own("127.0.0.1")
    async with fingerd() as port:
        results = await look(CHECK, installation(at_79(port), machine=fake.machine, server=running()))
    assert [result.level for result in results] == ["ok", "ok"]
    assert "answers at 127.0.0.1" in results[0].what
    assert "cannot be tested from here" in results[1].what
    assert "on another machine: printf" in results[1].next


async def test_no_answer_and_a_refusal_are_problems(fake: FakeMachine, at_79):
    fake.own("127.0.0.1", "127.0.0.2")
    async with fingerd(b"") as port:
        found = await faults(CHECK, installation(at_79(port), machine=fake.machine, server=running()))
    assert [each.partition(": ")[0] for each in found] == ["problem", "problem"]
    assert f"127.0.0.1:{port} does not answer: the connection was closed without an answer" in found[0]
    assert "Connection refused" in found[1]


async def test_another_port_than_79_is_a_warning(fake: FakeMachine):
    fake.own("127.0.0.1")
    async with fingerd() as port:
        place = installation({"finger": {"listen": [f"127.0.0.1:{port}"]}}, machine=fake.machine, server=running())
        found = await only(CHECK, place, "warning")
    assert f"listens on {port}, not on 79" in found.what


async def test_sockets_of_systemd_are_not_known_before_the_start(fake: FakeMachine):
    assert await faults(CHECK, installation({"finger": {"listen": []}}, machine=fake.machine)) == []


async def test_port_79_for_this_machine_alone_is_a_warning(fake: FakeMachine):
    place = installation({"finger": {"listen": ["127.0.0.1:79"]}}, machine=fake.machine)
    assert any("only this machine reaches" in each for each in await faults(CHECK, place))


@pytest.mark.parametrize(
    ("start", "table", "programs", "uid", "level", "said"),
    [
        ("1024", {}, {}, 1000, "problem", "may not open port 79"),
        ("79", {}, {}, 1000, "ok", "ip_unprivileged_port_start = 79"),
        ("1024", {}, {"systemctl is-enabled": "enabled\n"}, 1000, "ok", "systemd opens port 79"),
        ("1024", {"process": {"user": "nobody"}}, {}, 1000, "ok", "gives its rights up for nobody"),
        ("1024", {}, {}, 0, "ok", "started as root"),
    ],
)
async def test_who_may_open_the_port_before_the_server_runs(
    fake: FakeMachine, monkeypatch: pytest.MonkeyPatch, start, table, programs, uid, level, said
):
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    (fake.proc / "sys/net/ipv4").mkdir(parents=True)
    (fake.proc / "sys/net/ipv4/ip_unprivileged_port_start").write_text(f"{start}\n")
    fake.programs = programs
    table = {"finger": {"listen": ["0.0.0.0:79"]}, **table}
    account = ServerUser("ada", 1000, frozenset())
    found = await only(CHECK, installation(table, machine=fake.machine, account=account), level)
    assert said in found.what
    if level == "problem":
        for way in ("fingertrio-finger.socket", "CAP_NET_BIND_SERVICE", "ip_unprivileged_port_start=79"):
            assert way in found.next


async def test_a_trusted_proxy_gets_no_answer_and_so_is_not_asked(fake: FakeMachine):
    table = {"finger": {"listen": ["0.0.0.0:79"], "proxy_protocol": True, "trusted_proxies": ["127.0.0.0/8", "::1"]}}
    results = await look(CHECK, installation(table, machine=fake.machine, server=running()))
    assert [result.level for result in results] == ["ok"]
    assert "only proxies are answered" in results[0].what


async def test_private_addresses_need_a_router_that_forwards(fake: FakeMachine, monkeypatch: pytest.MonkeyPatch):
    async def answers(*_arguments: object, **_options: object) -> bytes:
        return b"No such user\r\n"

    monkeypatch.setattr(port79, "finger", answers)
    fake.own("127.0.0.1", "192.168.1.5")
    place = installation({"finger": {"listen": ["0.0.0.0:79"]}}, machine=fake.machine, server=running())
    assert "a router has to forward port 79" in (await look(CHECK, place))[1].what
    fake.own("127.0.0.1", "9.9.9.9")
    assert "nc -w 5 9.9.9.9 79" in (await look(CHECK, place))[1].next
