"""The live feed's messages, from both sides: how the server writes them and how a client reads them. No I/O.

One message is one JSON object in a WebSocket text message, `type` first. docs/reference/live-feed.md explains them
together. Their shapes:

    {"type": "hello", "protocol": 1, "epoch": E, "id": ID | null, "resumed": BOOL, "complete": BOOL, "alive": SECONDS,
     "stale_since": TIME | null}
    {"type": "snapshot"}            {"type": "user", USER}*            {"type": "end", "id": ID}
    {"type": "change", "id": ID, USER}
    {"type": "alive", "id": ID | null, "stale_since": TIME | null}

USER is the object of /api/users/NAME, its members in place; or `"user": NAME, "removed": true` (in a change), or
`"user": NAME, "unavailable": true` (in a snapshot). An ID is opaque to clients. Types and members that a client does
not know are none of its business: that is how the protocol can grow.

The part about the user is rendered apart from what stands before it, so that one rendering serves the snapshots and the
changes of everybody who watches.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, TypeAlias

from fingertrio.wire import ProtocolError
from fingertrio.wire.text import clean, clean_line
from fingertrio.wire.times import in_utc

PATH = "/api/watch"
PROTOCOL = 1

# What a client may believe of "alive": less is a flood, more is no sign of life.
_ALIVE_RANGE = (0.01, 3600.0)

_ID = re.compile(r"[!-~]{1,64}\Z")


@dataclass(frozen=True, slots=True)
class LiveUser:
    """One user and the status that holds, as everybody may read it; the attributes are those of `backend.UserInfo`."""

    user: str
    status: str
    name: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    details: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Hello:
    """The first message.

    Attributes:
        epoch: of the server; ids of another one mean nothing to it.
        id: from where the changes are told; None: a snapshot comes first.
        resumed: the changes go on where the client left off.
        complete: every change is told. Otherwise only those that are made through this server.
        alive: seconds after which a silent server says that it is alive.
        stale_since: since when what it tells may be out of date, its source being away; None: it is true.
    """

    epoch: str
    id: str | None
    resumed: bool
    complete: bool
    alive: float
    stale_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class SnapshotBegins:
    """What was told before counts no more, once this snapshot has ended."""


@dataclass(frozen=True, slots=True)
class Present:
    """One user of the snapshot."""

    info: LiveUser


@dataclass(frozen=True, slots=True)
class Unavailable:
    """One user of the snapshot, whose status cannot be told now; a change will come when it can."""

    user: str


@dataclass(frozen=True, slots=True)
class SnapshotEnds:
    """Those who were named are all there are. Everything up to `id` has been told."""

    id: str


@dataclass(frozen=True, slots=True)
class Changed:
    """What holds of a user from now on. Everything up to `id` has been told."""

    id: str
    info: LiveUser


@dataclass(frozen=True, slots=True)
class Removed:
    """There is no such user any more. Everything up to `id` has been told."""

    id: str
    user: str


@dataclass(frozen=True, slots=True)
class Alive:
    """The server is there. Everything up to `id` has been told; None: a snapshot is still to come.

    `stale_since` is that of `Hello`.
    """

    id: str | None
    stale_since: datetime | None = None


Event: TypeAlias = SnapshotBegins | Present | Unavailable | SnapshotEnds | Changed | Removed | Alive
Message: TypeAlias = Hello | Event


def render_hello(
    *, epoch: str, at: str | None, resumed: bool, complete: bool, alive: float, stale_since: datetime | None = None
) -> bytes:
    """The first message; `at` is the id."""
    return _render(
        type="hello",
        protocol=PROTOCOL,
        epoch=epoch,
        id=at,
        resumed=resumed,
        complete=complete,
        alive=alive,
        stale_since=timestamp(stale_since),
    )


def render_user(members: Mapping[str, object]) -> bytes:
    """The part of a message that tells of one user, from "user" to the closing brace."""
    return _render(**members)[1:]


def render_removed(user: str) -> bytes:
    """The same, of a user who is no more."""
    return _render(user=user, removed=True)[1:]


def render_unavailable(user: str) -> bytes:
    """The same, of a user whose status cannot be told."""
    return _render(user=user, unavailable=True)[1:]


SNAPSHOT = b'{"type":"snapshot"}'


def present(part: bytes) -> bytes:
    """A snapshot's message about one user."""
    return b'{"type":"user",' + part


def change(at: str, part: bytes) -> bytes:
    """A change; `at` is its id."""
    return b'{"type":"change","id":"' + at.encode() + b'",' + part


def render_end(at: str) -> bytes:
    """The end of a snapshot; `at` is its id."""
    return _render(type="end", id=at)


def render_alive(at: str | None, stale_since: datetime | None = None) -> bytes:
    """A sign of life; `at` is its id."""
    return _render(type="alive", id=at, stale_since=timestamp(stale_since))


def timestamp(moment: datetime | None) -> str | None:
    """A time as messages have it (RFC 3339, in UTC); null for none."""
    return None if moment is None else moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _render(**members: object) -> bytes:
    return json.dumps(members, ensure_ascii=False, separators=(",", ":")).encode()


def parse(text: str) -> Message | None:
    """A message; None: one of a kind that is not known here. All text in it is clean (`wire.text`).

    Raises:
        ProtocolError: it is none, or says what it must not.
    """
    try:
        members = json.loads(text)
    except (ValueError, RecursionError):
        raise ProtocolError("a message that is not JSON") from None
    if not isinstance(members, dict) or not isinstance(members.get("type"), str):
        raise ProtocolError("a message without a type")
    reader = _READERS.get(members["type"])
    return None if reader is None else reader(members)


def _read_hello(members: Mapping[str, Any]) -> Hello:
    if members.get("protocol") != PROTOCOL:
        raise ProtocolError("the server speaks another version of the protocol")
    alive = members.get("alive")
    if not isinstance(alive, int | float) or not _ALIVE_RANGE[0] <= alive <= _ALIVE_RANGE[1]:
        raise ProtocolError("a hello without a time of silence")
    return Hello(
        _id(members, "epoch"),
        _id_or_none(members),
        members.get("resumed") is True,
        members.get("complete") is True,
        float(alive),
        _moment(members, "stale_since"),
    )


def _read_user(members: Mapping[str, Any]) -> Present | Unavailable:
    return Unavailable(_user(members)) if members.get("unavailable") is True else Present(_live_user(members))


def _read_change(members: Mapping[str, Any]) -> Changed | Removed:
    if members.get("removed") is True:
        return Removed(_id(members), _user(members))
    return Changed(_id(members), _live_user(members))


_READERS: Mapping[str, Callable[[Mapping[str, Any]], Message]] = {
    "hello": _read_hello,
    "snapshot": lambda _members: SnapshotBegins(),
    "user": _read_user,
    "end": lambda members: SnapshotEnds(_id(members)),
    "change": _read_change,
    "alive": lambda members: Alive(_id_or_none(members), _moment(members, "stale_since")),
}


def _id(members: Mapping[str, Any], key: str = "id") -> str:
    value = members.get(key)
    if not isinstance(value, str) or not _ID.match(value):
        raise ProtocolError(f"a message whose {key} is none")
    return value


def _id_or_none(members: Mapping[str, Any]) -> str | None:
    return None if members.get("id") is None else _id(members)


def _user(members: Mapping[str, Any]) -> str:
    value = members.get("user")
    if not isinstance(value, str) or not value or not value.isprintable():
        raise ProtocolError("a message that names no user")
    return value


def _live_user(members: Mapping[str, Any]) -> LiveUser:
    status, name, details = members.get("status"), members.get("name"), members.get("details", {})
    if not isinstance(status, str) or not isinstance(name, str | None) or not isinstance(details, dict):
        raise ProtocolError("a message with a status that is none")
    if not all(isinstance(value, str) for value in details.values()):
        raise ProtocolError("a message with details that are not text")
    return LiveUser(
        _user(members),
        clean(status).rstrip("\n"),
        None if name is None else clean_line(name),
        _moment(members, "since"),
        _moment(members, "until"),
        MappingProxyType({clean_line(key): clean(value) for key, value in details.items()}),
    )


def _moment(members: Mapping[str, Any], key: str) -> datetime | None:
    value = members.get(key)
    if value is None:
        return None
    try:
        return in_utc(datetime.fromisoformat(value))
    except (TypeError, ValueError):
        raise ProtocolError(f"a message whose {key} is no time with a zone") from None
