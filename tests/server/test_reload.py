"""SIGHUP: all of a valid configuration that can change changes, nothing of a broken one."""

import io
import json
import os
import signal
import ssl
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import pytest
import trio
import trio.testing
import trustme
from wsproto.events import Ping, Pong

from fingertrio.clients.setter import SetterError, set_status
from fingertrio.config.config import load_config, parse_config
from fingertrio.config.errors import ConfigError
from fingertrio.config.plugins import find_frontends
from fingertrio.observe.observer import Observer
from fingertrio.server.app import run
from fingertrio.server.doors import OpenDoor
from fingertrio.server.reload import RELOADABLE, compare
from fingertrio.service import FingerService
from fingertrio.testing import FakeBackend
from tests.frontends.web.kit import Client
from tests.frontends.web.watching import handshake, opened
from tests.helpers import no_accounts

FILE = """
[backend]
use = "memory"
users = {{ moshez = "Happy and well" }}
[process]
run_as_root = true
[log]
level = "{level}"
[limits]
exempt = {exempt}
query_burst = 2
queries = 0.001
[service]
deadline = {deadline}
[finger]
listen = ["{listen}"]
answer = "{answer}"
{more}
"""
VALUES = {
    "level": "info",
    "exempt": '["127.0.0.0/8"]',
    "deadline": 5.0,
    "listen": "127.0.0.1:0",
    "answer": "status",
    "more": "",
}


class Program:
    def __init__(self, path):
        self.path = path
        self.log = io.StringIO()
        self.addresses = {}

    def write(self, **changes):
        self.path.write_text(FILE.format(**VALUES | changes))

    def events(self):
        return [json.loads(line) for line in self.log.getvalue().splitlines()]

    async def reload(self, **changes):
        """SIGHUP after the changes; the log events that followed, by name."""
        self.write(**changes)
        before = len(self.events())
        os.kill(os.getpid(), signal.SIGHUP)
        with trio.fail_after(5):
            while not any(e["event"] in {"reloaded", "reload_refused"} for e in self.events()[before:]):
                await trio.testing.wait_all_tasks_blocked(0.001)
        return {event["event"]: event for event in self.events()[before:]}

    async def ask(self, query=b"moshez\r\n"):
        host, _, port = self.addresses["finger"][0].rpartition(":")
        async with await trio.open_tcp_stream(host, int(port)) as stream:
            await stream.send_all(query)
            return b"".join([chunk async for chunk in stream])

    async def set(self, user, status):
        host, _, port = self.addresses["setter"][0].rpartition(":")
        await set_status(user, status, host=host, port=int(port))

    async def connect(self):
        """A connection to the web door."""
        host, _, port = self.addresses["http"][0].partition("//")[2].rpartition(":")
        return Client(await trio.open_tcp_stream(host, int(port)))

    async def connect_tls(self, trust):
        stream = trio.SSLStream(
            (await self.connect()).stream, trust, server_hostname="127.0.0.1", https_compatible=True
        )
        await stream.do_handshake()
        return Client(stream)


@asynccontextmanager
async def serving(path, **changes):
    program = Program(path)
    program.write(**changes)
    is_open, stopping = trio.Event(), trio.Event()

    def ready(addresses):
        program.addresses = addresses
        is_open.set()

    load = partial(load_config, program.path, {})
    observer = Observer(program.log, human=False)
    async with trio.open_nursery() as nursery:
        run_it = partial(run, load(), observer, source=str(path), ready=ready, stopping=stopping, load=load)
        nursery.start_soon(run_it)
        await is_open.wait()
        yield program
        stopping.set()


@pytest.fixture
async def program(tmp_path):
    async with serving(tmp_path / "f.toml") as program:
        yield program


async def test_what_can_change_changes_without_dropping_anything(program):
    assert await program.ask() == b"Happy and well\r\n"
    events = await program.reload(answer="full", deadline=3.0)
    assert sorted(events["reloaded"]["changed"]) == ["finger.answer", "service.deadline"]
    assert "needs_a_restart" not in events
    assert (await program.ask()).startswith(b"Login: moshez")
    assert (await program.reload())["reloaded"]["changed"] == ["service.deadline", "finger.answer"]
    assert await program.ask() == b"Happy and well\r\n"


async def test_limits_change(program):
    for _ in range(4):
        assert await program.ask() == b"Happy and well\r\n"
    await program.reload(exempt="[]")
    answers = [await program.ask() for _ in range(3)]
    assert answers[:2] == [b"Happy and well\r\n"] * 2
    assert answers[2].startswith(b"Too many queries")


async def test_the_level_of_the_log_changes(program):
    await program.ask()
    program.write(level="error")
    os.kill(os.getpid(), signal.SIGHUP)  # a log of errors has no line about it
    await trio.testing.wait_all_tasks_blocked(0.02)
    await program.ask()
    assert (await program.reload())["reloaded"]["changed"] == ["log.level"]
    await program.ask()
    assert [event["event"] for event in program.events()].count("query") == 2


async def test_presets_change(tmp_path):
    setter = '[setter]\nlisten = ["127.0.0.1:0"]\n[presets]\n'
    async with serving(tmp_path / "f.toml", more=setter + 'lunch = { status = "Lunch" }') as program:
        await program.set("moshez", ":lunch")
        assert await program.ask() == b"Lunch\r\n"
        with pytest.raises(SetterError, match="there is no preset :tea; this server has :lunch"):
            await program.set("moshez", ":tea")
        events = await program.reload(more=setter + 'tea = { status = "Tea", for = "20m" }')
        assert events["reloaded"]["changed"] == ["presets"]
        await program.set("moshez", ":tea")
        assert await program.ask() == b"Tea\r\n"


async def test_what_cannot_change_is_named_and_stays(program):
    more = '[setter]\nlisten = ["127.0.0.1:0"]'
    events = await program.reload(listen="127.0.0.2:0", more=more, answer="full")
    assert sorted(events["needs_a_restart"]["keys"]) == ["finger.listen", "setter"]
    assert events["reloaded"]["changed"] == ["finger.answer"]
    assert (await program.ask()).startswith(b"Login: moshez")


@pytest.mark.parametrize("changes", [{"answer": "loud"}, {"more": "nonsense"}, {"more": "[fingr]"}])
async def test_a_broken_file_changes_nothing_and_says_why(program, changes):
    events = await program.reload(deadline=1.0, **changes)
    assert str(program.path) in events["reload_refused"]["reason"]
    assert await program.ask() == b"Happy and well\r\n"
    assert (await program.reload(answer="full"))["reloaded"]["changed"] == ["finger.answer"]


async def test_every_reloadable_key_is_one_of_its_section():
    config = parse_config(
        {"backend": {"use": "memory"}, "finger": {"listen": []}, "setter": {"listen": []}, "http": {"listen": []}}
    )
    plugins = find_frontends(config.doors)
    async with FingerService.open(FakeBackend({})) as service:
        doors = {
            name: OpenDoor(plugin, config, service, no_accounts(), Observer(), ()) for name, plugin in plugins.items()
        }
    reloadable = {**RELOADABLE, **{name: door.reloadable for name, door in doors.items()}}
    assert set(doors) == {"finger", "setter", "http"}
    for name, keys in reloadable.items():
        fields = set(type(config.sections[name]).model_fields)
        assert set(keys or ()) <= fields
    assert compare(config, config, reloadable) == ([], [])


def http(**options):
    """The [http] section with these keys, as TOML and JSON both write them."""
    lines = [f"{key} = {json.dumps(value)}" for key, value in options.items()]
    return {"more": "\n".join(["[http]", 'listen = ["127.0.0.1:0"]', *lines])}


GET = b"GET /moshez HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 192.0.2.7\r\n\r\n"


async def get(client):
    await client.send(GET)
    answer = await client.response()
    assert answer.startswith(b"HTTP/1.1 200")
    return answer


async def test_proxies_are_trusted_from_the_next_request_on(tmp_path):
    async with serving(tmp_path / "f.toml", **http()) as program, await program.connect() as client:
        await get(client)
        events = await program.reload(**http(trusted_proxies=["127.0.0.1"]))
        assert events["reloaded"]["changed"] == ["http.trusted_proxies"]
        assert "needs_a_restart" not in events
        await get(client)
        await program.reload(**http(trusted_proxies=["127.0.0.2"]))
        await get(client)
    peers = [event["peer"] for event in program.events() if event["event"] == "query"]
    assert peers == ["127.0.0.1", "192.0.2.7", "127.0.0.1"]


async def test_connections_are_kept_for_as_long_as_the_new_number_says_once_they_are_idle_again(tmp_path):
    async with serving(tmp_path / "f.toml", **http(keep_alive=60)) as program:
        async with await program.connect() as old, await program.connect() as silent:
            await get(old)
            events = await program.reload(**http(keep_alive=0.05))
            assert events["reloaded"]["changed"] == ["http.keep_alive"]
            await get(old)
            async with await program.connect() as new:
                with trio.fail_after(5):
                    assert [await client.rest() for client in (old, new)] == [b"", b""]
            with trio.fail_after(5):
                await silent.send(GET)  # it was promised a minute, and has it
                assert (await silent.response()).startswith(b"HTTP/1.1 200")


async def test_pages_of_other_sites_may_watch_from_the_next_handshake_on(tmp_path):
    origin = {"Origin": "https://friend.example"}
    async with serving(tmp_path / "f.toml", **http()) as program:
        async with await program.connect() as client:
            await client.send(handshake("/api/watch", **origin))
            assert (await client.response()).startswith(b"HTTP/1.1 403")
        events = await program.reload(**http(allowed_origins=["https://friend.example"]))
        assert events["reloaded"]["changed"] == ["http.allowed_origins"]
        async with await program.connect() as client:
            await opened(client, **origin)


@pytest.mark.parametrize("key", ["max_watchers", "max_watchers_per_address"])
async def test_another_number_may_watch_and_who_watches_stays(tmp_path, key):
    async with serving(tmp_path / "f.toml", **http(**{key: 1})) as program, AsyncExitStack() as stack:

        async def watch():
            return await opened(await stack.enter_async_context(await program.connect()))

        first = await watch()
        assert (await first.message())["type"] == "hello"
        assert await (await watch()).closed() == 1013
        events = await program.reload(**http(**{key: 2}))
        assert events["reloaded"]["changed"] == [f"http.{key}"]
        second = await watch()
        assert (await second.message())["type"] == "hello"
        assert await (await watch()).closed() == 1013

        await program.reload(**http(**{key: 1}))
        for other in (first, second):
            await other.stream.send_all(other.frames.send(Ping(b"here?")))
            assert isinstance(await other.event(), Pong)


@pytest.fixture
def authority():
    return trustme.CA()


@pytest.fixture
def trust(authority):
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture
def issue(authority, tmp_path):
    """Puts a fresh certificate and its key into their files, and gives the section that names these."""

    def issue():
        pair = authority.issue_cert("127.0.0.1")
        pair.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
        pair.private_key_pem.write_to_path(tmp_path / "key.pem")
        return http(certfile=str(tmp_path / "cert.pem"), keyfile=str(tmp_path / "key.pem"))

    return issue


async def test_a_new_certificate_is_used_and_no_connection_is_dropped(tmp_path, issue, trust):
    web = issue()
    async with serving(tmp_path / "f.toml", **web) as program, AsyncExitStack() as stack:

        async def connect():
            client = await stack.enter_async_context(await program.connect_tls(trust))
            return client, client.stream.getpeercert(binary_form=True)

        old, first = await connect()
        await get(old)

        (tmp_path / "cert.pem").write_text("no certificate")
        events = await program.reload(**web, answer="full")
        assert events["reload_refused"]["reason"] == (
            f'{tmp_path}/f.toml: [http] certfile: "{tmp_path}/cert.pem" does not contain a certificate in PEM format'
        )
        assert await program.ask() == b"Happy and well\r\n"
        again, same = await connect()
        assert same == first

        issue()
        await program.reload(**web)
        new, second = await connect()
        assert second != first
        for client in (old, again, new):
            await get(client)


async def test_a_door_becomes_https_and_http_again_for_connections_from_then_on(tmp_path, issue, trust):
    async with serving(tmp_path / "f.toml", **http()) as program, await program.connect() as plain:
        await get(plain)
        events = await program.reload(**issue())
        assert events["reloaded"]["changed"] == ["http.certfile", "http.keyfile"]
        async with await program.connect_tls(trust) as secret:
            await program.reload(**http())
            for client in (plain, secret, await program.connect()):
                async with client:
                    await get(client)


async def test_an_invalid_certificate_is_reported_at_start_like_other_mistakes(tmp_path, issue):
    web = issue()
    (tmp_path / "key.pem").write_text("no key")
    reason = (
        f'^{tmp_path}/f.toml: \\[http\\] keyfile: "{tmp_path}/key.pem" does not contain a private key in PEM format$'
    )
    with pytest.RaisesGroup(pytest.RaisesExc(ConfigError, match=reason), flatten_subgroups=True):
        async with serving(tmp_path / "f.toml", **web):
            pytest.fail("it serves")
