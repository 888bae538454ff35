"""One user as a JSON object: the same members in the JSON interface, in the live feed and in webhooks."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol

from fingertrio.wire.emoji import headline
from fingertrio.wire.live import timestamp
from fingertrio.wire.text import clean, clean_line


class User(Protocol):
    """What `backend.UserInfo` and `live.LiveUser` have in common; see there."""

    @property
    def user(self) -> str: ...
    @property
    def status(self) -> str: ...
    @property
    def name(self) -> str | None: ...
    @property
    def since(self) -> datetime | None: ...
    @property
    def until(self) -> datetime | None: ...
    @property
    def details(self) -> Mapping[str, str]: ...


def user_json(info: User) -> dict[str, object]:
    """The JSON object for one user; docs/reference/http.md describes its members."""
    first = headline(info.status)
    return {
        "user": info.user,
        "status": clean(info.status),
        "emoji": first.emoji,
        "line": first.line,
        "name": None if info.name is None else clean_line(info.name),
        "since": timestamp(info.since),
        "until": timestamp(info.until),
        "details": {clean_line(key): clean(value) for key, value in info.details.items()},
    }
