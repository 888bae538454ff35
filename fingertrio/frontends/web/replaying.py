"""What the express lane of the HTTP server (`http.lane`) needs from this application.

A handler calls `replay_while` if its response may be sent again to everyone who sends the same request. The gate leaves
a `ReplayNote` with it: what it has logged and counted for the response. `ledger` then counts each repetition.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import trio
from hypercorn.typing import Scope
from quart import request

from fingertrio.http.replay import ALWAYS, Expiring, recording_of


class _Together:
    """What holds while all of its sources hold, and until a time."""

    __slots__ = ("_sources", "_until")

    def __init__(self, sources: tuple[Expiring, ...], until: float) -> None:
        self._sources = sources
        self._until = until

    @property
    def expires(self) -> float:
        return min(self._until, *(source.expires for source in self._sources))


def replay_while(
    *sources: Expiring, this_minute: bool = False, any_query: bool = False, answers: int | None = None
) -> None:
    """Allow the response to the present request to be repeated while all `sources` hold. Call it before rendering.

    Nothing else may decide what it says, besides the request's method, host and target, the header fields that its Vary
    names, and the configuration.

    Args:
        sources: answers of the service; `ALWAYS` for what never changes.
        this_minute: it shows times relative to the present minute, so it is made anew in the next.
        any_query: repeat it for a target with a query, too; only if few different ones give a response.
        answers: how many cached answers of the service each repetition saves; None: one for each source.
    """
    recording = recording_of(request.scope)
    if recording is None:
        return
    source = sources[0]
    if this_minute or len(sources) > 1:
        left = 60 - time.time() % 60
        source = _Together(sources, trio.current_time() + left if this_minute else ALWAYS.expires)
    recording.replay_while(source, any_query=any_query)
    recording.note = sum(each is not ALWAYS for each in sources) if answers is None else answers


@dataclass(frozen=True, slots=True)
class ReplayNote:
    """What a response was logged and counted as."""

    door: str
    asked: str
    outcome: str
    size: int
    answers: int  # of the service that it was made from


def leave_note(scope: Scope, door: str, asked: str, outcome: str, size: int) -> None:
    """For the gate: what was logged for the response to this request."""
    recording = recording_of(scope)
    if recording is not None and isinstance(recording.note, int):
        recording.note = ReplayNote(door, asked, outcome, size, recording.note)
