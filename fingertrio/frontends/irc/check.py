"""Trying a network once, as the bot would use it, and telling what works: `fingertrio irc-check`.

It connects under another nick, so it never disturbs a running bot, says nothing to anybody, and leaves. What it finds
is a list of `Finding`: one line each, with what to change where something does not work.
"""

from __future__ import annotations

import ssl
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, cast

import trio

from fingertrio.clients import dial
from fingertrio.frontends.irc.connecting import Connect, UnreachableError, open_link
from fingertrio.frontends.irc.settings import NetworkSettings, ServerAddress, TLSSettings
from fingertrio.frontends.irc.tls import TLSRefusedError, fingerprint, make_context, shake_hands
from fingertrio.wire import ProtocolError
from fingertrio.wire.irc import NICK_LIMIT
from fingertrio.wire.irc_client import IRCClient
from fingertrio.wire.irc_ends import Ended
from fingertrio.wire.irc_events import ChannelJoined, ChannelLeft, Event, LoginFailed, Ponged, Ready
from fingertrio.wire.irc_secrets import mask_line
from fingertrio.wire.irc_sts import STSDuration, STSPort
from fingertrio.wire.text import clean_line

DEADLINE = 30.0  # seconds for one network
_SUFFIX = "-chk"

Level = Literal["ok", "warn", "FAIL"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the result.

    Attributes:
        level: "FAIL": something that is configured does not work.
        what: "server", "tls", "sasl", "channel", ...
        text: for the operator; a server's words are clean.
        change: what to do about it.
    """

    level: Level
    what: str
    text: str
    change: str = ""


class NetworkCheck:
    """One try.

    Args:
        settings: of the network.
        join: also join the channels.
        trace: called with each line, masked, and its direction: "<" or ">".
        connect: opens a TCP stream.
        deadline: seconds.

    Attributes:
        findings: what was found, in order.
    """

    def __init__(
        self,
        settings: NetworkSettings,
        *,
        join: bool = False,
        trace: Callable[[str, str], None] | None = None,
        connect: Connect = dial.connect,
        deadline: float = DEADLINE,
    ) -> None:
        self.findings: list[Finding] = []
        self._settings = settings
        self._join = join
        self._trace = trace
        self._connect = connect
        self._deadline = deadline
        self._events: list[Event] = []  # so far
        self._waiting: deque[Event] = deque()  # arrived, not looked at

    async def run(self) -> list[Finding]:
        """Try; never raises because of the network."""
        with trio.move_on_after(self._deadline) as scope:
            try:
                context = make_context(self._settings.tls)
            except ValueError as error:
                self._note("FAIL", "tls", str(error), "correct the file")
                return self.findings
            for server in self._settings.servers:
                if await self._try(server, context):
                    break
            else:
                self._note("FAIL", "server", "no server of the list can be used", "correct servers")
        if scope.cancelled_caught:
            self._note("FAIL", "time", f"not done within {self._deadline:g} seconds", "try again, or another server")
        return self.findings

    def _note(self, level: Level, what: str, text: str, change: str = "") -> None:
        self.findings.append(Finding(level, what, clean_line(text), change))

    async def _try(self, server: ServerAddress, context: ssl.SSLContext) -> bool:
        """Whether this server was used."""
        try:
            link = await open_link(server, self._settings, context, connect=self._connect, timeout=self._deadline)
        except UnreachableError as error:
            self._note("warn", "server", f"{server}: {error}")
            if error.outcome == "tls":
                await self._show_certificate(server)
            return False
        self._note("ok", "server", f"{server}: connected")
        async with link.stream:
            if isinstance(link.stream, trio.SSLStream):
                self._describe_tls(link.stream)
            client = self._client(server, secure=link.secure)
            upgrade = await self._register(link.stream, client)
            if upgrade is None:
                await self._look(link.stream, client, trusted=link.secure)
        if upgrade is not None:
            self._note(
                "ok", "sts", f"the server wants TLS at port {upgrade}", f'write "ircs://{server.host}:{upgrade}"'
            )
            return await self._try(replace(server, port=upgrade, tls=True), context)
        return True

    def _client(self, server: ServerAddress, *, secure: bool) -> IRCClient:
        settings = self._settings
        login = replace(settings.login, nick=settings.login.nick[: NICK_LIMIT - len(_SUFFIX)] + _SUFFIX, alternates=())
        trace = self._trace
        return IRCClient(
            login,
            hold=not server.tls and server.is_name,
            tls=server.tls,
            secure=secure or settings.insecure,
            channels=settings.plans if self._join else (),
            trace=None if trace is None else lambda line: trace("<", mask_line(line)),
        )

    async def _show_certificate(self, server: ServerAddress) -> None:
        """The fingerprint of a certificate that is refused, for who wants to pin it."""
        pin = ("sha-256:",)
        try:
            stream = await self._connect(server.host, server.port)
            async with stream:
                await shake_hands(stream, server.host, make_context(TLSSettings(fingerprints=pin)), pin)
        except TLSRefusedError as error:
            found = str(error).rpartition("sha-256:")[2]
            if len(found) == 64:
                change = f'tls_fingerprint = ["sha-256:{found}"] accepts it, if that is what the server really has'
                self._note("FAIL", "tls", f"the certificate that came: sha-256:{found}", change)
        except (OSError, dial.RemoteError):
            return

    def _describe_tls(self, stream: trio.SSLStream[trio.abc.Stream]) -> None:
        text = f"{stream.version()}, {fingerprint(stream.getpeercert(binary_form=True) or b'')}"
        details = cast("dict[str, object]", stream.getpeercert() or {})
        if details:
            issuer = cast("tuple[tuple[tuple[str, str], ...], ...]", details.get("issuer", ()))
            names = [value for part in issuer for key, value in part if key in {"organizationName", "commonName"}]
            text += f", from {', '.join(names)}, valid until {details.get('notAfter')}"
        self._note("ok", "tls", text)

    async def _register(self, stream: trio.abc.Stream, client: IRCClient) -> int | None:
        """Until the client is ready; the port of an upgrade to TLS, if the server wants one."""
        client.start(trio.current_time())
        await self._pump(stream, client, (Ready, Ended, STSPort))
        for event in self._events:
            match event:
                case STSPort(port):
                    return port
                case STSDuration(seconds):
                    self._note("ok", "sts", f"TLS is required for {seconds} s after each connection")
                case LoginFailed(reason):
                    self._note("FAIL", "account", reason, "correct account, account_password_file or sasl")
                case Ended(reason):
                    self._note("FAIL", "registration", reason, "see the server's words")
        return None

    async def _look(self, stream: trio.abc.Stream, client: IRCClient, *, trusted: bool) -> None:
        if not client.registered:
            return
        self._describe_session(client)
        if self._settings.set_by is not None:
            self._describe_setting(client, trusted=trusted)
        if self._join:
            await self._join_channels(stream, client)
        began = trio.current_time()
        await self._send(stream, [client.ping()])
        if await self._pump(stream, client, (Ponged, Ended)):
            self._note("ok", "lag", f"{trio.current_time() - began:.2f} s")
        await self._send(stream, [client.quit("check done")])

    def _describe_session(self, client: IRCClient) -> None:
        state, login = client.state, self._settings.login
        self._note("ok", "nick", f"{state.nick} (the bot asks for {login.nick})")
        if len(login.nick) > state.isupport.nicklen:
            change = f"use a nick of at most {state.isupport.nicklen} characters"
            self._note("warn", "nick", f"{login.nick} is longer than this network allows", change)
        offered = " ".join(sorted(client.registration.offered)) or "none"
        self._note("ok", "capabilities", f"{' '.join(sorted(state.caps)) or 'none'} (offered: {offered})")
        if state.account is not None:
            by = f" by {client.registration.mechanism}" if client.registration.mechanism else ""
            self._note("ok", "account", f"logged in to {state.account}{by}")
        elif login.sasl or login.account is not None:
            self._note("FAIL", "account", "not logged in", "correct account, account_password_file, sasl or services")
        isupport = state.isupport
        tokens = [
            f"CASEMAPPING={isupport.casemapping}",
            f"NICKLEN={isupport.nicklen}",
            f"CHANNELLEN={isupport.channellen}",
            f"LINELEN={isupport.linelen}",
            *(f"{name}" for name, has in (("MONITOR", isupport.has_monitor), ("WHOX", isupport.has_whox)) if has),
        ]
        assumed = "" if isupport.received else " (assumed: the server tells nothing)"
        self._note("ok", "server limits", " ".join(tokens) + assumed)
        if state.bot:
            self._note("ok", "bot mode", "set")
        elif login.bot_mode:
            self._note("warn", "bot mode", "this server has no mode for bots")
        if not self._settings.owner:
            self._note("warn", "owner", "the bot does not name its owner", 'set owner = "..."')

    def _describe_setting(self, client: IRCClient, *, trusted: bool) -> None:
        state = client.state
        if not trusted:
            self._note("FAIL", "set_by", "the connection is neither verified by TLS nor local", "use ircs://")
        elif "account-tag" not in state.caps and not state.isupport.has_whox:
            self._note("FAIL", "set_by", "this server has neither account-tag nor WHOX", "remove set_by")
        else:
            self._note("ok", "set_by", "accounts can be proved")

    async def _join_channels(self, stream: trio.abc.Stream, client: IRCClient) -> None:
        wanted = {client.fold(plan.name) for plan in self._settings.plans}
        while wanted:
            if not await self._pump(stream, client, (ChannelJoined, ChannelLeft, Ended)):
                return
            event = self._events[-1]
            match event:
                case ChannelJoined(channel):
                    self._note("ok", "channel", f"{channel}: in")
                case ChannelLeft(channel, reason):
                    self._note("FAIL", "channel", f"{channel}: {reason}", f"ask the operators of {channel}")
                case _:
                    return
            wanted.discard(client.fold(channel))

    async def _pump(self, stream: trio.abc.Stream, client: IRCClient, until: tuple[type[Event], ...]) -> bool:
        """Read and answer until one of these events; False: the connection ended before."""
        while True:
            while self._waiting:
                self._events.append(event := self._waiting.popleft())
                if isinstance(event, until):
                    await self._send(stream, client.take_urgent())
                    return True
            await self._send(stream, client.take_urgent())
            with trio.CancelScope(deadline=client.deadline) as scope:
                data = await self._receive(stream)
            try:
                now = trio.current_time()
                self._waiting += client.tick(now) if scope.cancelled_caught else client.receive(data, now)
            except ProtocolError as error:
                self._note("FAIL", "connection", str(error))
                return False
            if not scope.cancelled_caught and not data:
                self._note("FAIL", "connection", "the server closed the connection")
                return False

    async def _receive(self, stream: trio.abc.Stream) -> bytes:
        try:
            return bytes(await stream.receive_some(4096))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return b""

    async def _send(self, stream: trio.abc.Stream, lines: list[bytes]) -> None:
        if self._trace is not None:
            for line in lines:
                self._trace(">", mask_line(line))
        if lines:
            try:
                await stream.send_all(b"".join(lines))
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return  # the next read finds the connection closed
