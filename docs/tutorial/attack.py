"""Runs attacks of the tutorial: `python attack.py 05` tries attack 05 on its own step and on the step before.

Name another step to try it there: `python attack.py 05 finger11`.
"""

from __future__ import annotations

import contextlib
import io
import logging
import runpy
import sys
from collections.abc import Awaitable, Callable
from functools import cache
from inspect import cleandoc, iscoroutinefunction
from pathlib import Path

import trio
import trio.testing

from harness import HERE, Step

Attack = Callable[[Step], Awaitable[None]]


def steps() -> list[str]:
    """Return the listings in their order."""
    names = [path.stem for path in HERE.glob("finger*.py")]
    return sorted(names, key=lambda name: (name.removeprefix("finger")[:2], name))


def attacks() -> list[str]:
    """Return the numbers of the attacks, which are those of the pages."""
    return sorted(path.stem.removeprefix("attack") for path in Path(HERE, "attacks").glob("attack*.py"))


def before(number: str) -> str:
    """Return the step before the step of this number, or the step that the attack names as BEFORE."""
    names = steps()
    there = runpy.run_path(str(HERE / "attacks" / f"attack{number}.py"))
    return str(there.get("BEFORE", names[names.index(f"finger{number}") - 1]))


@cache
def run(number: str, name: str) -> str | None:
    """Try one attack on one step. Return None if the step survives, otherwise what the attack says."""
    names = runpy.run_path(str(HERE / "attacks" / f"attack{number}.py"))
    attack = names["attack"]
    step = Step(name)
    clock = trio.testing.MockClock(autojump_threshold=0.02) if names.get("CLOCK_JUMPS") else None
    logging.disable()  # an attack makes a step log tracebacks, which are not the point here
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            if iscoroutinefunction(attack):
                trio.run(attack, step, clock=clock)
            else:
                attack(step)
    except AssertionError as error:
        return (str(error) or "an assertion does not hold").replace(step.host, "127.0.0.1")
    except BaseExceptionGroup as group:
        if (failed := group.split((AssertionError, trio.BrokenResourceError, trio.TooSlowError))[0]) is None:
            raise
        return message(failed).replace(step.host, "127.0.0.1")
    finally:
        logging.disable(logging.NOTSET)
    return None


def message(group: BaseExceptionGroup[Exception]) -> str:
    """Return the first message in nested groups."""
    leaves: list[BaseException] = [group]
    while any(isinstance(error, BaseExceptionGroup) for error in leaves):
        leaves = [
            leaf
            for error in leaves
            for leaf in (error.exceptions if isinstance(error, BaseExceptionGroup) else [error])
        ]
    said = ["it takes too long" if isinstance(error, trio.TooSlowError) else str(error) for error in leaves]
    return next(filter(None, said), "an assertion does not hold")


def names_for(number: str) -> list[str]:
    """Return the steps on which an attack is tried: the step before its own, and its own."""
    return [before(number), f"finger{number}"]


def report(number: str, names: list[str]) -> list[str]:
    """Try an attack on steps, and return the lines that tell how it went."""
    attack = runpy.run_path(str(HERE / "attacks" / f"attack{number}.py"))["attack"]
    lines = [f"Attack {number}: {cleandoc(attack.__doc__ or '').splitlines()[0]}"]
    for name in names:
        said = run(number, name)
        lines.append(f"  {name}: {'survives' if said is None else 'FAILS: ' + said.splitlines()[0]}")
    return lines


def main() -> None:
    number, *names = sys.argv[1:]
    print("\n".join(report(number, names or names_for(number))))


if __name__ == "__main__":
    main()
