"""The answers of the finger door: from query lines to complete answers, without sockets.

`FingerAnswers.at_once` answers from memory, `fetch` asks the service. Rendered answers are cached under the bytes of
the query for as long as the service says that the answer is valid, so a hot query costs one dict lookup.
"""

from __future__ import annotations

import unicodedata
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import datetime
from math import inf

import trio

from fingertrio.backend import INTERNAL_ERROR, NO_SUCH_USER, BackendError, UserInfo
from fingertrio.frontends.finger.listing import UserAnswer, read_users
from fingertrio.frontends.finger.text import (
    FORWARDING_DENIED,
    UNREADABLE,
    USER_LIST_DENIED,
    render_full,
    render_list,
    render_status,
)
from fingertrio.service import FingerService
from fingertrio.service.cache import Answer
from fingertrio.wire import ProtocolError, TooLongError
from fingertrio.wire.finger import Query, parse_query, query_line
from fingertrio.wire.text import to_wire

# Rendered answers in the cache, by number and by bytes: room for every hot name in several spellings.
_KEPT_QUERIES = 10_000
_KEPT_BYTES = 16 * 1024 * 1024
_KEPT_KEY = 100  # bytes; longer queries are not hot

_LOGGED = 200  # characters of a query in the log

# Users in one list. A longer list is a directory, and an empty query from a stranger must not render all of it.
LIST_LIMIT = 2000
MATCH_LIMIT = 10  # users shown for one ambiguous name

# Seconds before the users that could not be read are tried again. Otherwise each query for the list would try.
_RETRY = 2.0

Forward = Callable[[str, Query], Awaitable[bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class FingerPolicy:
    """The administrator's choices (RFC 1288 section 3.2).

    Attributes:
        full: answer with RFC 1288's user information instead of the status alone.
        facts: the facts that a full answer may show (see `text`); None: all.
        user_list: answer {C} with the list (3.2.2).
        ambiguous: if no user has the name, show the users whose login or full name begins with it (3.2.6).
        forward: forwards a {Q2}, or raises ProtocolError with the refusal; None: all {Q2} are refused (3.2.1).
    """

    full: bool = False
    facts: AbstractSet[str] | None = None
    user_list: bool = True
    ambiguous: bool = False
    forward: Forward | None = None


@dataclass(slots=True)
class Rendered:
    """A complete answer. Valid while `source` is valid and, for a list, while the service's epoch is `epoch`."""

    payload: bytes
    outcome: str
    asked: str
    source: Answer[object]
    epoch: int | None = None


_ALWAYS: Answer[object] = Answer(None, inf)
_NEVER: Answer[object] = Answer(None, -inf)


class _Listing:
    """A list that is being collected; `outcome` stays None if the collecting task was cancelled."""

    __slots__ = ("finished", "outcome")

    def __init__(self) -> None:
        self.finished = trio.Event()
        self.outcome: Rendered | BackendError | None = None


class FingerAnswers:
    """From query lines to answers.

    Args:
        service: provides the statuses.
        policy: what may be shown, and how.
        refused: called for each query over a limit, with the limit's name.
    """

    def __init__(
        self, service: FingerService, policy: FingerPolicy, refused: Callable[[str], None] = lambda _reason: None
    ) -> None:
        self._service = service
        self._policy = policy
        self._refused = refused
        self._kept: OrderedDict[bytes, Rendered] = OrderedDict()  # see `service.cache`
        self._kept_bytes = 0
        self._listing: _Listing | None = None
        self._last_list: Rendered | None = None

    def at_once(self, received: bytes, now: float) -> Rendered | None:
        """The answer to `received`, if that is a complete query and the answer is in memory; None: call `fetch`."""
        kept = self._kept.get(received)
        if kept is not None and kept.source.expires > now and (kept.epoch is None or kept.epoch == self._service.epoch):
            self._service.reused()
            return kept
        try:
            line = query_line(received)
            if line is None:
                return None
            query = parse_query(line)
        except ProtocolError as error:
            return self.refuse(received, error)
        return self._render_now(query, received)

    async def fetch(self, line: bytes) -> Rendered:
        """The answer to a complete query line. Never fails: an error becomes an answer."""
        try:
            return await self._fetch(parse_query(line), line)
        except ProtocolError as error:
            return self.refuse(line, error)
        except BackendError as error:
            return Rendered(to_wire(error.public_message or INTERNAL_ERROR), "error", _text(line), _NEVER)

    async def _fetch(self, query: Query, line: bytes) -> Rendered:
        asked = _text(line)
        if query.hosts and self._policy.forward is not None:
            return Rendered(await self._policy.forward(*query.forward()), "forwarded", asked, _NEVER)
        if (rendered := self._render_now(query, line)) is not None:
            return rendered
        if not query.user:
            return await self._fetch_list(asked)
        answer = await self._service.ask_user(query.user)
        if answer.value is None and self._policy.ambiguous:
            return await self._fetch_matches(query, asked)
        return self._render_user(query, answer, asked)

    def refuse(self, received: bytes, error: ProtocolError) -> Rendered:
        """The answer to an invalid query."""
        if isinstance(error, TooLongError):
            self._refused("line")
        return Rendered(to_wire(str(error)), "bad", _text(received), _NEVER)

    def _render_now(self, query: Query, received: bytes) -> Rendered | None:
        """The answer, if it needs no waiting: a refusal, or a status that the service has in memory."""
        asked = _text(received)
        if query.hosts:
            if self._policy.forward is not None:
                return None
            return Rendered(to_wire(FORWARDING_DENIED), "denied", asked, _ALWAYS)
        if not query.user:
            if not self._policy.user_list:
                return Rendered(to_wire(USER_LIST_DENIED), "denied", asked, _ALWAYS)
            rendered = self._list_now(asked)
        else:
            answer = self._service.peek(query.user)
            if answer is None or (answer.value is None and self._policy.ambiguous):
                return None
            rendered = self._render_user(query, answer, asked)
        if rendered is not None:
            self._keep(received, rendered)
        return rendered

    def _render_user(self, query: Query, answer: Answer[UserInfo | None], asked: str) -> Rendered:
        if answer.value is None:
            return Rendered(to_wire(NO_SUCH_USER), "unknown", asked, answer)
        payload = self._show(answer.value, query, answer.stale_since)
        return Rendered(payload, "ok", asked, answer)

    def _show(self, info: UserInfo, query: Query, stale_since: datetime | None) -> bytes:
        if self._policy.full or query.verbose:
            return render_full(info, verbose=query.verbose, facts=self._policy.facts, stale_since=stale_since)
        return render_status(info)

    def _list_now(self, asked: str) -> Rendered | None:
        users = self._service.peek_users()
        if users is None:
            return None
        answers = [self._service.cached(user) for user in users.value[:LIST_LIMIT]]
        if any(answer is None for answer in answers):
            return None
        return self._render_list(users, [answer for answer in answers if answer is not None], asked)

    async def _fetch_list(self, asked: str) -> Rendered:
        """The list, collected and rendered once for all clients that ask at the same time."""
        while True:
            last = self._last_list
            if last is not None and last.epoch == self._service.epoch and last.source.expires > trio.current_time():
                return replace(last, asked=asked)
            if (flight := self._listing) is None:
                return await self._collect_list(asked)
            await flight.finished.wait()
            if isinstance(flight.outcome, BackendError):
                raise BackendError(flight.outcome.public_message) from flight.outcome
            if flight.outcome is not None:
                return replace(flight.outcome, asked=asked)

    async def _collect_list(self, asked: str) -> Rendered:
        flight = self._listing = _Listing()
        try:
            users = await self._service.ask_users()
            answers = await read_users(self._service, users.value[:LIST_LIMIT])
            rendered = self._last_list = flight.outcome = self._render_list(users, answers, asked)
        except BackendError as error:
            flight.outcome = error
            raise
        finally:
            self._listing = None
            flight.finished.set()
        return rendered

    def _render_list(
        self, users: Answer[tuple[str, ...]], answers: Sequence[UserAnswer | None], asked: str
    ) -> Rendered:
        """The list. An answer that is None marks its user as unreadable."""
        entries = (
            user if answer is None else answer.value
            for user, answer in zip(users.value, answers, strict=False)  # there may be more than LIST_LIMIT users
        )
        payload = render_list(
            [entry for entry in entries if entry is not None],
            facts=self._policy.facts,
            more=max(len(users.value) - LIST_LIMIT, 0),
            stale_since=users.stale_since,
        )
        expires = min([users.expires, *(answer.expires for answer in answers if answer is not None)])
        if None in answers:
            expires = min(expires, trio.current_time() + _RETRY)
        return Rendered(payload, "list", asked, Answer(None, expires), self._service.epoch)

    async def _fetch_matches(self, query: Query, asked: str) -> Rendered:
        """Section 2.5.3: all users that match a name which no user has exactly."""
        wanted = _folded(query.user)
        found: list[bytes] = []
        if self._service.can_list:
            users = (await self._service.get_users())[:LIST_LIMIT]
            for user, answer in zip(users, await read_users(self._service, users), strict=True):
                if answer is None:
                    if _folded(user).startswith(wanted):
                        found.append(to_wire(f"Login: {user} {UNREADABLE}"))
                elif answer.value is not None and _begins(answer.value, wanted):
                    found.append(
                        render_full(
                            answer.value,
                            verbose=query.verbose,
                            facts=self._policy.facts,
                            stale_since=answer.stale_since,
                        )
                    )
                if len(found) == MATCH_LIMIT:
                    break
        if not found:
            return Rendered(to_wire(NO_SUCH_USER), "unknown", asked, _NEVER)
        return Rendered(b"\r\n".join(found), "ok", asked, _NEVER)

    def _keep(self, received: bytes, rendered: Rendered) -> None:
        if len(received) > _KEPT_KEY:
            return
        if (old := self._kept.pop(received, None)) is not None:
            self._kept_bytes -= len(old.payload)
        self._kept[received] = rendered
        self._kept_bytes += len(rendered.payload)
        while self._kept_bytes > _KEPT_BYTES or len(self._kept) > _KEPT_QUERIES:
            self._kept_bytes -= len(self._kept.popitem(last=False)[1].payload)


def _text(received: bytes) -> str:
    """The query line for the log, which escapes it; the beginning of an overlong one."""
    line = received.partition(b"\n")[0].rstrip(b"\r").decode("utf-8", "surrogateescape")
    return line if len(line) <= _LOGGED else f"{line[:_LOGGED]}..."


def _begins(info: UserInfo, wanted: str) -> bool:
    words = [info.user, *(info.name or "").split()]
    return any(_folded(word).startswith(wanted) for word in words)


def _folded(text: str) -> str:
    """`text` for comparing: without differences of case or of Unicode normal form."""
    return unicodedata.normalize("NFC", text.casefold())
