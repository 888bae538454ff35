"""A scenario: a fault or an attack, what was measured, and the criteria.

A scenario is an async function of a `Scale` and a `Findings`. It starts what it needs and records what it saw. It
raises only if it could not be carried out. The scale says how often and for how long, so that `make test` runs the same
code with small numbers.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import trio

_T = TypeVar("_T")

ROOT = Path(__file__).parent.parent

_POLL = 0.01  # seconds between two checks of another process


class ScenarioError(Exception):
    """The scenario could not be carried out."""


class NotInstalledError(Exception):
    """The scenario needs a program that this machine does not have. The message names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """The size of a run.

    Attributes:
        short: as a test does it: in a second or two, with no criteria for time, since other tests run beside it.
        soak: seconds of mixed load.
    """

    short: bool = False
    soak: float = 60.0

    @property
    def slack(self) -> float:
        """Seconds added to every limit."""
        return 20.0 if self.short else 0.0

    def of(self, full: _T, short: _T) -> _T:
        """The value for this scale."""
        return short if self.short else full


SHORT = Scale(short=True, soak=1.0)


@dataclass(slots=True)
class Findings:
    """The result of a scenario.

    Attributes:
        done: what was done, in a few words with numbers.
        figures: what was measured, in order.
        broken: the criteria that do not hold; empty: passed.
    """

    done: str = ""
    figures: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    def figure(self, text: str) -> None:
        """Record a measurement."""
        self.figures.append(text)

    def require(self, holds: object, otherwise: str) -> None:
        """Check a criterion; `otherwise` is reported if it does not hold."""
        if not holds:
            self.broken.append(otherwise)


async def until(holds: Callable[[], bool | Awaitable[bool]], within: float) -> bool:
    """Check another process, which has no event to wait for, until `holds`; False: not `within` that many seconds."""
    with trio.move_on_after(within):
        while True:
            found = holds()
            if found is True or (found is not False and await found):
                return True
            await trio.sleep(_POLL)
    return False


def progress(text: str) -> None:
    """One line on standard error for the person who waits."""
    print(text, file=sys.stderr, flush=True)


@dataclass(frozen=True, slots=True)
class Scenario:
    """One row of the table.

    Attributes:
        name: on the command line.
        title: the first cell of its row.
        run: carries it out.
        limit: seconds after which it has failed.
    """

    name: str
    title: str
    run: Callable[[Scale, Findings], Awaitable[None]]
    limit: float
