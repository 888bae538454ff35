"""What a scenario is: something done to the running program, what was seen, and what must hold.

A scenario is an async function that is given a `Scale` and a `Findings`, starts what it needs, and writes down what it
saw. It raises only where it could not be carried out. How often and for how long is the scale's matter, so that
`make test` runs the same code with small numbers.
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

_LOOK = 0.01  # seconds between two looks at another process


class ScenarioError(Exception):
    """The scenario could not be carried out."""


class NotInstalledError(Exception):
    """The scenario needs a program that this machine does not have. The message names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How much is done.

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
        """The one that belongs to this scale."""
        return short if self.short else full


SHORT = Scale(short=True, soak=1.0)


@dataclass(slots=True)
class Findings:
    """What a scenario did and saw.

    Attributes:
        done: what was done, in a few words with its numbers.
        figures: what was measured, in the order in which it was.
        broken: what did not hold; empty: passed.
    """

    done: str = ""
    figures: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    def figure(self, text: str) -> None:
        """Something measured."""
        self.figures.append(text)

    def require(self, holds: object, otherwise: str) -> None:
        """A criterion: what is said of the run where it does not hold."""
        if not holds:
            self.broken.append(otherwise)


async def until(holds: Callable[[], bool | Awaitable[bool]], within: float) -> bool:
    """Look until something holds of another process, which has no event for it; False: not `within` so many seconds."""
    with trio.move_on_after(within):
        while True:
            found = holds()
            if found is True or (found is not False and await found):
                return True
            await trio.sleep(_LOOK)
    return False


def progress(text: str) -> None:
    """One line on standard error for the person who waits."""
    print(text, file=sys.stderr, flush=True)


@dataclass(frozen=True, slots=True)
class Scenario:
    """One row of the table.

    Attributes:
        name: how it is asked for.
        title: the row's first cell.
        run: carries it out.
        limit: seconds after which it has failed.
    """

    name: str
    title: str
    run: Callable[[Scale, Findings], Awaitable[None]]
    limit: float
