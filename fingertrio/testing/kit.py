"""The tools that the clauses of the contract are written with: how one is declared, queries a backend, and is run.

A clause is a function that calls an opened backend and `require` with what it saw. It does not know how the backend was
made. `Clause.holds` turns every failure into one message. Any other exception that escapes from the backend breaks the
clause too, and stays chained as the cause.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

import trio

from fingertrio.backend import Backend, EmitsChanges, KeepsHistory, ListsUsers, SetsStatus, TellsStaleness, UserInfo

# Up to which step of a call its cancellation is tried. Our backends need at most a tenth of it, retries included.
_MOST_STEPS = 100


class Lister(Backend, ListsUsers, Protocol):
    """What a clause that needs ListsUsers is given."""


class Setter(Backend, SetsStatus, Protocol):
    """What a clause that needs SetsStatus is given."""


class Emitter(Backend, EmitsChanges, Protocol):
    """What a clause that needs EmitsChanges is given."""


class Ageing(Backend, TellsStaleness, Protocol):
    """What a clause that needs TellsStaleness is given."""


class SettingEmitter(Setter, EmitsChanges, Protocol):
    """What a clause that needs SetsStatus and EmitsChanges is given."""


class Historian(Setter, KeepsHistory, Protocol):
    """What a clause that needs SetsStatus and KeepsHistory is given."""


class BrokenClauseError(Exception):
    """A clause does not hold. The message says what was seen instead."""


class SkippedClauseError(Exception):
    """The backend does not have what the clause is about, and need not have it."""


def require(condition: object, seen: str) -> None:
    """Fail the clause unless `condition`; `seen` completes "what was seen: ..."."""
    if not condition:
        raise BrokenClauseError(seen)


@dataclass(frozen=True, slots=True)
class Subject:
    """The backend that is checked, with what its author says about it: the arguments of `check_backend`."""

    open_backend: Callable[[], AbstractAsyncContextManager[Backend]]
    known: Mapping[str, str]
    alter: Callable[[str, str], Awaitable[object]] | None
    seconds: float

    @property
    def patience(self) -> float:
        """Seconds for one event: less than for the whole clause, so that the message can name the missing event."""
        return self.seconds / 3

    async def check_sources(self) -> None:
        """Raises ValueError if there is no user to ask for."""
        if not self.known:
            async with self.open_backend() as backend:
                can_set = isinstance(backend, SetsStatus)
            if not can_set:
                raise ValueError("a backend that cannot set needs known={user: status}")

    async def people(self, backend: Backend) -> dict[str, str]:
        """Some users that `backend` knows, with their statuses: those its author named, otherwise new ones, set now."""
        if self.known or not isinstance(backend, SetsStatus):
            return dict(self.known)
        people = {new_name(): f"Status {number}" for number in range(3)}
        for user, status in people.items():
            await set_status(backend, user, status)
        return people


Check = Callable[[Subject, Any], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Clause:
    """One sentence of the contract, and the function that checks it.

    Attributes:
        name: the function's.
        sentence: the first paragraph of its docstring, which the author reads when the clause is broken.
        check: returns False if the backend lacks the capability; raises BrokenClauseError, or what the backend raises.
    """

    name: str
    sentence: str
    check: Callable[[Subject], Awaitable[bool]]

    def __str__(self) -> str:
        return self.name

    async def holds(self, subject: Subject) -> bool:
        """True; False if the clause does not apply. Raises AssertionError if it is broken."""
        try:
            with trio.fail_after(subject.seconds):
                return await self.check(subject)
        except Exception as error:
            cause = _first_leaf(error)
            if isinstance(cause, SkippedClauseError):
                return False
            if isinstance(cause, BrokenClauseError):
                seen = str(cause)
            elif isinstance(cause, trio.TooSlowError):
                seen = f"it did not end within {subject.seconds:g} seconds"
            else:
                seen = f"{type(cause).__name__}: {cause}"
            raise AssertionError(f"{self.name}: {self.sentence}\nwhat was seen: {seen}") from error


def _first_leaf(error: BaseException) -> BaseException:
    """The first exception within groups that nurseries made. A broken clause comes first: the others follow from it."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    return _first_leaf((error.subgroup(BrokenClauseError) or error).exceptions[0])


@dataclass(slots=True)
class Chapter:
    """Clauses that belong together, in the order in which they are written."""

    clauses: list[Clause] = field(default_factory=list)

    def clause(self, *capabilities: type) -> Callable[[Check], Check]:
        """Add a function of the subject and a freshly opened backend that has `capabilities`."""

        def add(check: Check) -> Check:
            async def opened(subject: Subject) -> bool:
                finished = False
                async with subject.open_backend() as backend:
                    if not all(isinstance(backend, capability) for capability in capabilities):
                        return False
                    await check(subject, backend)
                    finished = True
                require(finished, "the clause failed, and the backend's context swallowed its exception")
                return True

            self._add(check, opened)
            return check

        return add

    def lifetime_clause(self, check: Callable[[Subject], Awaitable[bool]]) -> Callable[[Subject], Awaitable[bool]]:
        """Add a function of the subject alone, which opens the backend itself."""
        self._add(check, check)
        return check

    def _add(self, named: Callable[..., object], check: Callable[[Subject], Awaitable[bool]]) -> None:
        self.clauses.append(Clause(named.__name__, (named.__doc__ or "").partition("\n\n")[0].strip(), check))


def new_name() -> str:
    """A login name that is unused, also if the same store was checked before."""
    return f"kit-{secrets.token_hex(6)}"


async def ask(backend: Backend, user: str) -> UserInfo | None:
    """The result of get_user, validated."""
    asked_at = datetime.now(UTC)
    info = await backend.get_user(user)
    if info is not None:
        check_form(info, user, f"get_user({user!r})")
        require(
            info.until is None or info.until > asked_at,
            f"get_user({user!r}), asked at {asked_at}, returned a status that had expired at {info.until}",
        )
    return info


async def expect(backend: Backend, user: str, status: str | None) -> None:
    """Require that get_user returns `status`; None: that it returns None."""
    info = await ask(backend, user)
    seen = info and info.status
    require(seen == status, f"get_user({user!r}) returned {shown(seen)} instead of {shown(status)}")


async def listed(backend: ListsUsers) -> Sequence[str]:
    """The result of get_users, validated."""
    users: Any = await backend.get_users()
    require(
        isinstance(users, Sequence) and not isinstance(users, str),
        f"get_users() returned {users!r}, which is not a sequence",
    )
    for user in users:
        require(isinstance(user, str), f"get_users() returned {user!r} among the names")
    return list(users)


async def set_status(backend: SetsStatus, user: str, status: str, *, until: datetime | None = None) -> UserInfo:
    """The result of set_user, validated."""
    info = await backend.set_user(user, status, until=until)
    check_form(info, user, f"set_user({user!r}, ...)")
    return info


def check_form(info: Any, user: str, call: str) -> None:
    """Require that `info`, returned by `call` for `user`, is as backend.UserInfo documents its attributes."""
    require(isinstance(info, UserInfo), f"{call} returned {info!r}, which is not a UserInfo")
    require(info.user == user, f"{call} returned the UserInfo of {info.user!r}")
    require(isinstance(info.status, str), f"{call} returned the status {info.status!r}, which is not text")
    require("\r" not in info.status, f"{call} returned a status with CR in it: {shown(info.status)}")
    require(not info.status.endswith("\n"), f"{call} returned a status that ends in LF: {shown(info.status)}")
    require(
        info.name is None or isinstance(info.name, str), f"{call} returned the name {info.name!r}, which is not text"
    )
    for attribute, moment in (("since", info.since), ("until", info.until)):
        aware = isinstance(moment, datetime) and moment.utcoffset() is not None
        require(moment is None or aware, f"{call} returned {attribute}={moment!r}, which is not an aware datetime")
    require(
        isinstance(info.details, Mapping)
        and all(isinstance(key, str) and isinstance(value, str) for key, value in info.details.items()),
        f"{call} returned details={info.details!r}, which is not a mapping of text to text",
    )


def shown(status: object) -> str:
    """A status for a message: shortened, and in ASCII, so that similar characters look different."""
    text = "nothing" if status is None else ascii(status)
    return text if len(text) <= 100 else f"{text[:80]}... ({len(text)} characters)"


@dataclass(frozen=True, slots=True)
class Attempt:
    """How a call that was to be cancelled ended: whether it was cancelled in time, and whether it returned."""

    cancelled: bool
    returned: bool


async def cancel_everywhere(
    operation: Callable[[], Awaitable[object]], afterwards: Callable[[Attempt], Awaitable[None]]
) -> None:
    """Call `operation` repeatedly, each time cancelled one step later, until it ends before its cancellation.

    A step is a task's run from one checkpoint to the next. The steps of all tasks count, so that a call is also
    cancelled while one of the backend's own tasks works for it. `afterwards` checks the state after each call.
    """
    for steps in range(1, _MOST_STEPS + 1):
        attempt = await _attempt(operation, steps)
        await afterwards(attempt)
        if not attempt.cancelled:
            return


async def _attempt(operation: Callable[[], Awaitable[object]], steps: int) -> Attempt:
    with trio.CancelScope() as scope:
        canceller = _Canceller(scope, steps)
        trio.lowlevel.add_instrument(canceller)
        try:
            await operation()
        finally:
            trio.lowlevel.remove_instrument(canceller)
        return Attempt(cancelled=scope.cancel_called, returned=True)
    return Attempt(cancelled=True, returned=False)


class _Canceller(trio.abc.Instrument):
    def __init__(self, scope: trio.CancelScope, steps: int) -> None:
        self._scope = scope
        self._steps = steps

    def after_task_step(self, task: trio.lowlevel.Task) -> None:  # noqa: ARG002 -- trio's signature
        self._steps -= 1
        if self._steps == 0:
            self._scope.cancel()
