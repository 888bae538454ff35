"""Which messages on IRC are questions to us, and which are not answered. No I/O.

Two programs that answer each other's answers never stop, and a bot that answers old messages or services is a nuisance.
So a message is not answered if it

- comes from a bot, from a service of the network, or from somebody whom the operator ignores;
- is old: a bouncer or the server replays it;
- looks like one of our answers, or comes from an asker that behaves like a program (`wire/irc_askers`).

In a channel only a line that begins with our nick is for us. Everything else there costs one comparison.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from fingertrio.frontends.irc.answer import is_answer
from fingertrio.frontends.irc.settings import NetworkSettings
from fingertrio.wire.irc_askers import Askers
from fingertrio.wire.irc_client import IRCClient
from fingertrio.wire.irc_events import PrivateMessage
from fingertrio.wire.irc_format import strip_formatting
from fingertrio.wire.irc_masks import matches_any
from fingertrio.wire.irc_requests import addressed, asks_for_bots
from fingertrio.wire.irc_tags import is_stamped
from fingertrio.wire.text import clean_line

# A message sent longer ago is a replay: 30 s of lag, and 5 s by which the server's clock and ours may differ.
_REPLAY_AGE = timedelta(seconds=35)

BOTLIST = "!botlist"
_BOTLIST_SECONDS = 30.0  # between two introductions in one channel
_BOTLIST_CHANNELS = 100


@dataclass(frozen=True, slots=True)
class Heard:
    """A message that is for us.

    Attributes:
        asker: identifies the person for limits: their account, else user@host, else the nick.
        text: the question, clean; in a channel without our nick before it.
        refused: why it is not answered; None: it is.
    """

    asker: str
    text: str
    refused: str | None = None


class Hearing:
    """What one session pays attention to.

    Args:
        client: our nick and the server's case mapping.
        settings: of the network.
        askers: who is muted.
        wall_clock: the time of day, to compare with the times in messages.
    """

    def __init__(
        self,
        client: IRCClient,
        settings: NetworkSettings,
        askers: Askers,
        wall_clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._client = client
        self._askers = askers
        self._wall_clock = wall_clock
        self._introduced: dict[str, float] = {}  # by channel
        self.adopt(settings)

    def adopt(self, settings: NetworkSettings) -> None:
        """Use other settings from now on."""
        self._settings = settings
        self._by_channel = {self._client.fold(each.plan.name): each for each in settings.channels}

    def hear(self, message: PrivateMessage, now: float) -> Heard | None:
        """What `message` is to us; None: nothing."""
        text = clean_line(strip_formatting(message.text))
        if message.channel is not None:
            found = self._in_channel(text, message.channel, now)
            if found is None:
                return None
            text = found
        asker = self.asker(message)
        if not text:
            return None
        return Heard(asker, text, self._refusal(message, text, asker, now))

    def asker(self, message: PrivateMessage) -> str:
        """The key for limits: anyone can change their nick, so it comes last."""
        source = message.source
        if message.account is not None:
            return f"account {self._client.fold(message.account)}"
        return self._client.fold(source.nick) if source.host is None else f"{source.user}@{source.host.lower()}"

    def _in_channel(self, text: str, target: str, now: float) -> str | None:
        channel = self._client.fold(self._client.state.split_target(target)[1])
        plan = self._by_channel.get(channel)
        if plan is not None and not plan.answer:
            return None
        if (found := addressed(text, self._client.nick, self._client.fold, plan.prefix if plan else "")) is not None:
            return found or "help"
        if not self._settings.botlist or not asks_for_bots(text):
            return None
        if now - self._introduced.get(channel, -_BOTLIST_SECONDS) < _BOTLIST_SECONDS:
            return None
        self._introduced.pop(channel, None)
        self._introduced[channel] = now
        if len(self._introduced) > _BOTLIST_CHANNELS:
            del self._introduced[next(iter(self._introduced))]
        return BOTLIST

    def _refusal(self, message: PrivateMessage, text: str, asker: str, now: float) -> str | None:
        """The reason not to answer, or None."""
        if message.automated:
            return "bot"
        if matches_any(self._settings.ignore, message.source, self._client.fold):
            return "ignored"
        if message.replayed or is_stamped(text):
            return "replay"
        if message.sent_at is not None and self._wall_clock() - message.sent_at > _REPLAY_AGE:
            return "replay"
        if is_answer(text):
            self._askers.mute(asker, now)
            return "loop"
        return None if self._askers.hears(asker, now) else "loop"
