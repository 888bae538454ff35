"""What other people say and do, as far as a bot needs to know: messages, and who is gone. No I/O, no time."""

from __future__ import annotations

from fingertrio.wire import ProtocolError
from fingertrio.wire.irc import Message, Source, is_nick
from fingertrio.wire.irc_ends import Ended, Verdict, end_by_error
from fingertrio.wire.irc_events import (
    CTCPRequest,
    Event,
    NickChanged,
    PrivateMessage,
    PrivateNotice,
    Undeliverable,
    UserGone,
    UserRenamed,
)
from fingertrio.wire.irc_numerics import GONE, TOO_MANY_TARGETS, UNDELIVERABLE
from fingertrio.wire.irc_state import State
from fingertrio.wire.irc_tags import Batches, is_automated, sent_at

# Commands with fewer params are malformed.
LEAST_PARAMS = {"PING": 1, "PRIVMSG": 2, "NOTICE": 2, "NICK": 1, "KILL": 1, "BATCH": 1, "001": 1}


class Conversation:
    """Reads what concerns other people.

    Args:
        state: of the session.
        services: the nick of the network's services, which is never answered.
    """

    def __init__(self, state: State, services: str = "") -> None:
        self._state = state
        self._services = services.partition("@")[0]
        self._batches = Batches()

    def handle(self, message: Message) -> Event | None:
        """A line of the server, of any kind."""
        match message.command:
            case "PRIVMSG" | "NOTICE":
                return self._said(message) if message.command == "PRIVMSG" else self._noticed(message)
            case "NICK":
                return self._renamed(message)
            case "QUIT" if message.source is not None:
                return self._gone(message.source.nick)
            case "KICK" if len(message.params) > 1:
                return self._gone(message.params[1])
            case "KILL":
                return self._killed(message)
            case "BATCH":
                self._batches.handle(message.params[0], message.params[1:], message.tags)
        return self._numeric(message) if message.command.isdigit() else None

    def _said(self, message: Message) -> Event | None:
        """A CTCP request stands between two 0x01 bytes; some clients omit the second."""
        state, source, (target, text, *_) = self._state, message.source, message.params
        if source is None or state.is_me(source.nick) or not self._can_answer(source):
            return None
        channel: str | None = None
        if not state.is_me(target):
            if not state.is_channel(state.split_target(target)[1]):
                return None
            channel = target
        automated = is_automated(source, message.tags) or self._is_services(source)
        if text.startswith("\x01"):
            if channel is not None or automated:
                return None
            command, _, argument = text[1:].partition("\x01")[0].partition(" ")
            return CTCPRequest(source, command.upper(), argument)
        return PrivateMessage(
            source,
            text,
            sent_at=sent_at(message.tags),
            replayed=self._batches.has(message.tags),
            automated=automated,
            account=(message.tags.get("account") or None) if "account-tag" in state.caps else None,
            channel=channel,
        )

    def _noticed(self, message: Message) -> Event | None:
        state, source = self._state, message.source
        if source is None or source.user is None or source.host is None:
            return None
        if not state.is_me(message.params[0]) or state.is_me(source.nick) or self._batches.has(message.tags):
            return None
        return PrivateNotice(source)

    def _can_answer(self, source: Source) -> bool:
        """Whether `source` is a person. Servers that send ISUPPORT always send users with user and host."""
        if source.is_server or not is_nick(source.nick):
            return False
        return (source.user is not None and source.host is not None) or not self._state.isupport.received

    def _is_services(self, source: Source) -> bool:
        return bool(self._services) and self._state.fold(source.nick) == self._state.fold(self._services)

    def _renamed(self, message: Message) -> Event | None:
        source, nick = message.source, message.params[0]
        if source is None:
            return None
        if not is_nick(nick):
            raise ProtocolError("invalid nickname")
        if not self._state.is_me(source.nick):
            return UserRenamed(source.nick, nick)
        self._state.take_nick(nick)
        return NickChanged(nick)

    def _gone(self, nick: str) -> Event | None:
        return UserGone(nick) if nick and not self._state.is_me(nick) else None

    def _killed(self, message: Message) -> Event | None:
        """KILL: its target was disconnected."""
        nick = message.params[0]
        if not self._state.is_me(nick):
            return self._gone(nick)
        reason = message.params[-1] if len(message.params) > 1 else ""
        killer = message.source.nick if message.source is not None else ""
        end = end_by_error(f"Killed ({killer or 'server.'} ({reason}))", registered=True)
        text = reason if reason.startswith("Killed") else f"killed by {killer}: {reason}"
        return Ended(text, end.verdict) if end.verdict is Verdict.KILLED else None

    def _numeric(self, message: Message) -> Event | None:
        if not self._state.registered or len(message.params) < 2:
            return None
        numeric, target = message.command, message.params[1]
        if numeric in GONE:
            return UserGone(target)
        if numeric in UNDELIVERABLE and not self._state.is_me(target):
            return Undeliverable(target, paused=numeric in TOO_MANY_TARGETS)
        return None
