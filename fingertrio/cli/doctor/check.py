"""A check: a name, when it applies, and a function that reports what it finds.

    async def look(place: Installation, report: Report) -> None:
        if await reaches(place.config.webhook.url):
            report.ok("the receiver answers")
        else:
            report.problem("the receiver does not answer", "changes are not delivered", "look at its log")

    CHECK = Check("webhook", "Webhooks", look, skip=lambda place: "" if place.section("webhook") else "there is none")

and its place in `checks.CHECKS`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from fingertrio.cli.doctor.installation import Installation
from fingertrio.wire.text import clean_line

Level = Literal["ok", "warning", "problem"]

LIMIT = 15.0  # seconds for a check that does not name its own limit


@dataclass(frozen=True, slots=True)
class Result:
    """One thing that was found.

    Attributes:
        level: "problem": it does not work, or is not safe. "warning": it may be meant so.
        what: what was found.
        why: why it matters; empty: it is fine.
        next: what to do.
    """

    level: Level
    what: str
    why: str = ""
    next: str = ""


class Report:
    """Takes the results of one check, in order. What was reported stays if the check runs out of time.

    Text of other programs and servers may be in any argument: it is cleaned here.
    """

    def __init__(self) -> None:
        self.results: list[Result] = []

    def ok(self, what: str, next_step: str = "") -> None:
        """Something is as it must be. `next_step`: what this check cannot find out, and how to do it."""
        self._add("ok", what, "", next_step)

    def warning(self, what: str, why: str, next_step: str) -> None:
        """Something may be wrong."""
        self._add("warning", what, why, next_step)

    def problem(self, what: str, why: str, next_step: str) -> None:
        """Something is wrong."""
        self._add("problem", what, why, next_step)

    def _add(self, level: Level, *texts: str) -> None:
        self.results.append(Result(level, *map(clean_line, texts)))


Look = Callable[[Installation, Report], Awaitable[None]]


def _always(_place: Installation) -> str:
    return ""


@dataclass(frozen=True, slots=True)
class Check:
    """One check.

    Attributes:
        name: one word, for the command line and for JSON.
        title: for people.
        look: reports what it finds. An exception that it raises is reported as a fault of the check.
        skip: returns why the check does not apply to an installation; empty: it does.
        limit: seconds, after which what was found so far is shown, and that it was not all.
    """

    name: str
    title: str
    look: Look
    skip: Callable[[Installation], str] = _always
    limit: float = LIMIT


def first_cause(error: BaseException) -> BaseException:
    """The first failure in an exception group; otherwise `error`."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def reason_of(error: Exception, host: str) -> str:
    """Why a request to `host` failed, without the name that the message starts with."""
    return str(error).removeprefix(f"{host}: ")


def worst(results: list[Result]) -> Level:
    """The most severe level of several results."""
    levels = {result.level for result in results}
    return "problem" if "problem" in levels else "warning" if "warning" in levels else "ok"
