"""Our client on a real InspIRCd with Atheme, beside independent clients. Real time, loopback only."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
import trio
import trustme
from click.testing import CliRunner

from fingertrio.backends.memory import MemoryBackend
from fingertrio.cli.irc_check import irc_check
from fingertrio.frontends.irc import (
    ChannelSettings,
    IRCFrontend,
    IRCTimes,
    NetworkSettings,
    ServerAddress,
    STSStore,
    TLSSettings,
)
from fingertrio.frontends.irc.tls import fingerprint
from fingertrio.service import FingerService
from fingertrio.wire.irc_channel import ChannelPlan
from fingertrio.wire.irc_login import Login
from fingertrio.wire.irc_secrets import Secret
from tests.frontends.irc.real import HOST, OTHER, Insp, Person, Watcher, der, directory, person

pytestmark = pytest.mark.slow  # a real server, in real time

PASSWORD = "s3cr3t-Wort"
HAPPY = "Status of moshez: Happy and well"


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def insp(ca: trustme.CA) -> Iterator[Insp]:
    with directory() as here:
        server = Insp(here, ca)
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture
def log() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def watcher(log: io.StringIO) -> Watcher:
    return Watcher(log)


@pytest.fixture
async def service(watcher: Watcher) -> AsyncIterator[FingerService]:
    users = {"moshez": "Happy and well", **{f"user{number}": "here" for number in range(60)}}
    async with FingerService.open(MemoryBackend(users), observer=watcher) as service:
        yield service


Start = Callable[..., Awaitable[IRCFrontend]]


class Dialer:
    """Opens TCP connections to loopback, whatever the name, and remembers the ports."""

    def __init__(self) -> None:
        self.ports: list[int] = []

    async def __call__(self, _host: str, port: int) -> trio.abc.Stream:
        self.ports.append(port)
        return await trio.open_tcp_stream("127.0.0.1", port)


@pytest.fixture
def dialer() -> Dialer:
    return Dialer()


@pytest.fixture
async def start(
    nursery: trio.Nursery, insp: Insp, watcher: Watcher, service: FingerService, dialer: Dialer
) -> AsyncIterator[Start]:
    """Starts our client; by default on the plain port, by address."""
    stops: list[tuple[trio.Event, trio.Event]] = []

    async def start(
        *, nick="fingerbot", server=None, times=None, store=None, jitter=None, login=None, **settings: Any
    ) -> IRCFrontend:
        settings.setdefault("flood_seconds", 0.05)
        settings.setdefault("servers", (server or ServerAddress(host="127.0.0.1", port=insp.plain),))
        one = NetworkSettings(name="insp", login=Login(**{"nick": nick, **(login or {})}), **settings)
        front = IRCFrontend(
            service=service,
            observer=watcher,
            networks=[one],
            store=store,
            times=times or IRCTimes(first_pause=0.05, longest_pause=0.2, leave=0.5),
            jitter=jitter or (lambda least, most: (least + most) / 2),
            connect=dialer,
        )
        stopping, stopped = trio.Event(), trio.Event()
        stops.append((stopping, stopped))

        async def serve() -> None:
            await front.serve(stopping)
            stopped.set()

        nursery.start_soon(serve)
        return front

    yield start
    for stopping, stopped in stops:
        stopping.set()
        with trio.move_on_after(5):
            await stopped.wait()


def tls(insp: Insp, host: str = HOST) -> ServerAddress:
    return ServerAddress(host=host, port=insp.tls, tls=True)


@pytest.fixture
def ca_file(ca: trustme.CA, tmp_path: Path) -> Path:
    path = tmp_path / "ca.pem"
    ca.cert_pem.write_to_path(path)
    return path


def human(insp: Insp, nick: str) -> AbstractAsyncContextManager[Person]:
    """A client on the port without penalties, which would only delay the tests."""
    return person(insp.locked, nick, password="right")


async def register(insp: Insp, account: str) -> None:
    """An account; a second registration of the same name does no harm."""
    async with human(insp, f"{account}-reg") as one:
        await one.send(f"NICK {account}", f"PRIVMSG NickServ :REGISTER {PASSWORD} {account}@example.org")
        await one.until("NickServ!", "egistered")
        await one.send("QUIT")


def chan(name: str, **options: Any) -> ChannelSettings:
    return ChannelSettings(plan=ChannelPlan(name), **options)


# S1: isolation.


async def test_a_network_that_stops_does_not_delay_another(
    insp: Insp, watcher: Watcher, service: FingerService, nursery: trio.Nursery
):
    networks = [
        NetworkSettings(
            name=name,
            servers=(ServerAddress(host="127.0.0.1", port=port),),
            login=Login(nick=f"iso{name}", password=Secret("wrong")),
            flood_seconds=0.05,
        )
        for name, port in (("locked", insp.locked), ("open", insp.plain))
    ]
    times = IRCTimes(first_pause=0.05, longest_pause=0.1, leave=0.3)
    front = IRCFrontend(service=service, observer=watcher, networks=networks, times=times)
    stopping = trio.Event()
    nursery.start_soon(front.serve, stopping)
    await watcher.wait("irc_stopped", network="locked")
    async with human(insp, "isohuman") as one:
        await watcher.wait("irc_registered", network="open")
        assert await one.ask("isoopen", "moshez") == HAPPY
    assert "irc_stopped:locked" in watcher.metrics.conditions
    assert "irc_connection:open" not in watcher.metrics.conditions
    stopping.set()


# S13: irc-check. A command of its own, so not under trio.


def check(path: Path, *options: str) -> tuple[int, str]:
    result = CliRunner().invoke(irc_check, [str(path), *options])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.output
    return result.exit_code, result.output


def test_irc_check_tells_what_works_and_what_to_change(insp: Insp, tmp_path: Path, ca_file: Path):
    (tmp_path / "password").write_text(f"{PASSWORD}-wrong")
    (tmp_path / "key").write_text("hushhush")
    path = tmp_path / "fingertrio.toml"
    path.write_text(
        f"""
[backend]
use = "memory"
users = {{ moshez = "Happy and well" }}
[irc.networks.good]
servers = ["irc://127.0.0.1:{insp.plain}"]
owner = "alice"
set_by = "same"
[[irc.networks.good.channel]]
name = "#checked"
key_file = "{tmp_path}/key"
[irc.networks.untrusted]
servers = ["ircs://127.0.0.1:{insp.tls}"]
[irc.networks.account]
servers = ["irc://127.0.0.1:{insp.plain}"]
sasl = ["plain"]
nick = "checkbot"
account = "nobody"
account_password_file = "{tmp_path}/password"
"""
    )
    status, output = check(path, "--network", "good", "--join", "--raw")
    assert status == 0, output
    for part in ("127.0.0.1", "fingerbot-chk", "account-tag", "NICKLEN=30", "bot mode", "#checked: in", "lag"):
        assert part in output
    assert "JOIN #checked ***" in output
    assert "nothing to change" in output
    status, output = check(path, "--json", "--raw")
    assert status == 1
    findings = json.loads(output[output.index("[\n") :])
    failed = {(finding["network"], finding["what"]) for finding in findings if finding["level"] == "FAIL"}
    assert failed == {("untrusted", "tls"), ("untrusted", "server"), ("account", "registration")}
    assert fingerprint(insp.der) in output
    for secret in (PASSWORD, "hushhush", "bm9ib2R5"):
        assert secret not in output
    assert check(path, "--network", "other")[0] == 2
    status, output = check(path, "--ask", "moshez")
    assert (status, output.splitlines()[:2]) == (
        0,
        [f"good  PRIVMSG asker :{HAPPY}", f"good  PRIVMSG #checked :asker: {HAPPY}"],
    )


# S2, S3: TLS.


async def test_tls_is_verified_and_every_failure_is_named(start: Start, insp: Insp, watcher: Watcher, ca_file: Path):
    pin = fingerprint(insp.der)
    good = TLSSettings(ca=ca_file)
    for nick, settings, server, reason in [
        ("tlsone", good, tls(insp), None),
        ("tlstwo", TLSSettings(), tls(insp), "untrusted issuer"),
        ("tlsthree", good, tls(insp, OTHER), f"wrong name: the certificate is not for {OTHER}"),
        ("tlsfour", TLSSettings(fingerprints=(f"sha-256:{'0' * 64}", pin)), tls(insp, OTHER), None),
        ("tlsfive", TLSSettings(ca=ca_file, fingerprints=(f"sha-256:{'0' * 64}",)), tls(insp), pin),
    ]:
        await start(nick=nick, tls=settings, server=server)
        if reason is None:
            assert (await watcher.wait("irc_registered"))["nick"] == nick
        else:
            assert reason in str((await watcher.wait("irc_tls_refused"))["reason"])
    async with human(insp, "looker") as one:
        await one.send("ISON tlsone tlstwo tlsthree tlsfour tlsfive")
        assert (await one.until(" 303 ")).split(" :")[1].split() == ["tlsone", "tlsfour"]


async def test_a_plain_client_on_a_tls_port_asks_whether_it_is_one(start: Start, insp: Insp, watcher: Watcher):
    await start(server=ServerAddress(host="127.0.0.1", port=insp.tls))
    assert "closed" in str((await watcher.wait("irc_unreachable"))["reason"])


async def test_sts_leads_to_tls_and_is_kept(
    start: Start, insp: Insp, watcher: Watcher, ca_file: Path, dialer: Dialer, tmp_path: Path
):
    """One plain connection that saw only CAP LS, then TLS; after a restart TLS at once."""
    now = 1000.0
    path = tmp_path / "state" / "irc-sts.json"
    plain = ServerAddress(host=HOST, port=insp.plain)
    settings = TLSSettings(ca=ca_file)
    await start(nick="stsone", server=plain, tls=settings, store=STSStore(path, watcher, lambda: now))
    await watcher.wait("irc_registered")
    assert dialer.ports == [insp.plain, insp.tls]
    assert path.stat().st_mode & 0o777 == 0o600
    dialer.ports.clear()
    await start(nick="ststwo", server=plain, tls=settings, store=STSStore(path, watcher, lambda: now))
    await watcher.wait("irc_registered")
    assert dialer.ports == [insp.tls]
    # No TLS any more: a failure is a failure.
    dialer.ports.clear()
    wrong = TLSSettings()
    await start(nick="ststhree", server=plain, tls=wrong, store=STSStore(path, watcher, lambda: now))
    await watcher.wait("irc_tls_refused")
    assert dialer.ports == [insp.tls]
    now += 61
    dialer.ports.clear()
    await start(nick="stsfour", server=plain, tls=settings, store=STSStore(path, watcher, lambda: now))
    await watcher.wait("irc_registered")
    assert dialer.ports == [insp.plain, insp.tls], "the policy has expired"


# S4: SASL.


async def test_sasl_plain_and_external(
    start: Start, insp: Insp, watcher: Watcher, ca: trustme.CA, ca_file: Path, tmp_path: Path, log: io.StringIO
):
    await register(insp, "saslbot")
    mine = ca.issue_cert("bot.test")
    mine.private_key_and_cert_chain_pem.write_to_path(tmp_path / "bot.pem")
    plain = {"account": "saslbot", "account_password": Secret(PASSWORD), "sasl": ("external", "plain")}
    login = {**plain, "sasl_required": True}
    front = await start(nick="saslone", server=tls(insp), tls=TLSSettings(ca=ca_file), login=login)
    await watcher.wait("irc_registered")
    session = front.networks["insp"].session
    assert session is not None
    assert session.client.state.account == "saslbot", "EXTERNAL fails without a certificate, then PLAIN"
    # With the certificate's fingerprint at the account, EXTERNAL alone.
    cert = tmp_path / "bot.pem"
    async with human(insp, "saslhuman") as one:
        await one.send(f"PRIVMSG NickServ :IDENTIFY saslbot {PASSWORD}")
        await one.until(" 900 ")
        await one.send(f"PRIVMSG NickServ :CERT ADD {fingerprint(der(cert)).partition(':')[2]}")
        await one.until("NOTICE", "ingerprint")
    login = {"account": "saslbot", "sasl": ("external",), "sasl_required": True}
    front = await start(nick="sasltwo", server=tls(insp), tls=TLSSettings(ca=ca_file, certificate=cert), login=login)
    await watcher.wait("irc_registered")
    assert front.networks["insp"].session is not None
    assert front.networks["insp"].session.client.state.account == "saslbot"
    assert PASSWORD not in log.getvalue()
    assert "irc_line" in log.getvalue()


async def test_a_wrong_sasl_password_stops_and_long_ones_are_cut_into_pieces(
    start: Start, insp: Insp, watcher: Watcher
):
    await register(insp, "saslbot")
    for number, password in enumerate(("wrong", "x" * 300, "y" * 600)):
        login = {"account": "saslbot", "account_password": Secret(password), "sasl": ("plain",), "sasl_required": True}
        await start(nick=f"saslbad{number}", login=login)
        stopped = await watcher.wait("irc_stopped")
        assert "SASL login failed" in str(stopped["reason"])
        assert "account_password_file" in str(stopped["do"])


async def test_services_that_never_answer_end_the_session_but_not_the_attempts(
    start: Start, insp: Insp, watcher: Watcher, monkeypatch: pytest.MonkeyPatch
):
    await register(insp, "saslbot")
    monkeypatch.setattr("fingertrio.wire.irc_authentication.STEP_SECONDS", 0.3)
    monkeypatch.setattr("fingertrio.wire.irc_ends.MINUTE", 0.1)
    insp.services.pause()
    try:
        login = {"account": "saslbot", "account_password": Secret(PASSWORD), "sasl": ("plain",), "sasl_required": True}
        await start(nick="saslwait", login=login)
        lost = await watcher.wait("irc_unreachable")
        assert "the services do not answer" in str(lost["reason"])
    finally:
        insp.services.go_on()


# S5, S6: after the welcome, and the nick.


async def test_it_is_marked_as_a_bot_and_logs_in_by_message_before_channels(start: Start, insp: Insp, watcher: Watcher):
    await register(insp, "msgbot")
    login = {"account": "msgbot", "account_password": Secret(PASSWORD), "services": "NickServ"}
    async with human(insp, "op") as op:
        await op.send("JOIN #reg", "MODE #reg +R")
        await op.until(" 366 ")
        await start(nick="msgone", login=login, channels=(chan("#reg"),))
        await op.until("msgone!", " JOIN ")
        await op.send("WHOIS msgone")
        lines = await op.settled()
        assert any(" 335 " in line for line in lines)
        assert any(" 330 " in line and "msgbot" in line for line in lines)


async def test_the_nick_comes_back_by_monitor(start: Start, insp: Insp, watcher: Watcher):
    async with human(insp, "wanted") as squatter, human(insp, "talker") as talker:
        await start(nick="wanted")
        assert (await watcher.wait("irc_registered"))["nick"] == "wanted1"
        assert await talker.ask("wanted1", "moshez") == HAPPY
        began = trio.current_time()
        await squatter.send("NICK away")
        assert (await watcher.wait("irc_nick_changed"))["nick"] == "wanted"
        assert trio.current_time() - began < 14, "not by the timer of 15 s"
    async with human(insp, "boss") as oper:
        await oper.send("OPER oper oper")
        await oper.until(" 381 ")
        await oper.send("SANICK wanted forced")
        assert (await watcher.wait("irc_nick_changed"))["nick"] == "forced"
        assert (await watcher.wait("irc_degraded"))["what"] == "nick"


async def test_a_ghost_is_ended_by_regain(start: Start, insp: Insp, watcher: Watcher):
    await register(insp, "regbot")
    login = {
        "account": "regbot",
        "account_password": Secret(PASSWORD),
        "sasl": ("plain",),
        "services": "NickServ",
    }
    async with human(insp, "regbot"):
        await start(nick="regbot", login=login, jitter=lambda least, _most: least / 30)
        assert (await watcher.wait("irc_registered"))["nick"] == "regbot1"
        assert (await watcher.wait("irc_nick_changed"))["nick"] == "regbot"


# S7: channels.


async def test_each_reason_not_to_be_in_a_channel(start: Start, insp: Insp, watcher: Watcher):
    modes = {"#full": "+l 1", "#invite": "+i", "#key": "+k x", "#banned": "+b *!*@*", "#reg": "+R"}
    async with human(insp, "op") as op:
        for channel, mode in modes.items():
            await op.send(f"JOIN {channel}", f"MODE {channel} {mode}")
            await op.until(" MODE ", channel)
        await op.settled()
        channels = (*map(chan, modes), chan("#fine"), chan("&wrong"))
        await start(nick="chanbot", channels=channels, accept=())
        reasons: dict[object, object] = {}
        while len(reasons) < len(modes) + 1:
            fields = await watcher.wait("irc_not_in_channel")
            reasons[fields["channel"]] = fields["again_in"]
        assert reasons["#invite"] == reasons["#banned"] == reasons["#full"] == 600
        assert reasons["#key"] is None
        assert "&wrong" in reasons
        await watcher.wait("irc_joined", channel="#fine")
        # An invitation to a configured channel is followed, another is not.
        await op.send("JOIN #elsewhere", "INVITE chanbot #elsewhere", "INVITE chanbot #invite")
        await op.until("chanbot!", " JOIN ", "#invite")
        await op.send("KICK #invite chanbot :no bots")
        fields = await watcher.wait("irc_not_in_channel", channel="#invite")
        assert fields["reason"] == "kicked: no bots"
        await op.send("NAMES #elsewhere")
        assert "chanbot" not in await op.until(" 353 ")
    async with human(insp, "boss") as oper:
        await oper.send("OPER oper oper", "JOIN #sa", "SAJOIN chanbot #sa")
        assert (await watcher.wait("irc_joined", channel="#sa"))["uninvited"]


async def test_a_forbidden_channel_and_one_that_forwards(start: Start, insp: Insp, watcher: Watcher):
    """Both are tried again later (926, 470). The channel that 470 leads into is left."""
    async with human(insp, "boss") as oper:
        await oper.send("OPER oper oper", "CBAN #forbidden 1h :not here")
        await oper.until(" 381 ")
        await oper.send("JOIN #other", "JOIN #small", "MODE #small +lL 1 #other")
        await oper.until(" MODE #small ")
        await start(nick="elsebot", channels=(chan("#forbidden"), chan("#small")))
        assert (await watcher.wait("irc_not_in_channel", channel="#forbidden"))["again_in"] == 600
        assert (await watcher.wait("irc_not_in_channel", channel="#small"))["again_in"] == 600
        await oper.until("elsebot!", " JOIN ", "#other")
        await oper.until("elsebot!", " PART ", "#other")


async def test_questions_in_a_channel_and_to_its_operators(start: Start, insp: Insp, watcher: Watcher):
    async with human(insp, "op") as op:
        await op.send("JOIN #talk")
        await start(nick="talkbot", channels=(chan("#talk"),), owner="alice")
        await op.until("talkbot!", " JOIN ")
        assert await op.ask("#talk", "talkbot: moshez", bot="talkbot") == f"op: {HAPPY}"
        assert await op.ask("#talk", "talkbot, nobody", "NOTICE", bot="talkbot") == "Status of nobody: No such user"
        assert (await op.ask("#talk", "!botlist", "NOTICE", bot="talkbot")).startswith("Maintainer: alice. ")


# S8: loops and replays.


async def test_a_marked_bot_is_not_answered(start: Start, insp: Insp, watcher: Watcher):
    await start(nick="quietbot")
    await watcher.wait("irc_registered")
    async with human(insp, "other") as other, human(insp, "alice") as alice:
        await other.send("MODE other +B", "PRIVMSG quietbot :moshez")
        assert await alice.ask("quietbot", "moshez") == HAPPY
        await other.settled()
        assert not any("quietbot!" in line for line in other.seen)


# S9: ends.


async def test_a_ban_and_a_wrong_password_stop(start: Start, insp: Insp, watcher: Watcher, dialer: Dialer):
    server = ServerAddress(host="127.0.0.1", port=insp.locked)
    await start(nick="pwbot", server=server, login={"password": Secret("wrong")})
    stopped = await watcher.wait("irc_stopped")
    assert "password" in str(stopped["do"])
    assert dialer.ports == [insp.locked] * 3
    await start(nick="pwgood", server=server, login={"password": Secret("right")})
    assert (await watcher.wait("irc_registered"))["nick"] == "pwgood"
    async with human(insp, "boss") as oper:
        await oper.send("OPER oper oper")
        await oper.until(" 381 ")
        await start(nick="glined", login={"username": "gline"})
        await watcher.wait("irc_registered")
        await oper.send("GLINE *gline@* 1h :no bots here")
        stopped = await watcher.wait("irc_stopped")
        assert "no bots here" in str(stopped["reason"])
        await oper.send("GLINE *gline@*")
        await oper.settled()
        await start(nick="killed")
        await watcher.wait("irc_registered")
        await oper.send("KILL killed :spamming")
        lost = await watcher.wait("irc_lost")
        assert lost["pause"] == 600


# S10, S11, S12.


async def test_five_hundred_questions_and_an_honest_asker(start: Start, insp: Insp, watcher: Watcher):
    """The flood is answered at the rate that the server allows; another person is answered within ten seconds."""
    await start(nick="floodbot", server=ServerAddress(host="127.0.0.1", port=insp.strict), flood_seconds=2.0)
    await watcher.wait("irc_registered")
    async with human(insp, "flooder") as flooder, human(insp, "honest") as honest:
        await flooder.send(*(f"PRIVMSG floodbot :user{number % 60}" for number in range(500)))
        await flooder.until("floodbot!")
        began = trio.current_time()
        await honest.send("PRIVMSG floodbot :moshez")
        line = await honest.until("floodbot!")
        assert trio.current_time() - began < 10 + 5, "ten seconds, and five for a busy machine"
        assert HAPPY in line or "busy" in line
    assert not any(event == "irc_lost" for event, _ in watcher.seen), "no Excess Flood"


async def test_an_account_sets_its_status_and_a_channel_hears_of_it(
    start: Start, insp: Insp, watcher: Watcher, service: FingerService
):
    await register(insp, "setter")
    announced = chan("#news", announce=("*",))
    await start(nick="setbot", channels=(announced,), set_by={"Setter": "moshez"}, quiet_names=False)
    await watcher.wait("irc_joined")
    async with human(insp, "alice") as alice:
        await alice.send("JOIN #news")
        await alice.until(" 366 ")
        assert await alice.ask("setbot", "set mine", "NOTICE") == "Log in to services first."
        await alice.send(f"PRIVMSG NickServ :IDENTIFY setter {PASSWORD}")
        await alice.until(" 900 ")
        assert await alice.ask("setbot", "set gone fishing", "NOTICE") == "OK: moshez: gone fishing"
        assert await alice.text("PRIVMSG") == "moshez is now: gone fishing"
    info = await service.get_user("moshez")
    assert info is not None
    assert info.status == "gone fishing"
    fields = await watcher.wait("irc_set")
    assert fields["account"] == "setter"
