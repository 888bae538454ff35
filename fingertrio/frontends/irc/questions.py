"""Questions on one IRC connection: which to answer, asking the service, and the replies until they are sent.

A private message is a question, its whole text is the name. Statuses are answered by PRIVMSG, as the people who ask
expect, and everything else by NOTICE, which no program may answer (RFC 1459 section 4.4.2). Some programs send their
answers by PRIVMSG; so that two of them never talk without end, a message is not answered if it

- looks like one of our answers, or comes from an asker that behaves like a program (`wire/irc_askers`);
- comes from a bot or a service of the network, or is old: a bouncer or the server replays it.

A reply belongs to the nick and address that asked. It is dropped as soon as the nick is known to be gone, or to belong
to another person.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import trio

from fingertrio.backend import NO_PLAN, NO_SUCH_USER, BackendError
from fingertrio.frontends.irc.answer import compose, is_answer, usage
from fingertrio.names import is_user_name
from fingertrio.observe.observer import Observer
from fingertrio.service import FingerService
from fingertrio.wire.irc import Source
from fingertrio.wire.irc_askers import Askers
from fingertrio.wire.irc_client import IRCClient
from fingertrio.wire.irc_events import CTCPRequest, PrivateMessage
from fingertrio.wire.irc_format import strip_formatting
from fingertrio.wire.irc_outbox import Outbox, Rejection, Reply, TokenBucket
from fingertrio.wire.irc_tags import is_stamped
from fingertrio.wire.text import clean_line

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

# A message sent longer ago is a replay: 30 s of lag, and 5 s by which the server's clock and ours may differ.
_REPLAY_AGE = timedelta(seconds=35)

_HELP = frozenset({"help", "?"})
BUSY = "I am busy, please try again in a minute"


class Question(Reply):
    """A question, with the data for its log line."""

    def __init__(self, source: Source, asker: str, asked: str, name: str) -> None:
        super().__init__(asker, source.nick, trio.current_time())
        self.source = source
        self.asked = asked
        self.name = name  # to look up
        self.outcome = "error"
        self.size = 0  # bytes sent


class Questions:
    """The questions of one connection.

    Args:
        client: the state of the session: our nick, case mapping and line length.
        service: provides the statuses.
        observer: logs the questions and counts those that are not answered.
        wall_clock: the time of day, to compare with the times in messages.
    """

    def __init__(
        self,
        client: IRCClient,
        service: FingerService,
        observer: Observer,
        wall_clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.outbox: Outbox[Reply] = Outbox()
        self.due = trio.Event()  # the outbox has new lines
        self.settled = trio.Event()  # we are leaving, and no question is open
        self._client = client
        self._service = service
        self._observer = observer
        self._wall_clock = wall_clock
        self._askers = Askers()
        self._admissions = TokenBucket(seconds=_ADMIT_SECONDS, burst=_ADMIT_BURST)
        self._ctcp = TokenBucket(seconds=_CTCP_SECONDS, burst=_CTCP_BURST)
        self._waiting: deque[Question] = deque()  # for the service
        self._workers = 0
        self._leaving = False

    def leave(self) -> None:
        """Accept no more questions."""
        self._leaving = True
        self._settle()

    def hear(self, message: PrivateMessage, nursery: trio.Nursery) -> str | None:
        """Handle a private message; returns a NOTICE for its sender that must not wait, mostly none."""
        text = clean_line(strip_formatting(message.text))
        asker = self._asker(message.source)
        self._drop_impostors(message.source, asker)
        if not text or self._leaving:
            return None
        if (reason := self._ignores(message, text, asker)) is not None:
            self._observer.refused("irc", reason)
            return None
        question = Question(message.source, asker, message.text, text)
        if text.lower() in _HELP or not is_user_name(text):
            return self._explain(question)
        if self._askers.is_repeated(asker, text, question.received_at):
            self._observer.refused("irc", "loop")
            return None
        if (rejection := self._admit(question)) is not None:
            return self._apologize(question, rejection)
        self._waiting.append(question)
        if self._workers < _ASKING_LIMIT:
            self._workers += 1
            nursery.start_soon(self._work)
        return None

    def hear_ctcp(self, request: CTCPRequest) -> None:
        """Answer a CTCP request, at a limited rate."""
        if self._leaving or (text := self._client.ctcp_reply(request)) is None:
            return
        reply = Reply(self._asker(request.source), request.source.nick, trio.current_time())
        if self._ctcp.take(trio.current_time()) and self._admit(reply) is None:
            self._put(reply, [text])
        else:
            self._observer.refused("irc", "ctcp")

    def drop(self, nick: str, reason: str) -> None:
        """Send nothing more to `nick`; `reason` is counted for each reply."""
        folded = self._client.fold(nick)
        for reply in self.outbox.open:
            if self._client.fold(reply.target) == folded:
                self._observer.refused("irc", reason)
                self.close(reply)

    def rename(self, old: str, new: str) -> None:
        """An asker has another nick."""
        folded = self._client.fold(old)
        for reply in self.outbox.open:
            if self._client.fold(reply.target) == folded:
                reply.target = new

    def drop_expired(self) -> None:
        """Drop the replies that have waited too long."""
        for reply in self.outbox.expired(trio.current_time()):
            self._observer.refused("irc", "stale")
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
            self._observer.query("irc", str(reply.source), reply.asked, reply.outcome, took, reply.size)
            self._observer.flush()
        self._settle()

    def _settle(self) -> None:
        if self._leaving and not self.outbox.open:
            self.settled.set()

    def _asker(self, source: Source) -> str:
        """The key for limits: user@host, since anyone can change their nick; the nick if there is no host."""
        return self._client.fold(source.nick) if source.host is None else f"{source.user}@{source.host.lower()}"

    def _drop_impostors(self, source: Source, asker: str) -> None:
        """Drop the replies to another address with the same nick: that person does not have the nick any more."""
        folded = self._client.fold(source.nick)
        for reply in self.outbox.open:
            if reply.asker != asker and self._client.fold(reply.target) == folded:
                self._observer.refused("irc", "gone")
                self.close(reply)

    def _ignores(self, message: PrivateMessage, text: str, asker: str) -> str | None:
        """The reason not to answer, or None."""
        now = trio.current_time()
        if message.automated:
            return "bot"
        if message.replayed or is_stamped(text):
            return "replay"
        if message.sent_at is not None and self._wall_clock() - message.sent_at > _REPLAY_AGE:
            return "replay"
        if is_answer(text):
            self._askers.mute(asker, now)
            return "loop"
        return None if self._askers.hears(asker, now) else "loop"

    def _explain(self, question: Question) -> str | None:
        """Tell how to ask: when asked for, and once in a while to an asker whose text is not a name."""
        asker, now = question.asker, question.received_at
        if question.name.lower() in _HELP:
            wanted = not self._askers.is_repeated(asker, "help", now)
        else:
            self._askers.failed(asker, now)
            wanted = self._askers.may_tell_usage(asker, now)
        if not wanted:
            self._observer.refused("irc", "loop")
            return None
        if (rejection := self._admit(question)) is not None:
            return self._apologize(question, rejection)
        question.outcome = "bad"
        self._put(question, [usage(self._client.nick)])
        return None

    def _admit(self, reply: Reply) -> Rejection | None:
        if trio.current_time() < self._admissions.ready_at:
            return Rejection.BUSY
        rejection = self.outbox.admit(reply)
        if rejection is None:
            self._admissions.charge(trio.current_time())
        return rejection

    def _apologize(self, question: Question, rejection: Rejection) -> str | None:
        self._observer.refused("irc", rejection)
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
                if question in self.outbox:
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
                question.outcome, text, question.command = "ok", found.value.status or NO_PLAN, "PRIVMSG"
                self._askers.succeeded(question.asker)
        room = self._client.room(question.command, question.target)
        self._put(question, compose(question.name, text, room, stale_since=stale_since))

    def _put(self, reply: Reply, lines: list[str]) -> None:
        self.outbox.put(reply, lines)
        self.due.set()
