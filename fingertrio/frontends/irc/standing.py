"""How a network stands, for its operator: conditions, numbers, and one log line for each change.

It looks at the session's state after each event of its own, so a nick that was lost in any way is noticed in the same
way.
"""

from __future__ import annotations

from collections.abc import Callable

import trio

from fingertrio.frontends.irc.reports import NetworkReports
from fingertrio.frontends.irc.session import Parts
from fingertrio.frontends.irc.settings import NetworkSettings
from fingertrio.wire.irc_ends import Ended, Verdict
from fingertrio.wire.irc_events import (
    AccountChanged,
    ChannelJoined,
    ChannelLeft,
    Event,
    LoginFailed,
    NickChanged,
    Ready,
    Registered,
)

# What an operator can do about a network that has stopped.
_ADVICE = {
    Verdict.BANNED: "ask the network's operators why, then reload; after_ban makes it try again by itself",
    Verdict.KILLED: "an operator disconnected the bot three times in a day: ask why, then reload",
    Verdict.PASSWORD: "correct password_file, then reload",
}
_SASL_ADVICE = "correct account, account_password_file or sasl, then reload"
_OTHER_ADVICE = "correct the cause, then reload"


class Standing:
    """Reports the state of one network."""

    def __init__(self, reports: NetworkReports) -> None:
        self.settings: NetworkSettings | None = None
        self.is_stopped = False
        self._reports = reports
        self._parts: Parts | None = None
        self._server = ""
        self._warned = False  # logged that the network is unreachable; the end of a session is always logged

    def begin(self) -> None:
        """The network is started."""
        self._reports.degraded("connection", "not connected yet", quiet=True)

    def session_began(self, server: str, parts: Parts, settings: NetworkSettings) -> None:
        """A connection is open."""
        self._server, self._parts, self.settings = server, parts, settings

    def session_ended(self) -> None:
        """It is closed."""
        self._parts = None
        numbers = self._reports.numbers
        numbers.nick_wished = numbers.logged_in = False
        numbers.channels_in = numbers.queue_lines = 0

    def event(self, event: Event) -> None:
        """Something happened to us."""
        if self._parts is None or self.settings is None:
            return
        now = trio.current_time()
        match event:
            case Registered(nick):
                self._registered(nick)
            case Ready():
                self._ready(self._parts, self.settings)
            case LoginFailed(reason):
                self._reports.degraded("account", reason)
            case AccountChanged(None):
                self._reports.degraded("account", "logged out by the network's services")
            case NickChanged(nick):
                self._reports.server_event("irc_nick_changed", now, nick=nick)
            case ChannelJoined(channel, uninvited):
                self._reports.channel_event("irc_joined", now, worse=False, channel=channel, uninvited=uninvited)
            case ChannelLeft(channel, reason, again_in):
                self._reports.channel_event(
                    "irc_not_in_channel", now, worse=True, channel=channel, reason=reason, again_in=again_in
                )
        self._look(self._parts)

    def lost(self, end: Ended, server: str, pause: float, *, was_registered: bool) -> None:
        """An attempt or a session ended, and another attempt follows."""
        log: Callable[..., None] = self._reports.info
        event = "irc_still_unreachable"
        if was_registered or not self._warned:
            log = self._reports.warning
            event = "irc_lost" if was_registered else "irc_unreachable"
        if end.outcome == "tls":
            event = "irc_tls_refused"
        log(event, server=server, reason=end.reason, pause=round(pause, 1))
        self._warned = True
        self._reports.degraded("connection", end.reason, quiet=True)

    def stopped(self, end: Ended, server: str) -> None:
        """No attempt can succeed until the operator changes something."""
        self.is_stopped = True
        advice = _SASL_ADVICE if end.outcome == "sasl" else _ADVICE.get(end.verdict, _OTHER_ADVICE)
        self._reports.error("irc_stopped", server=server, reason=end.reason, do=advice)
        self._reports.degraded("connection", end.reason, quiet=True)
        self._reports.degraded("stopped", end.reason, quiet=True)

    def _registered(self, nick: str) -> None:
        self.is_stopped = self._warned = False
        self._reports.recovered("connection", quiet=True)
        self._reports.recovered("stopped", quiet=True)
        self._reports.numbers.connects["registered"] += 1
        self._reports.info("irc_registered", server=self._server, nick=nick)

    def _ready(self, parts: Parts, settings: NetworkSettings) -> None:
        if (obstacle := parts.setting.obstacle()) is not None:
            self._reports.warning("irc_set_unavailable", reason=obstacle)
        login = settings.login
        wants_account = bool(login.sasl) or login.account_password is not None
        if wants_account and parts.client.state.account is None and not self._reports.is_degraded("account"):
            self._reports.degraded("account", "not logged in: the server offers no way that is configured")

    def _look(self, parts: Parts) -> None:
        """Compare the session with what is wanted."""
        client, numbers, reports = parts.client, self._reports.numbers, self._reports
        held = client.regain.is_held
        numbers.nick_wished = held
        numbers.logged_in = client.state.account is not None
        missing = client.channels.missing
        numbers.channels_wanted = client.channels.wanted
        numbers.channels_in = client.channels.wanted - len(missing)
        if held:
            reports.recovered("nick")
        elif client.registered:
            wish = self.settings.login.nick if self.settings is not None else ""
            reports.degraded("nick", f"the nick is {client.nick} instead of {wish}")
        if numbers.logged_in:
            reports.recovered("account")
        if not client.is_ready:
            return
        if missing:
            reports.degraded("channel", f"not in {', '.join(missing)}", quiet=True)
        else:
            reports.recovered("channel", quiet=True)
