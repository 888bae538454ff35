"""SIGHUP: all of a valid configuration that can change changes, nothing of a broken one."""

import io
import json
import os
import signal
import ssl
from functools import partial

import pytest
import trio
import trio.testing
import trustme

from fingertrio.app import run
from fingertrio.config import Config, load_config
from fingertrio.doors.opening import OpenDoor
from fingertrio.observe import Observer
from fingertrio.plugins import find_frontends
from fingertrio.reload import RELOADABLE, compare
from fingertrio.service import FingerService
from fingertrio.testing import FakeBackend

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
        self.write()

    def write(self, **changes):
        self.path.write_text(FILE.format(**VALUES | changes))

    def events(self):
        return [json.loads(line) for line in self.log.getvalue().splitlines()]

    async def reload(self, **changes):
        """SIGHUP after the changes; what was said of it."""
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


@pytest.fixture
async def program(tmp_path):
    program = Program(tmp_path / "f.toml")
    opened, stopping = trio.Event(), trio.Event()

    def ready(addresses):
        program.addresses = addresses
        opened.set()

    load = partial(load_config, program.path, {})
    observer = Observer(program.log, human=False)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(run, load(), observer, ready=ready, stopping=stopping, load=load))
        await opened.wait()
        yield program
        stopping.set()


async def test_what_can_change_changes_without_dropping_anything(program):
    assert await program.ask() == b"Happy and well\r\n"
    said = await program.reload(answer="full", deadline=3.0)
    assert sorted(said["reloaded"]["changed"]) == ["finger.answer", "service.deadline"]
    assert "needs_a_restart" not in said
    assert (await program.ask()).startswith(b"Login: moshez")
    assert (await program.reload())["reloaded"]["changed"] == ["service.deadline", "finger.answer"]
    assert await program.ask() == b"Happy and well\r\n"


async def test_limits_change(program):
    for _ in range(4):
        assert await program.ask() == b"Happy and well\r\n"
    await program.reload(exempt="[]")
    answers = [await program.ask() for _ in range(3)]
    assert answers[:2] == [b"Happy and well\r\n"] * 2
    assert answers[2].startswith(b"Too many questions")


async def test_the_level_of_the_log_changes(program):
    await program.ask()
    program.write(level="error")
    os.kill(os.getpid(), signal.SIGHUP)  # of which an error log says nothing
    await trio.testing.wait_all_tasks_blocked(0.02)
    await program.ask()
    assert (await program.reload())["reloaded"]["changed"] == ["log.level"]
    await program.ask()
    assert [event["event"] for event in program.events()].count("query") == 2


async def test_what_cannot_change_is_named_and_stays(program):
    more = '[setter]\nlisten = ["127.0.0.1:0"]'
    said = await program.reload(listen="127.0.0.2:0", more=more, answer="full")
    assert sorted(said["needs_a_restart"]["keys"]) == ["finger.listen", "setter"]
    assert said["reloaded"]["changed"] == ["finger.answer"]
    assert (await program.ask()).startswith(b"Login: moshez")


@pytest.mark.parametrize("changes", [{"answer": "loud"}, {"more": "nonsense"}, {"more": "[fingr]"}])
async def test_a_broken_file_changes_nothing_and_says_why(program, changes):
    said = await program.reload(deadline=1.0, **changes)
    assert str(program.path) in said["reload_refused"]["reason"]
    assert await program.ask() == b"Happy and well\r\n"
    assert (await program.reload(answer="full"))["reloaded"]["changed"] == ["finger.answer"]


async def test_every_reloadable_key_is_one_of_its_section():
    config = Config.model_validate(
        {"backend": {"use": "memory"}, "finger": {"listen": []}, "setter": {"listen": []}, "http": {"listen": []}}
    )
    plugins = find_frontends(config.doors)
    async with FingerService.open(FakeBackend({})) as service:
        doors = {name: OpenDoor(plugin, config, service, Observer(), ()) for name, plugin in plugins.items()}
    reloadable = {**RELOADABLE, **{name: door.reloadable for name, door in doors.items()}}
    assert set(doors) == {"finger", "setter", "http"}
    for name, keys in reloadable.items():
        fields = set(type(getattr(config, name)).model_fields)
        assert set(keys or ()) <= fields
    assert compare(config, config, reloadable) == ([], [])


async def test_a_new_certificate_is_used_and_no_connection_is_dropped(tmp_path):
    authority = trustme.CA()
    trust = ssl.create_default_context()
    authority.configure_trust(trust)

    def issue():
        pair = authority.issue_cert("127.0.0.1")
        pair.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
        pair.private_key_pem.write_to_path(tmp_path / "key.pem")

    async def connect(address):
        host, _, port = address.removeprefix("https://").rpartition(":")
        stream = await trio.open_ssl_over_tcp_stream(host, int(port), https_compatible=True, ssl_context=trust)
        await stream.do_handshake()
        return stream, stream.getpeercert(binary_form=True)

    async def get(stream):
        await stream.send_all(b"GET /moshez HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = b""
        while not answer.endswith(b"</html>"):
            answer += await stream.receive_some()
        return answer

    issue()
    program = Program(tmp_path / "f.toml")
    web = f'[http]\nlisten = ["127.0.0.1:0"]\ncertfile = "{tmp_path}/cert.pem"\nkeyfile = "{tmp_path}/key.pem"'
    program.write(more=web)
    opened, stopping = trio.Event(), trio.Event()

    def ready(addresses):
        program.addresses = addresses
        opened.set()

    load = partial(load_config, program.path, {})
    async with trio.open_nursery() as nursery:
        observer = Observer(program.log, human=False)
        nursery.start_soon(partial(run, load(), observer, ready=ready, stopping=stopping, load=load))
        await opened.wait()
        address = program.addresses["http"][0]
        old, first = await connect(address)
        assert (await get(old)).startswith(b"HTTP/1.1 200")

        (tmp_path / "cert.pem").write_text("no certificate")
        assert "reload_refused" in await program.reload(more=web, answer="full")
        again, same = await connect(address)
        assert same == first

        issue()
        await program.reload(more=web)
        new, second = await connect(address)
        assert second != first
        for stream in (old, again, new):
            assert (await get(stream)).startswith(b"HTTP/1.1 200")
            await trio.aclose_forcefully(stream)
        stopping.set()
