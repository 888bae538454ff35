"""What is wrong with data that is there already, in the form of a doctor: what, why, and what to do next.

Names and statuses are checked when they are set, but a store may hold older ones, or some that were written past the
service. They stay readable. A server names them when it starts (`name_existing`), `fingertrio user check` when it is
asked to.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fingertrio.backend import Backend, ListsUsers, SetsStatus
from fingertrio.names import check_user_name, is_user_name
from fingertrio.wire.status import check_status
from fingertrio.wire.text import escape

if TYPE_CHECKING:
    from fingertrio.observe.observer import Observer

_LOGGED = 20  # findings at a start; the rest is counted
_AT_ONCE = 1000  # names that are checked before other tasks run: less than a millisecond


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that breaks a rule.

    Attributes:
        what: the user or users, safe for a terminal.
        why: the rule that is broken.
        next: what to do about it.
    """

    what: str
    why: str
    next: str

    def __str__(self) -> str:
        return f"{self.what}: {self.why}; {self.next}"


def check_name(name: str) -> Finding | None:
    """What is wrong with the name of an existing user."""
    try:
        check_user_name(name)
    except ValueError as error:
        advice = "export the user, import it under another name, and remove this one"
        if not is_user_name(name):
            return Finding(escape(name), f"no front end can show this user: {error}", advice)
        return Finding(escape(name), f"no status can be set any more: {error}", advice)
    return None


class Spellings:
    """Finds names that differ by case alone among those that it is given, one after the other."""

    def __init__(self) -> None:
        self._seen: dict[str, str] = {}

    def check(self, name: str) -> Finding | None:
        """What is wrong with this name beside an earlier one."""
        other = self._seen.setdefault(name.casefold(), name)
        if other == name:
            return None
        return Finding(
            f"{escape(other)} and {escape(name)}",
            "the names differ by case alone, so one can be taken for the other, and other spellings find either",
            "keep one and remove the other",
        )


def check_stored_status(user: str, status: str) -> Finding | None:
    """What is wrong with the present status of a user; an empty one is none at all."""
    try:
        fits = not status or check_status(status) == status
    except ValueError as error:
        return Finding(escape(user), f"the status would be refused today: {error}", "set it again")
    if fits:
        return None
    why = "the status has characters that control a terminal, or is not in NFC; they are removed when it is shown"
    return Finding(escape(user), why, "set it again")


def check_names(names: Iterable[str]) -> Iterator[Finding | None]:
    """For each name, what is wrong with it; None: nothing."""
    spellings = Spellings()
    for name in names:
        yield check_name(name) or spellings.check(name)


async def name_existing(backend: Backend, observer: Observer) -> None:
    """Log a warning for each existing name that breaks a rule, where this server keeps the statuses."""
    import trio  # noqa: PLC0415 -- a server has it; `fingertrio user check` starts without

    if not isinstance(backend, ListsUsers) or not isinstance(backend, SetsStatus):
        return
    try:
        names = await backend.get_users()
    except Exception:  # noqa: BLE001 -- a backend of another package; the service reports it when a client asks
        return
    found = 0
    for number, finding in enumerate(check_names(names)):
        if finding is not None:
            found += 1
            if found <= _LOGGED:
                observer.warning("existing_data", what=finding.what, reason=finding.why, next=finding.next)
        if number % _AT_ONCE == 0:
            await trio.lowlevel.checkpoint()
    if found > _LOGGED:
        observer.warning("existing_data", what=f"{found - _LOGGED} more", next="fingertrio user check lists all")
