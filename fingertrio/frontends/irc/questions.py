"""Questions on one IRC connection: asking the service, and the replies until they are sent.

A private message is a question, its whole text is the name. Statuses are answered by PRIVMSG, as the people who ask
expect, and everything else by NOTICE, which no program may answer (RFC 1459 section 4.4.2). Which messages are
questions is decided in `hearing`.

A reply belongs to the nick and address that asked. It is dropped as soon as the nick is known to be gone, or to belong
to another person.
"""

from __future__ import annotations

from collections import deque

import trio

from fingertrio.backend import NO_PLAN, NO_SUCH_USER, BackendError
from fingertrio.frontends.irc.answer import compose, compose_in_channel, introduction, usage
from fingertrio.frontends.irc.hearing import BOTLIST, Hearing
from fingertrio.frontends.irc.question import Question
from fingertrio.frontends.irc.reports import NetworkReports
from fingertrio.frontends.irc.setting import Setting
from fingertrio.frontends.irc.settings import NetworkSettings
from fingertrio.names import is_user_name
from fingertrio.service import FingerService
from fingertrio.wire.irc import Source
from fingertrio.wire.irc_askers import Askers
from fingertrio.wire.irc_client import IRCClient
from fingertrio.wire.irc_events import (
    CTCPRequest,
    PrivateMessage,
    PrivateNotice,
    Undeliverable,
    UserGone,
    UserRenamed,
)
from fingertrio.wire.irc_outbox import Outbox, Rejection, Reply, TokenBucket
from fingertrio.wire.irc_requests import status_to_set
from fingertrio.wire.irc_split import split_text

# Concurrent calls to the service. With its deadline of 5 s, 16 calls complete at a rate of three a second in the worst
# case; the flood rule allows one reply every two seconds.
_ASKING_LIMIT = 16

# Replies admitted: one a second, 64 in advance. This limits the log lines about them. The flood rule alone does not,
# since a server can make us drop replies unsent.
_ADMIT_SECONDS = 1.0
_ADMIT_BURST = 64

# CTCP replies delay answers: one every ten seconds, three in advance.
_CTCP_SECONDS = 10.0
_CTCP_BURST = 3

# Seconds for which a target is left alone after the server said that we write to too many.
_TARGET_PAUSE = 60.0
_PAUSED_LIMIT = 100

_HELP = frozenset({"help", "?"})
BUSY = "I am busy, please try again in a minute"


class Questions:
    """The questions of one connection.

    Args:
        client: the state of the session: our nick, case mapping and line length.
        settings: of the network.
        service: provides the statuses.
        reports: logs the questions and counts those that are not answered.
        askers: who is muted.
        hearing: decides which messages are questions.
        setting: sets statuses.
    """

    def __init__(
        self,
        client: IRCClient,
        settings: NetworkSettings,
        service: FingerService,
        reports: NetworkReports,
        *,
        askers: Askers,
        hearing: Hearing,
        setting: Setting,
        burst: int,
    ) -> None:
        self.outbox: Outbox[Reply] = Outbox(seconds=settings.flood_seconds, burst=burst)
        self.due = trio.Event()  # the outbox has new lines
        self.settled = trio.Event()  # we are leaving, and no question is open
        self.settings = settings
        self._client = client
        self._service = service
        self._reports = reports
        self._askers = askers
        self._hearing = hearing
        self._setting = setting
        self._admissions = TokenBucket(seconds=_ADMIT_SECONDS, burst=_ADMIT_BURST)
        self._ctcp = TokenBucket(seconds=_CTCP_SECONDS, burst=_CTCP_BURST)
        self._paused: dict[str, float] = {}
        self._waiting: deque[Question] = deque()  # for the service
        self._workers = 0
        self._leaving = False

    def adopt(self, settings: NetworkSettings) -> None:
        """Use other settings from now on."""
        self.settings = settings
        self._hearing.adopt(settings)

    def leave(self) -> None:
        """Accept no more questions."""
        self._leaving = True
        self._settle()

    def hear(self, message: PrivateMessage, nursery: trio.Nursery) -> str | None:
        """Handle a message; returns a NOTICE for its sender that must not wait, mostly none."""
        now = trio.current_time()
        if message.channel is None:
            self._drop_impostors(message.source)
        heard = None if self._leaving else self._hearing.hear(message, now)
        if heard is None:
            return None
        if heard.refused is not None or now < self._paused.get(self._client.fold(message.source.nick), now):
            self._reports.refused(heard.refused or "refused")
            return None
        question = Question(message, heard)
        sets = message.channel is None and self._setting.is_configured and status_to_set(heard.text) is not None
        if not sets and (heard.text.lower() in _HELP or heard.text == BOTLIST or not is_user_name(heard.text)):
            return self._explain(question)
        if not sets and self._askers.is_repeated(heard.asker, heard.text, now):
            self._reports.refused("loop")
            return None
        question.firm = sets
        if (rejection := self._admit(question)) is not None:
            return self._apologize(question, rejection)
        if sets:
            question.proof = self._setting.begin(message)
        self._waiting.append(question)
        if self._workers < _ASKING_LIMIT:
            self._workers += 1
            nursery.start_soon(self._work)
        return None

    def hear_ctcp(self, request: CTCPRequest) -> None:
        """Answer a CTCP request, at a limited rate."""
        if self._leaving or (text := self._client.ctcp_reply(request)) is None:
            return
        asker = self._hearing.asker(PrivateMessage(request.source, ""))
        reply = Reply(asker, request.source.nick, trio.current_time())
        if self._ctcp.take(trio.current_time()) and self._admit(reply) is None:
            self._put(reply, [text])
        else:
            self._reports.refused("ctcp")

    def note(self, event: UserGone | Undeliverable | UserRenamed | PrivateNotice) -> None:
        """Somebody cannot be reached any more, or has another nick."""
        match event:
            case UserGone(nick):
                self._drop(nick, "gone")
            case Undeliverable(nick, paused):
                self._drop(nick, "refused")
                if paused:
                    self._pause(nick)
            case UserRenamed(old, new):
                self._rename(old, new)
            case PrivateNotice(source):
                self._drop_impostors(source)

    def _drop(self, nick: str, reason: str) -> None:
        """Send nothing more to `nick`; `reason` is counted for each reply."""
        folded = self._client.fold(nick)
        for reply in self.outbox.open:
            if folded in {self._client.fold(reply.nick), self._client.fold(reply.target)}:
                self._reports.refused(reason)
                self.close(reply)

    def _pause(self, target: str) -> None:
        """The server says that we write to too many people: answer nothing from `target` for a while."""
        now = trio.current_time()
        self._paused = {name: until for name, until in self._paused.items() if until > now}
        if len(self._paused) < _PAUSED_LIMIT:
            self._paused[self._client.fold(target)] = now + _TARGET_PAUSE

    def _rename(self, old: str, new: str) -> None:
        """An asker has another nick."""
        folded = self._client.fold(old)
        for reply in self.outbox.open:
            if self._client.fold(reply.nick) == folded:
                if reply.target == reply.nick:
                    reply.target = new
                reply.nick = new

    def drop_expired(self) -> None:
        """Drop the replies that have waited too long."""
        for reply in self.outbox.expired(trio.current_time()):
            self._reports.refused("stale")
            self.close(reply)

    def sent(self, reply: Reply, size: int) -> None:
        """A line of a reply was sent, `size` bytes."""
        if isinstance(reply, Question):
            reply.size += size
        if not reply.lines and reply in self.outbox:  # it may have been dropped while its line was being sent
            self.close(reply)

    def close(self, reply: Reply) -> None:
        """A reply was sent, or is dropped. Either way its question is logged."""
        self.outbox.close(reply)
        if isinstance(reply, Question):
            took = trio.current_time() - reply.received_at
            peer, observer = str(reply.message.source), self._reports.observer
            observer.query("irc", peer, reply.message.text, reply.outcome, took, reply.size)
            observer.flush()
        self._settle()

    def _settle(self) -> None:
        if self._leaving and not self.outbox.open:
            self.settled.set()

    def _drop_impostors(self, source: Source) -> None:
        """`source` has written to us: drop the replies to its nick at another address, which has lost the nick."""
        folded = self._client.fold(source.nick)
        for reply in self.outbox.open:
            if isinstance(reply, Question) and self._client.fold(reply.nick) == folded:
                asked = reply.message.source
                if (asked.user, asked.host) != (source.user, source.host):
                    self._reports.refused("gone")
                    self.close(reply)

    def _explain(self, question: Question) -> str | None:
        """Tell how to ask: when asked for, and once in a while to an asker whose text is not a name."""
        asker, now = question.asker, question.received_at
        if question.name == BOTLIST:
            wanted = True
        elif question.name.lower() in _HELP:
            wanted = not self._askers.is_repeated(asker, "help", now)
        else:
            self._askers.failed(asker, now)
            wanted = self._askers.may_tell_usage(asker, now)
        if not wanted:
            self._reports.refused("loop")
            return None
        if (rejection := self._admit(question)) is not None:
            return self._apologize(question, rejection)
        question.outcome = "bad"
        if question.name == BOTLIST:
            self._put(question, [introduction(self._client.nick, self.settings.owner)])
        else:
            question.target = question.nick
            self._put(question, [usage(self._client.nick, self.settings.owner)])
        return None

    def _admit(self, reply: Reply) -> Rejection | None:
        now = reply.received_at
        self.outbox.asked(reply.asker, now)
        may_log = now >= self._admissions.ready_at
        rejection = self.outbox.admit(reply) if may_log else Rejection.BUSY
        if rejection is Rejection.BUSY and (other := self.outbox.yielding(reply.asker, now)) is not None:
            self._reports.refused(rejection)
            self.outbox.close(other)  # not logged: one log line for both
            return self.outbox.admit(reply)
        if rejection is None:
            self._admissions.charge(now)
        return rejection

    def _apologize(self, question: Question, rejection: Rejection) -> str | None:
        self._reports.refused(rejection)
        now = question.received_at
        self._askers.forget_question(question.asker, question.name)
        if self.outbox.has_token(now) and self._askers.may_tell_busy(question.asker, now):
            return BUSY
        return None

    async def _work(self) -> None:
        """Ask the service for the waiting questions, in their order."""
        try:
            while self._waiting:
                question = self._waiting.popleft()
                if question not in self.outbox:
                    continue
                status = status_to_set(question.name) if question.message.channel is None else None
                if status is not None and self._setting.is_configured:
                    text, question.outcome = await self._setting.answer(question.message, status, question.proof)
                    self._put(question, split_text(text, self._client.room(question.command, question.target))[:1])
                else:
                    await self._answer(question)
        finally:
            self._workers -= 1

    async def _answer(self, question: Question) -> None:
        stale_since = None
        try:
            found = await self._service.ask_user(question.name)
        except BackendError as error:
            text = error.public_message
            self._askers.forget_question(question.asker, question.name)
        else:
            stale_since = found.stale_since
            if found.value is None:
                question.outcome, text = "unknown", NO_SUCH_USER
                self._askers.failed(question.asker, trio.current_time())
            else:
                question.outcome, text = "ok", found.value.status or NO_PLAN
                self._askers.succeeded(question.asker)
        in_channel = question.message.channel is not None
        if question.outcome == "ok":
            question.command = "PRIVMSG" if in_channel else self.settings.reply
        elif in_channel:
            question.target, in_channel = question.nick, False  # a channel need not read of it
        room = self._client.room(question.command, question.target)
        if in_channel:
            me, name = self._client.nick, question.name
            self._put(question, [compose_in_channel(question.nick, me, name, text, room, stale_since=stale_since)])
        else:
            self._put(question, compose(question.name, text, room, stale_since=stale_since))

    def _put(self, reply: Reply, lines: list[str]) -> None:
        self.outbox.put(reply, lines)
        self.due.set()
