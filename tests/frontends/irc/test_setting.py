"""Setting a status from IRC: by the account that the server vouches for, and by nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest
import trio
from trio.testing import MockClock

from fingertrio.backends.memory import MemoryBackend
from fingertrio.frontends.irc import IRCFrontend, NetworkSettings, ServerAddress
from fingertrio.observe.observer import Observer
from fingertrio.service import FingerService
from fingertrio.wire.irc_login import Login
from tests.frontends.irc.fakes import FakeNetwork, FakeServer, Log

LOCAL = (ServerAddress(host="127.0.0.1", port=6667),)
REMOTE = (ServerAddress(host="irc.test", port=6667),)
MAPPING = {"Alice": "moshez"}
NOT_LOGGED_IN = "NOTICE alice :Log in to services first."


class Rate:
    """A limit of one."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def allow(self, peer: str, now: float) -> bool:
        self.seen.append(peer)
        return self.seen.count(peer) < 2


@pytest.fixture
async def service(observer: Observer) -> AsyncIterator[FingerService]:
    async with FingerService.open(MemoryBackend({"moshez": "before"}), observer=observer) as service:
        yield service


Open = Callable[..., "trio.Event"]


@pytest.fixture
def open_server(nursery: trio.Nursery, network: FakeNetwork, service: FingerService, observer: Observer):
    async def open_server(caps="account-tag message-tags", supports="", rate=None, **settings) -> FakeServer:
        settings = {"set_by": MAPPING, "servers": LOCAL, **settings}
        network.address = settings["servers"][0].host
        front = IRCFrontend(
            service=service,
            observer=observer,
            networks=[NetworkSettings(name="test", login=Login(nick="fingerbot"), **settings)],
            connect=network.connect,
            rate=rate,
        )
        await nursery.start(front.serve, trio.Event())
        server = await network.accept()
        await server.welcome_with(caps, supports)
        await server.settled()
        return server

    return open_server


async def tell(server: FakeServer, text: str, account: str | None, *, tags: str = "", nick: str = "alice") -> str:
    """A private message with an account; the answer."""
    tags = ";".join(part for part in (f"account={account}" if account else "", tags) if part)
    await server.say(f"{'@' + tags + ' ' if tags else ''}:{nick}!~a@alice.example PRIVMSG fingerbot :{text}")
    return await server.line()


async def status(service: FingerService, user: str = "moshez") -> str | None:
    info = await service.get_user(user)
    return None if info is None else info.status


async def test_only_the_mapped_account_sets_its_user(
    autojump_clock: MockClock, open_server, service: FingerService, log: Log
):
    server = await open_server()
    assert await tell(server, "set \x02gone\x02 fishing", "ALICE") == "NOTICE alice :OK: moshez: gone fishing"
    assert await status(service) == "gone fishing"
    assert await tell(server, "set mine now", "eve") == "NOTICE alice :eve may not set a status here."
    assert await tell(server, "set mine now", None) == NOT_LOGGED_IN
    assert await status(service) == "gone fishing"
    [record] = log.records("set")
    assert (record["user"], record["by"], record["door"]) == ("moshez", "moshez", "irc")
    assert record["proof"] == "irc:test:ALICE"
    [record] = log.records("irc_set")
    assert (record["account"], record["peer"]) == ("ALICE", "alice!~a@alice.example")


async def test_set_alone_takes_the_status_back(autojump_clock: MockClock, open_server, service: FingerService):
    server = await open_server()
    assert await tell(server, "set", "alice") == "NOTICE alice :OK: moshez: no status"
    assert await status(service) == ""


async def test_same_names_need_no_mapping(autojump_clock: MockClock, open_server, service: FingerService):
    server = await open_server(set_by="same")
    assert await tell(server, "set here", "bob") == "NOTICE alice :OK: bob: here"
    assert await status(service, "bob") == "here"
    assert await tell(server, "set here", "no*name") == "NOTICE alice :no*name may not set a status here."


async def test_without_a_mapping_set_is_a_text_like_any_other(autojump_clock: MockClock, open_server):
    server = await open_server(set_by=None)
    assert (await tell(server, "set here", "alice")).startswith("NOTICE alice :Send me a user name")


async def test_an_account_tag_that_was_not_granted_proves_nothing(
    autojump_clock: MockClock, open_server, service: FingerService, log: Log
):
    server = await open_server(caps="batch")
    answer = await tell(server, "set mine", "alice")
    assert answer == (
        "NOTICE alice :No status can be set here: the server tells no accounts: it has neither account-tag nor WHOX."
    )
    assert await status(service) == "before"
    assert len(log.records("irc_set_unavailable")) == 1, "the start says so"


@pytest.mark.parametrize(
    ("replies", "answer"),
    [
        ([":s.x 354 fingerbot {t} ~a alice.example alice alice"], "OK: moshez: x"),
        ([":s.x 354 fingerbot {t} ~a alice.example alice 0"], "Log in to services first."),
        ([":s.x 354 fingerbot {t} ~a other.example alice alice", ":s.x 315 fingerbot alice :End"], None),
        ([":s.x 354 fingerbot 999 ~a alice.example alice alice", ":s.x 315 fingerbot alice :End"], None),
        ([":s.x 315 fingerbot alice :End"], None),
        ([], None),
    ],
)
async def test_without_the_tag_the_server_is_asked(
    autojump_clock: MockClock, open_server, service: FingerService, replies: list[str], answer: str | None
):
    server = await open_server(caps="", supports="WHOX")
    asked = await tell(server, "set x", None)
    assert asked.startswith("WHO alice %tuhna,")
    token = asked.rpartition(",")[2]
    await server.say(*(reply.replace("{t}", token) for reply in replies))
    assert await server.line() == f"NOTICE alice :{answer or 'Log in to services first.'}"
    assert await status(service) == ("x" if answer and answer.startswith("OK") else "before")


async def test_over_a_line_that_others_can_change_nobody_sets(
    autojump_clock: MockClock, open_server, service: FingerService, log: Log
):
    server = await open_server(servers=REMOTE, insecure=True)
    answer = await tell(server, "set mine", "alice")
    assert answer == "NOTICE alice :No status can be set here: the connection is neither verified by TLS nor local."
    assert await status(service) == "before"


@pytest.mark.parametrize("tags", ["time=2001-01-01T00:00:00.000Z", "bot", "inspircd.org/service", "draft/bot"])
async def test_a_replay_or_a_bot_sets_nothing(
    autojump_clock: MockClock, open_server, service: FingerService, tags: str
):
    server = await open_server()
    await server.say(f"@account=alice;{tags} :alice!~a@alice.example PRIVMSG fingerbot :set mine")
    await server.say("@account=alice :alice!~a@alice.example PRIVMSG #chan :set mine")
    await server.settled()
    await trio.sleep(5)
    await server.settled()
    assert await status(service) == "before"


async def test_one_account_is_limited(autojump_clock: MockClock, open_server):
    rate = Rate()
    server = await open_server(rate=rate)
    await tell(server, "set a", "alice")
    assert await tell(server, "set b", "ALICE") == "NOTICE alice :Too many changes, try again later."
    assert rate.seen == ["irc test alice"] * 2


async def test_a_status_that_is_not_valid_is_explained(autojump_clock: MockClock, open_server, service: FingerService):
    server = await open_server(set_by={"alice": "no*name"})
    assert "name" in await tell(server, "set x", "alice")


async def test_a_dry_run_sets_nothing_and_says_nothing(
    autojump_clock: MockClock, open_server, service: FingerService, log: Log
):
    server = await open_server(dry_run=True)
    await server.say("@account=alice :alice!~a@alice.example PRIVMSG fingerbot :set mine")
    await server.say(":bob!~b@bob.example PRIVMSG fingerbot :moshez")
    await server.settled()
    await trio.sleep(20)
    await server.settled()
    assert await status(service) == "before"
    would = [(record["what"], record.get("target")) for record in log.records("irc_would_send")]
    assert sorted(would, key=str) == [("NOTICE", "alice"), ("PRIVMSG", "bob"), ("set", None)]
