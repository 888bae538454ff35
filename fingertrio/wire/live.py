"""The messages of the live feed: the server's serializers and the client's parser. Sans-IO.

One message is one JSON object in a WebSocket text message, `type` first. docs/reference/live-feed.md explains the
protocol. The messages:

    {"type": "hello", "protocol": 1, "epoch": E, "id": ID | null, "resumed": BOOL, "complete": BOOL, "alive": SECONDS,
     "stale_since": TIME | null}
    {"type": "snapshot"}            {"type": "user", USER}*            {"type": "end", "id": ID}
    {"type": "change", "id": ID, USER}
    {"type": "alive", "id": ID | null, "stale_since": TIME | null}

USER is the members of the /api/users/NAME object; or `"user": NAME, "removed": true` (in a change), or
`"user": NAME, "unavailable": true` (in a snapshot). An ID is opaque to clients. Clients ignore unknown types and
members, so that the protocol can grow.

The user part is rendered separately from the part before it, so that one rendering serves the snapshots and changes of
all watchers.
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
EVENTS_PATH = "/api/events"
PROTOCOL = 1

# Accepted values of "alive": a shorter interval would be a flood, a longer one would detect no lost server.
_ALIVE_RANGE = (0.01, 3600.0)  # seconds

_ID = re.compile(r"[!-~]{1,64}\Z")


@dataclass(frozen=True, slots=True)
class LiveUser:
    """One user and the current public status; the attributes are those of `backend.UserInfo`."""

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
        epoch: identifies the server's run; ids of another epoch are invalid.
        id: changes after this id follow; None: a snapshot follows first.
        resumed: the changes continue at the client's `since`.
        complete: every change is sent. Otherwise only changes made through this server are sent.
        alive: seconds of inactivity after which the server sends "alive".
        stale_since: since when the statuses may be outdated, because their source is unavailable; None: up to date.
    """

    epoch: str
    id: str | None
    resumed: bool
    complete: bool
    alive: float
    stale_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class SnapshotBegins:
    """Replaces everything sent so far once the snapshot ends."""


@dataclass(frozen=True, slots=True)
class Present:
    """One user of the snapshot."""

    info: LiveUser


@dataclass(frozen=True, slots=True)
class Unavailable:
    """One user of the snapshot whose status cannot be read now; a change follows when it can."""

    user: str


@dataclass(frozen=True, slots=True)
class SnapshotEnds:
    """The snapshot is complete: there are no other users. Everything up to `id` has been sent."""

    id: str


@dataclass(frozen=True, slots=True)
class Changed:
    """A user's new state. Everything up to `id` has been sent."""

    id: str
    info: LiveUser


@dataclass(frozen=True, slots=True)
class Removed:
    """The user no longer exists. Everything up to `id` has been sent."""

    id: str
    user: str


@dataclass(frozen=True, slots=True)
class Alive:
    """The server is alive. Everything up to `id` has been sent; None: a snapshot is not complete yet.

    `stale_since` is as in `Hello`.
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
    """The user part of a message, from "user" to the closing brace."""
    return _render(**members)[1:]


def render_removed(user: str) -> bytes:
    """The user part for a user who no longer exists."""
    return _render(user=user, removed=True)[1:]


def render_unavailable(user: str) -> bytes:
    """The user part for a user whose status cannot be read."""
    return _render(user=user, unavailable=True)[1:]


SNAPSHOT = b'{"type":"snapshot"}'


def present(part: bytes) -> bytes:
    """One user of a snapshot; `part` is a user part."""
    return b'{"type":"user",' + part


def change(at: str, part: bytes) -> bytes:
    """A change; `at` is its id, `part` a user part."""
    return b'{"type":"change","id":"' + at.encode() + b'",' + part


def render_end(at: str) -> bytes:
    """The end of a snapshot; `at` is its id."""
    return _render(type="end", id=at)


def render_alive(at: str | None, stale_since: datetime | None = None) -> bytes:
    """An "alive" message; `at` is its id."""
    return _render(type="alive", id=at, stale_since=timestamp(stale_since))


def timestamp(moment: datetime | None) -> str | None:
    """`moment` as a message contains it: RFC 3339 in UTC, or None for null."""
    return None if moment is None else moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _render(**members: object) -> bytes:
    return json.dumps(members, ensure_ascii=False, separators=(",", ":")).encode()


def parse(text: str) -> Message | None:
    """The message in `text`, with all strings cleaned (`wire.text`); None: a type that this version does not know.

    Raises:
        ProtocolError: not a message, or a message with an invalid member.
    """
    try:
        members = json.loads(text)
    except (ValueError, RecursionError):
        raise ProtocolError("message is not JSON") from None
    if not isinstance(members, dict) or not isinstance(members.get("type"), str):
        raise ProtocolError("message has no type")
    reader = _READERS.get(members["type"])
    return None if reader is None else reader(members)


def _read_hello(members: Mapping[str, Any]) -> Hello:
    if members.get("protocol") != PROTOCOL:
        raise ProtocolError("server uses another version of the protocol")
    alive = members.get("alive")
    if not isinstance(alive, int | float) or not _ALIVE_RANGE[0] <= alive <= _ALIVE_RANGE[1]:
        raise ProtocolError('"alive" of the hello is missing or out of range')
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
        raise ProtocolError(f'message has an invalid "{key}"')
    return value


def _id_or_none(members: Mapping[str, Any]) -> str | None:
    return None if members.get("id") is None else _id(members)


def _user(members: Mapping[str, Any]) -> str:
    value = members.get("user")
    if not isinstance(value, str) or not value or not value.isprintable():
        raise ProtocolError("message has no valid user name")
    return value


def _live_user(members: Mapping[str, Any]) -> LiveUser:
    status, name, details = members.get("status"), members.get("name"), members.get("details", {})
    if not isinstance(status, str) or not isinstance(name, str | None) or not isinstance(details, dict):
        raise ProtocolError('message has an invalid "status", "name" or "details"')
    if not all(isinstance(value, str) for value in details.values()):
        raise ProtocolError('message has "details" that are not strings')
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
        raise ProtocolError(f'"{key}" of a message is not a time with a time zone') from None
