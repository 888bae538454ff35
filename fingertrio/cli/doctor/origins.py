"""Check `origins`: whether the servers answer that the backends xmlrpc, finger and mirror ask."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

import trio

from fingertrio.backend import BackendError, ListsUsers
from fingertrio.cli.doctor.check import Check, Report, first_cause
from fingertrio.cli.doctor.installation import Installation
from fingertrio.clients.dial import RemoteError
from fingertrio.clients.live import open_live
from fingertrio.config.errors import ConfigError
from fingertrio.config.plugins import find_backend
from fingertrio.wire.text import escape

_Ask = Callable[[Mapping[str, Any]], Awaitable[str]]

_ASKED = "fingertrio-doctor"  # no user
_PATIENCE = 8.0  # seconds


async def look_at_origins(place: Installation, report: Report) -> None:
    """Whether each origin answers."""
    parts: list[Report] = []
    try:
        async with trio.open_nursery() as nursery:
            for use, ask in _ASK.items():
                for where, table in place.backends(use):
                    parts.append(part := Report())
                    nursery.start_soon(_look_at, part, f"{where} {use}", table, partial(ask, use))
    finally:  # also if time is up
        report.results += [result for part in parts for result in part.results]


async def _look_at(report: Report, name: str, table: Mapping[str, Any], ask: _Ask) -> None:
    origin = _without_password(str(table.get("url") or table.get("host") or "?"))
    try:
        with trio.fail_after(_PATIENCE):
            said = await ask(table)
    except trio.TooSlowError:
        reason = f"no answer within {_PATIENCE:g} seconds"
    except ConfigError as error:
        reason = str(error)
    except (RemoteError, BackendError, OSError, ValueError, ExceptionGroup) as error:
        found = first_cause(error)
        cause = found.__cause__ if isinstance(found, BackendError) and found.__cause__ is not None else found
        reason = _without_password(str(cause))
    else:
        report.ok(f"{name}: {origin} answers: {said}")
        return
    report.problem(
        f"{name}: {origin}: {reason}",
        "its users are not found, or their statuses are old",
        "start that server, or correct the section; from this machine: nc -vz HOST PORT",
    )


async def _ask_backend(use: str, table: Mapping[str, Any]) -> str:
    """Open the backend, and ask as the server does."""
    plugin = find_backend(use)
    options = plugin.check_options(table, "configuration")
    async with plugin.open(options) as backend:
        if isinstance(backend, ListsUsers):
            users = await backend.get_users()
            return f"{len(users)} user{'' if len(users) == 1 else 's'}"
        info = await backend.get_user(_ASKED)
        return "it knows no such user, as expected" if info is None else f"it has a user {escape(_ASKED)}"


async def _ask_feed(_use: str, table: Mapping[str, Any]) -> str:
    """The beginning of the live feed: a whole snapshot may be large."""
    async with open_live(str(table["url"]), snapshot=False, timeout=_PATIENCE) as feed:
        return f"its live feed is open, epoch {feed.hello.epoch}"


_ASK: Mapping[str, Callable[[str, Mapping[str, Any]], Awaitable[str]]] = {
    "xmlrpc": _ask_backend,
    "finger": _ask_backend,
    "mirror": _ask_feed,
}


def _without_password(text: str) -> str:
    """`text` without what stands before an @ in an address."""
    head, at, rest = text.rpartition("@")
    scheme, separator, _ = head.partition("://")
    return f"{scheme}://...@{rest}" if at and separator else text


def _skip(place: Installation) -> str:
    return "" if any(place.backends(use) for use in _ASK) else "no backend is xmlrpc, finger or mirror"


CHECK = Check("origins", "Whether the servers answer that backends ask", look_at_origins, _skip)
