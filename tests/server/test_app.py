"""The whole program in one process: every door open, used as clients use them, over real sockets."""

import contextlib
import random
import socket
import sys
import xmlrpc.client
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import httpx2
import pytest
import trio
import trio.testing

from fingertrio.config.config import parse_config
from fingertrio.config.errors import ConfigError
from fingertrio.observe.observer import Observer
from fingertrio.server.app import run
from fingertrio.server.sockets import bound
from fingertrio.testing.process import environment
from fingertrio.testing.program import Program

ANY = "127.0.0.1:0"
MEMORY = {"use": "memory", "users": {"moshez": "Happy and well", "ada": "Weaving"}}


@asynccontextmanager
async def running(backend=None, *, stopping=None, **sections):
    """The program with every door, or those given; gives the address of each, by section."""
    table = {"backend": backend or MEMORY, "process": {"run_as_root": True}}
    table |= sections or {name: {"listen": [ANY]} for name in ("finger", "setter", "http")}
    config = parse_config(table)
    addresses = {}
    opened = trio.Event()
    stopping = trio.Event() if stopping is None else stopping

    def ready(found):
        addresses.update({name: places[0] for name, places in found.items()})
        opened.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(run, config, Observer(), ready=ready, stopping=stopping))
        with trio.fail_after(10):
            await opened.wait()
        yield addresses
        stopping.set()


async def talk(address, data, *, end=True):
    host, _, port = address.rpartition(":")
    with trio.fail_after(10):
        async with await trio.open_tcp_stream(host, int(port)) as stream:
            await stream.send_all(data)
            if end:
                await stream.send_eof()
            return b"".join([chunk async for chunk in stream])


def descriptors():
    return {entry.name for entry in Path("/proc/self/fd").iterdir()}


def proxy(address, method, *arguments):
    with xmlrpc.client.ServerProxy(f"{address}/RPC2") as server:
        return getattr(server, method)(*arguments)


async def every_door_says(doors, user):
    """What each door shows of a user."""
    finger = (await talk(doors["finger"], f"{user}\r\n".encode())).decode().removesuffix("\r\n")
    async with httpx2.AsyncClient() as client:
        page = (await client.get(f"{doors['http']}/{user}")).text
        answer = await client.get(f"{doors['http']}/api/users/{user}")
        json = answer.json().get("status", answer.json().get("detail"))
    rpc = await trio.to_thread.run_sync(proxy, doors["http"], "getUser", user)
    assert f"<p>{finger}</p>" in page
    return {finger, json, rpc}


async def test_one_status_every_door_and_what_is_set_is_shown_at_once():
    async with running() as doors:
        assert await every_door_says(doors, "moshez") == {"Happy and well"}
        assert await talk(doors["setter"], b"moshez\r\nIn the garden\r\n") == b"OK\r\n"
        assert await every_door_says(doors, "moshez") == {"In the garden"}
        assert await talk(doors["setter"], b"newcomer\r\nHello\r\n") == b"OK\r\n"
        assert await every_door_says(doors, "newcomer") == {"Hello"}
        assert b"newcomer" in await talk(doors["finger"], b"\r\n")
        assert await trio.to_thread.run_sync(proxy, doors["http"], "getUsers") == ["moshez", "ada", "newcomer"]


async def test_the_tutorials_closing_challenge_one_fingertrio_asks_another():
    async with running() as origin:
        backend = {"use": "xmlrpc", "url": f"{origin['http']}/RPC2"}
        async with running(
            backend, finger={"listen": [ANY]}, http={"listen": [ANY]}, service={"cache_ttl": 0}
        ) as doors:
            assert await every_door_says(doors, "moshez") == {"Happy and well"}
            assert await talk(doors["finger"], b"nobody\r\n") == b"No such user\r\n"
            assert b"ada" in await talk(doors["finger"], b"\r\n")
            await talk(origin["setter"], b"moshez\r\nIn the garden\r\n")
            assert await every_door_says(doors, "moshez") == {"In the garden"}


async def test_when_the_backends_source_is_gone_every_door_says_so_and_stays_open():
    async with running() as origin:
        port = int(origin["finger"].rpartition(":")[2])
    backend = {"use": "finger", "host": "127.0.0.1", "port": port}  # nothing listens there any more
    async with running(backend, finger={"listen": [ANY]}, http={"listen": [ANY]}, service={"cache_ttl": 0}) as doors:
        for _ in range(3):
            assert await talk(doors["finger"], b"moshez\r\n") == b"Internal error in server\r\n"
        async with httpx2.AsyncClient() as client:
            for path in ("/moshez", "/api/users/moshez"):
                answer = await client.get(doors["http"] + path)
                assert answer.status_code == 503
                assert "Internal error in server" in answer.text
            assert (await client.get(f"{doors['http']}/-/style.css")).status_code == 200
        with pytest.raises(xmlrpc.client.Fault) as caught:
            await trio.to_thread.run_sync(proxy, doors["http"], "getUser", "moshez")
        assert caught.value.faultCode == -32500


async def test_an_irc_server_that_is_down_is_normal_life():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        unused = f"127.0.0.1:{probe.getsockname()[1]}"
    async with running(None, finger={"listen": [ANY]}, irc={"server": unused}) as doors:
        assert await talk(doors["finger"], b"moshez\r\n") == b"Happy and well\r\n"


@pytest.mark.slow
async def test_a_thousand_connections_of_random_bytes_to_each_door_disturb_no_other():
    source = random.Random(1288)

    async def throw(address, data):
        with contextlib.suppress(trio.BrokenResourceError, OSError):
            host, _, port = address.removeprefix("http://").rpartition(":")
            async with await trio.open_tcp_stream(host, int(port)) as stream:
                await stream.send_all(data)
                if len(data) % 2:
                    await stream.send_eof()
                    with trio.move_on_after(0.05):
                        await stream.receive_some()

    async with running() as doors:
        with trio.fail_after(60):
            for address in doors.values():
                for _ in range(20):
                    async with trio.open_nursery() as nursery:
                        for _ in range(50):
                            nursery.start_soon(throw, address, source.randbytes(source.randrange(1, 600)))
                    assert await talk(doors["finger"], b"moshez\r\n") == b"Happy and well\r\n"
        assert await every_door_says(doors, "ada") == {"Weaving"}
        assert await talk(doors["setter"], b"ada\r\nStill here\r\n") == b"OK\r\n"


async def test_a_stop_takes_nothing_new_and_lets_what_is_in_flight_finish():
    stopping = trio.Event()
    with trio.fail_after(4):  # less than the grace: nothing was waited for in vain
        async with running(stopping=stopping) as doors:
            host, _, port = doors["setter"].rpartition(":")
            async with await trio.open_tcp_stream(host, int(port)) as stream:
                await stream.send_all(b"moshez\r\n")
                assert await talk(doors["setter"], b"x\r\n") != b""  # by now the first is accepted as well
                stopping.set()
                await trio.testing.wait_all_tasks_blocked()
                late = await trio.open_tcp_stream(host, int(port))
                with trio.move_on_after(0.2) as unanswered:
                    await late.send_all(b"a\r\nb\r\n")
                    await late.send_eof()
                    await late.receive_some()
                assert unanswered.cancelled_caught
                await stream.send_all(b"In the garden\r\n")
                await stream.send_eof()
                assert await stream.receive_some() == b"OK\r\n"
    await late.aclose()


@pytest.mark.parametrize("section", ["finger", "setter", "http"])
async def test_a_port_that_is_taken_opens_nothing_and_leaves_nothing_bound(section):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        sections = {name: {"listen": [ANY]} for name in ("finger", "setter", "http")} | {section: {"listen": [place]}}
        before = descriptors()
        config = parse_config({"backend": MEMORY, "process": {"run_as_root": True}} | sections)
        with pytest.raises(ConfigError, match=rf"\[{section}\] listen: cannot listen on {place}"):
            await run(config, Observer())
        assert descriptors() == before


def test_a_socket_passed_by_the_service_manager_is_served_across_a_restart_of_the_program(tmp_path):
    """systemd's protocol: descriptor 3, LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES; no client is refused meanwhile."""
    code = (
        "import os, sys; os.dup2(int(sys.argv[1]), 3); os.environ['LISTEN_PID'] = str(os.getpid());"
        "os.execv(sys.executable, [sys.executable, '-m', 'fingertrio', 'serve', '--config', sys.argv[2]])"
    )
    path = tmp_path / "passed.toml"
    path.write_text('[backend]\nuse = "memory"\n[process]\nrun_as_root = true\n[finger]\nlisten = []\n')
    with socket.create_server(("127.0.0.1", 0)) as passed:
        for _ in range(2):
            program = Program(
                [sys.executable, "-c", code, str(passed.fileno()), path],
                tmp_path / "log",
                environ=environment() | {"LISTEN_FDS": "1", "LISTEN_FDNAMES": "finger"},
                pass_fds=[passed.fileno()],
            )
            program.start()
            try:
                # Asked before it can be ready: the connection waits in the backlog.
                with socket.create_connection(passed.getsockname(), timeout=10) as client:
                    client.sendall(b"moshez\r\n")
                    assert client.recv(100) == b"No such user\r\n"
                program.end()
            finally:
                program.stop()


@pytest.mark.parametrize(("host", "fits"), [("127.0.0.1", True), ("0.0.0.0", False)])
def test_a_setter_without_authentication_rejects_a_public_socket_that_was_passed(monkeypatch, host, fits):
    with socket.create_server((host, 0)) as public:
        monkeypatch.setattr("fingertrio.server.sockets.take_passed_sockets", lambda: {"setter": [public.dup()]})
        config = parse_config({"backend": MEMORY, "process": {"run_as_root": True}, "setter": {"listen": []}})
        outcome = (
            contextlib.nullcontext() if fits else pytest.raises(ConfigError, match="which other machines can reach")
        )
        with outcome, bound(config, "f.toml") as listeners:
            assert len(listeners["setter"]) == 1
