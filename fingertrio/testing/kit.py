"""What the clauses of the contract are written with: how one is declared, how it asks, and how it is run.

A clause is a function that asks an opened backend and calls `require` with what it saw. It knows nothing of how the
backend was made and leaves the reporting to `Clause.holds`, the one place where a failure gets its words. Whatever else
escapes from the backend breaks the clause too, and stays chained as the cause.
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

# How far into a call its cancellation is tried. No backend of ours passes a tenth of it, retries included.
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


class Broken(Exception):  # noqa: N818 -- it says what holds of the clause, in which nothing went wrong
    """A clause does not hold; the message tells what was seen instead."""


class PassedOver(Exception):  # noqa: N818 -- no error either
    """The backend may do without what the clause is about, and does."""


def require(condition: object, seen: str) -> None:
    """Break the clause unless `condition`; `seen` completes "what was seen: ..."."""
    if not condition:
        raise Broken(seen)


@dataclass(frozen=True, slots=True)
class Subject:
    """The backend that is checked, and what its author told of it: the arguments of `check_backend`."""

    open_backend: Callable[[], AbstractAsyncContextManager[Backend]]
    known: Mapping[str, str]
    alter: Callable[[str, str], Awaitable[object]] | None
    seconds: float

    @property
    def patience(self) -> float:
        """Seconds for one thing to happen: less than for the whole clause, so that what is missing gets its name."""
        return self.seconds / 3

    async def check_sources(self) -> None:
        """Raises ValueError where there is nobody to ask for."""
        if not self.known:
            async with self.open_backend() as backend:
                can_set = isinstance(backend, SetsStatus)
            if not can_set:
                raise ValueError("a backend that cannot set needs known={user: status}")

    async def people(self, backend: Backend) -> dict[str, str]:
        """Some users that `backend` knows, with their statuses: what its author told, or else what it is told now."""
        if self.known or not isinstance(backend, SetsStatus):
            return dict(self.known)
        people = {new_name(): f"Status {number}" for number in range(3)}
        for user, status in people.items():
            await set_status(backend, user, status)
        return people


Check = Callable[[Subject, Any], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Clause:
    """One sentence of the contract and the function that holds a backend against it.

    Attributes:
        name: the function's.
        sentence: its docstring's first paragraph, which is what an author reads when it is broken.
        check: gives False where the backend lacks what it is about; raises Broken, or whatever the backend raises.
    """

    name: str
    sentence: str
    check: Callable[[Subject], Awaitable[bool]]

    def __str__(self) -> str:
        return self.name

    async def holds(self, subject: Subject) -> bool:
        """True, or False where the clause does not apply. Raises AssertionError where it is broken."""
        try:
            with trio.fail_after(subject.seconds):
                return await self.check(subject)
        except Exception as error:
            cause = _first_leaf(error)
            if isinstance(cause, PassedOver):
                return False
            if isinstance(cause, Broken):
                seen = str(cause)
            elif isinstance(cause, trio.TooSlowError):
                seen = f"no end of it within {subject.seconds:g} seconds"
            else:
                seen = f"{type(cause).__name__}: {cause}"
            raise AssertionError(f"{self.name}: {self.sentence}\nwhat was seen: {seen}") from error


def _first_leaf(error: BaseException) -> BaseException:
    """What a nursery, the backend's or ours, wrapped into groups. Broken goes first: the rest is what followed it."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    return _first_leaf((error.subgroup(Broken) or error).exceptions[0])


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
    """A login name that nobody has, also where the same store was checked before."""
    return f"kit-{secrets.token_hex(6)}"


async def ask(backend: Backend, user: str) -> UserInfo | None:
    """What get_user answers, its form checked."""
    asked_at = datetime.now(UTC)
    info = await backend.get_user(user)
    if info is not None:
        check_form(info, user, f"get_user({user!r})")
        require(
            info.until is None or info.until > asked_at,
            f"get_user({user!r}), asked at {asked_at}, gave a status that held until {info.until}",
        )
    return info


async def expect(backend: Backend, user: str, status: str | None) -> None:
    """Require that get_user answers `status`; None: that it knows no such user."""
    info = await ask(backend, user)
    seen = info and info.status
    require(seen == status, f"get_user({user!r}) gave {shown(seen)} instead of {shown(status)}")


async def listed(backend: ListsUsers) -> Sequence[str]:
    """What get_users gives, its form checked."""
    users: Any = await backend.get_users()
    require(isinstance(users, Sequence) and not isinstance(users, str), f"get_users() gave {users!r}, no sequence")
    for user in users:
        require(isinstance(user, str), f"get_users() gave {user!r} among the names")
    return list(users)


async def set_status(backend: SetsStatus, user: str, status: str, *, until: datetime | None = None) -> UserInfo:
    """What set_user returns, its form checked."""
    info = await backend.set_user(user, status, until=until)
    check_form(info, user, f"set_user({user!r}, ...)")
    return info


def check_form(info: Any, user: str, call: str) -> None:
    """Require that `info`, which `call` gave for `user`, is what backend.UserInfo says of its attributes."""
    require(isinstance(info, UserInfo), f"{call} gave {info!r}, which is no UserInfo")
    require(info.user == user, f"{call} gave the UserInfo of {info.user!r}")
    require(isinstance(info.status, str), f"{call} gave the status {info.status!r}, which is no text")
    require("\r" not in info.status, f"{call} gave a status with CR in it: {shown(info.status)}")
    require(not info.status.endswith("\n"), f"{call} gave a status that ends in LF: {shown(info.status)}")
    require(info.name is None or isinstance(info.name, str), f"{call} gave the name {info.name!r}, which is no text")
    for attribute, moment in (("since", info.since), ("until", info.until)):
        aware = isinstance(moment, datetime) and moment.utcoffset() is not None
        require(moment is None or aware, f"{call} gave {attribute}={moment!r}, which is no aware datetime")
    require(
        isinstance(info.details, Mapping)
        and all(isinstance(key, str) and isinstance(value, str) for key, value in info.details.items()),
        f"{call} gave details={info.details!r}, which is no mapping of text to text",
    )


def shown(status: object) -> str:
    """A status for a message: short, also where it is 16 KiB, and in ASCII, where all characters look different."""
    text = "nothing" if status is None else ascii(status)
    return text if len(text) <= 100 else f"{text[:80]}... ({len(text)} characters)"


@dataclass(frozen=True, slots=True)
class Attempt:
    """How a call ended that was to be cancelled: whether that came in time, and whether it returned all the same."""

    cancelled: bool
    returned: bool


async def cancel_everywhere(
    operation: Callable[[], Awaitable[object]], afterwards: Callable[[Attempt], Awaitable[None]]
) -> None:
    """Call `operation` again and again, cancelled one step later each time, until it ends before its cancellation.

    A step is a task's run from one checkpoint to the next. The steps of every task count, so that a call is also
    cancelled while somebody else, a task of the backend's, works for it. `afterwards` looks at what each call left.
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
