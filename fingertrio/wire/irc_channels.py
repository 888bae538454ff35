"""The channels of a bot: joining, being rejected, being thrown out, being invited. No I/O; the caller passes the time.

    WANTED ── JOIN ──> JOINING ── our own JOIN comes back ──> IN ── KICK ──> OUT, for good unless told otherwise
      ^                   │ 471 473 474 475 ...                │ PART
      └──── a pause ──────┴──> OUT                             └──> OUT

We are in a channel when the server shows our own JOIN, and only then. Channel operators decide who is in their channel:
a bot that was kicked stays away, and one that was not asked in does not ask.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence
from math import inf

from fingertrio.wire.irc import Message
from fingertrio.wire.irc_channel import FIRST_RETRY, REJOINS, Channel, ChannelPlan
from fingertrio.wire.irc_chanserv import UNBAN_SECONDS, ChanServ
from fingertrio.wire.irc_events import ChannelJoined, ChannelLeft, Event
from fingertrio.wire.irc_state import State

_JOIN_LIMIT = 400  # bytes of a JOIN line
_JOIN_SECONDS = 2.0  # between two JOIN lines
_ANSWER_SECONDS = 60.0  # until a JOIN without an answer is sent once more; servers with fakelag are slow
_LONGEST_RETRY = 6 * 3600.0
_NETSPLIT_RETRY = 300.0  # 437: a channel that a netsplit has locked
_SILENCE = 600.0  # after a message of ours was rejected
_UNINVITED_SECONDS = 600.0  # in a channel that an operator put us into
_DAY = 86_400.0

_INVITE_LIMIT = 20  # channels by invitation
_INVITES = 5  # a minute
_MINUTE = 60.0

_LOCKED = frozenset({"471", "473", "474", "475", "477", "489", "520", "926"})  # full, invite, ban, key, login, TLS, ...
_FINAL = frozenset({"475", "477", "403", "476", "479", "405"})  # not again before something is changed
_CANNOT_SEND = frozenset({"404", "482"})


class Channels:
    """All channels of one session.

    Args:
        state: of the session.
        plans: the channels to be in.
        rejoin: seconds after a KICK until we come back; None: never.
        accept: names of further channels whose invitations are accepted; None: every channel.
        ask_chanserv: ask ChanServ for help, once a channel.
    """

    def __init__(
        self,
        state: State,
        plans: Sequence[ChannelPlan] = (),
        *,
        rejoin: float | None = None,
        accept: Collection[str] | None = (),
        ask_chanserv: bool = False,
    ) -> None:
        self._state = state
        self._plans = tuple(plans)
        self._rejoin = rejoin
        self._accept = accept
        self._chanserv = ChanServ(state, is_wanted=ask_chanserv)
        self._channels: dict[str, Channel] = {}
        self._started = False
        self._next_join = -inf
        self._invitations: deque[float] = deque(maxlen=_INVITES)

    @property
    def deadline(self) -> float:
        """When `tick` has something to do."""
        if not self._started:
            return inf
        due = min((each.due for each in self._channels.values()), default=inf)
        leaving = min((each.leave_at for each in self._channels.values()), default=inf)
        return min(max(due, self._next_join) if due < inf else inf, leaving)

    @property
    def wanted(self) -> int:
        """How many channels are configured."""
        return len(self._plans)

    @property
    def inside(self) -> list[str]:
        """The configured or accepted channels that we are in."""
        return [each.name for each in self._channels.values() if each.inside and each.leave_at == inf]

    @property
    def missing(self) -> list[str]:
        """The configured channels that we are not in."""
        folded = {self._state.fold(plan.name): plan.name for plan in self._plans}
        return [name for key, name in folded.items() if key not in self._channels or not self._channels[key].inside]

    def is_inside(self, name: str) -> bool:
        """Whether we are in this channel as one that may hear us."""
        channel = self._find(name)
        return channel is not None and channel.inside and channel.leave_at == inf

    def may_speak(self, name: str, now: float) -> bool:
        """Whether the channel hears us: we are in it, and it has not rejected us lately."""
        channel = self._find(name)
        return channel is not None and self.is_inside(name) and now >= channel.silent_until

    def start(self, now: float) -> list[Event]:
        """The client is ready."""
        self._started = True
        return self._want(self._plans, now)

    def update(self, plans: Sequence[ChannelPlan], now: float) -> list[Event]:
        """The configuration has changed: leave what is not in it any more, join the rest."""
        folded = {self._state.fold(plan.name): plan for plan in plans}
        for key, channel in list(self._channels.items()):
            if key not in folded and not channel.invited:
                del self._channels[key]
                if channel.inside:
                    self._state.send("PART", channel.name)
        self._plans = tuple(plans)
        if not self._started:
            return []
        for key, plan in folded.items():
            if (known := self._channels.get(key)) is not None:
                known.plan, known.invited = plan, False
                if not known.inside:
                    known.due, known.joining, known.retry = now, 0, FIRST_RETRY
        return self._want([plan for key, plan in folded.items() if key not in self._channels], now)

    def logged_in(self, now: float) -> None:
        """900: channels that ask for a login can be tried again."""
        for channel in self._channels.values():
            if not channel.inside and channel.due == inf and not channel.times:
                channel.due, channel.joining = now, 0

    def handle(self, message: Message, now: float) -> list[Event]:
        """A line of the server."""
        command, params, own = message.command, message.params, self._state.is_own(message.source)
        match command:
            case "JOIN" if own and params:
                return self._joined(params[0], now)
            case "PART" if own and params:
                return self._left(params[0], "left", inf)
            case "KICK" if len(params) > 1 and self._state.is_me(params[1]):
                return self._kicked(params, now)
            case "INVITE" if len(params) > 1 and self._state.is_me(params[0]):
                self._invited(params[1], now)
            case "NOTICE":
                self._advised(message, now)
            case "470" if len(params) > 3:
                return self._forwarded(params[1], params[2], now)
            case _ if len(params) > 2 and command.isdigit():
                return self._numeric(command, params[1], params[-1], now)
            case "FAIL" if len(params) > 2:
                for param in params[2:-1]:
                    self._silence(param, now)
        return []

    def tick(self, now: float) -> list[Event]:
        """Send what is due."""
        events: list[Event] = []
        for key, channel in list(self._channels.items()):
            if now >= channel.leave_at:
                self._state.send("PART", channel.name)
                del self._channels[key]
        if self._started and now >= self._next_join:
            due = [each for each in self._channels.values() if each.due <= now]
            for channel in [each for each in due if each.joining > 1]:
                due.remove(channel)
                events += self._retry_later(channel, "the server does not answer JOIN", now)
            if due:
                self._join(due, now)
        return events

    def _want(self, plans: Sequence[ChannelPlan], now: float) -> list[Event]:
        events: list[Event] = []
        isupport = self._state.isupport
        counts: dict[str, int] = {}
        for plan in plans:
            channel = self._channels[self._state.fold(plan.name)] = Channel(plan, now)
            kind = plan.name[:1]
            counts[kind] = counts.get(kind, 0) + 1
            limit = isupport.channel_limit(kind)
            if len(plan.name) > isupport.channellen:
                reason = f"the name is longer than the {isupport.channellen} characters of this network"
            elif limit is not None and counts[kind] > limit:
                reason = f"this network allows {limit} channels"
            elif not self._state.is_channel(plan.name):
                reason = f"this network has no channels that start with {kind}"
            else:
                continue
            channel.due = inf
            events.append(ChannelLeft(plan.name, reason))
        return events

    def _join(self, due: list[Channel], now: float) -> None:
        """One line; those with a key come first, since keys belong to the names in their order."""
        due.sort(key=lambda channel: channel.plan.key is None)
        names: list[str] = []
        keys: list[str] = []
        for channel in due:
            key = channel.plan.key.reveal() if channel.plan.key is not None else ""
            if names and len(",".join([*names, channel.plan.name]) + ",".join([*keys, key])) > _JOIN_LIMIT:
                break
            names.append(channel.plan.name)
            keys += [key] if key else []
            channel.joining += 1
            channel.due = now + _ANSWER_SECONDS
        self._state.send("JOIN", ",".join(names), *([",".join(keys)] if keys else []))
        self._next_join = now + _JOIN_SECONDS

    def _joined(self, name: str, now: float) -> list[Event]:
        channel = self._find(name) or self._find_cut(name)
        uninvited = channel is None
        if channel is None:
            channel = self._channels[self._state.fold(name)] = Channel(ChannelPlan(name), invited=True)
            channel.leave_at = now + _UNINVITED_SECONDS
        channel.name, channel.inside, channel.due, channel.joining = name, True, inf, 0
        channel.retry = FIRST_RETRY
        return [ChannelJoined(name, uninvited)]

    def _left(self, name: str, reason: str, due: float, again_in: float | None = None) -> list[Event]:
        channel = self._find(name)
        if channel is None:
            return []
        channel.inside, channel.due, channel.joining = False, due, 0
        if channel.invited:
            del self._channels[self._state.fold(channel.plan.name)]
        return [ChannelLeft(channel.name, reason, again_in)]

    def _kicked(self, params: tuple[str, ...], now: float) -> list[Event]:
        channel = self._find(params[0])
        reason = f"kicked: {params[-1]}" if len(params) > 2 else "kicked"
        if channel is None or self._rejoin is None or channel.invited:
            return self._left(params[0], reason, inf)
        full = len(channel.times) == REJOINS and now - channel.times[0] < _DAY
        if full:
            return self._left(params[0], reason, inf)
        channel.times.append(now)
        return self._left(params[0], reason, now + self._rejoin, self._rejoin)

    def _invited(self, name: str, now: float) -> None:
        if not self._started or not self._state.is_channel(name) or self.is_inside(name):
            return
        if len(self._invitations) == _INVITES and now - self._invitations[0] < _MINUTE:
            return
        self._invitations.append(now)
        channel = self._find(name)
        if channel is None:
            accepted = self._accept is None or self._state.fold(name) in {
                self._state.fold(each) for each in self._accept
            }
            by_invitation = sum(each.invited for each in self._channels.values())
            if not accepted or by_invitation >= _INVITE_LIMIT:
                return
            channel = self._channels[self._state.fold(name)] = Channel(ChannelPlan(name), invited=True)
        channel.due, channel.joining = now, 0

    def _forwarded(self, old: str, new: str, now: float) -> list[Event]:
        """470: the server takes us to another channel than the one that we asked for."""
        if self._find(new) is None:
            self._state.send("PART", new)
            self._channels[self._state.fold(new)] = forwarded = Channel(ChannelPlan(new), invited=True)
            forwarded.leave_at = now + _UNINVITED_SECONDS
        channel = self._find(old)
        return [] if channel is None else self._retry_later(channel, f"the network forwards it to {new}", now)

    def _numeric(self, numeric: str, name: str, text: str, now: float) -> list[Event]:
        if numeric in _CANNOT_SEND:
            self._silence(name, now)
            return []
        channel = self._find(name)
        if channel is None or channel.inside or not channel.joining:
            return []
        if numeric == "437":
            return self._out(channel, text, _NETSPLIT_RETRY, now)
        if numeric not in _LOCKED and numeric not in _FINAL:
            return []
        pause: float | None = None if numeric in _FINAL else channel.retry
        if self._chanserv.ask(numeric, channel.plan.name) == "UNBAN":
            pause = UNBAN_SECONDS
        return self._out(channel, text, pause, now)

    def _advised(self, message: Message, now: float) -> None:
        """Perhaps the key that we asked ChanServ for."""
        name, key = self._chanserv.key(message) or ("", None)
        channel = self._find(name)
        if channel is not None and not channel.inside:
            channel.plan = ChannelPlan(channel.plan.name, key)
            channel.due, channel.joining = now, 0

    def _retry_later(self, channel: Channel, reason: str, now: float) -> list[Event]:
        return self._out(channel, reason, channel.retry, now)

    def _out(self, channel: Channel, reason: str, pause: float | None, now: float) -> list[Event]:
        """We are not in; after `pause` seconds we try again, None: not by ourselves."""
        if pause == channel.retry:
            channel.retry = min(channel.retry * 2, _LONGEST_RETRY)
        channel.due, channel.joining = (inf if pause is None else now + pause), 0
        return [ChannelLeft(channel.name, reason, pause)]

    def _silence(self, name: str, now: float) -> None:
        if (channel := self._find(self._state.split_target(name)[1])) is not None:
            channel.silent_until = now + _SILENCE

    def _find(self, name: str) -> Channel | None:
        return self._channels.get(self._state.fold(name))

    def _find_cut(self, name: str) -> Channel | None:
        """A channel that we are joining, whose name the server has cut to `name`."""
        folded = self._state.fold(name)
        for key, channel in self._channels.items():
            if channel.joining and key.startswith(folded) and len(key) > len(folded):
                del self._channels[key]
                self._channels[folded] = channel
                return channel
        return None
