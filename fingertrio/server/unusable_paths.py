"""Paths in a configuration that the user of [process] cannot use, although the server will be that user when it does.

The paths are those of the models: whatever a front end or a backend, ours or of another package, has declared as a
`Path`. What the server writes is known of our own: the SQLite database, the tokens file and `sts_file`. All other paths
are read, if they are there.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from fingertrio.config.config import Config
from fingertrio.config.errors import ConfigError
from fingertrio.config.plugins import find_backend
from fingertrio.net.address import Address
from fingertrio.server.access import Obstacle, ServerUser
from fingertrio.server.accounts import backend_keeps_tokens, tokens_path
from fingertrio.server.findings import Finding

_READ, _WRITE = os.R_OK, os.R_OK | os.W_OK


def find_unusable_paths(config: Config, user: ServerUser) -> Iterator[Finding]:
    """A finding for each path that `user` cannot use, and what is in the way."""
    for where, path, mode in _paths(config):
        if str(path).startswith("$"):  # $CREDENTIALS_DIRECTORY, which systemd makes for the server's user
            continue
        place = path.expanduser().absolute()
        obstacle = user.obstacle(place, mode)
        if obstacle is not None:
            yield Finding(
                f"{where} = {path}",
                f"{user.name} may not {obstacle.lacks} {obstacle.place} ({obstacle.ownership})",
                _next(place, obstacle, user),
            )


def _next(path: Path, obstacle: Obstacle, user: ServerUser) -> str:
    """What to do: never to give away a directory in which other things are."""
    if obstacle.place == path.resolve():
        return f"chown {user.name} {path}, or let its group or others do that with chmod"
    if "write" in obstacle.lacks:
        return f"make a directory for it: install -d -o {user.name} -m 700 {path.parent}"
    return f"move it to a directory that {user.name} can enter, such as /etc/fingertrio or /var/lib/fingertrio"


def _paths(config: Config) -> Iterator[tuple[str, Path, int]]:
    """Each path that the configuration names or implies: its key, and how the server uses it."""
    for name, section in config.doors.items():
        for key, path in _within("", section):
            yield f"[{name}] {key}", path, _WRITE if key.endswith("sts_file") else _READ
    for place, table in _backends("[backend]", {"use": config.backend.use, **config.backend.options}):
        written = table["use"] == "sqlite"
        for key, path in _within("", _options(table)):
            yield f"{place} {key}", path, _WRITE if written and key == "path" else _READ
    if not backend_keeps_tokens(config):
        yield "[accounts] path", tokens_path(config), _WRITE


def _backends(place: str, table: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """A backend, or those that are layers of it."""
    layers = table.get("layers") if table.get("use") == "layers" else None
    if not isinstance(layers, list):
        yield place, table
        return
    for number, layer in enumerate(layers, 1):
        if isinstance(layer, Mapping) and "use" in layer:
            yield from _backends(f"{place} layer {number}", layer)


def _options(table: Mapping[str, Any]) -> object:
    """The options of a backend with their defaults; None: it is not installed here."""
    try:
        plugin = find_backend(table["use"])
        known = {option.name for option in plugin.options()}  # a layer has keys that are not its backend's
        return plugin.check_options({key: value for key, value in table.items() if key in known}, "")
    except ConfigError:
        return None


def _within(key: str, value: object) -> Iterator[tuple[str, Path]]:
    """Each path in a value, with the names that lead to it."""
    items: Iterable[tuple[object, object]] = ()
    match value:
        case Path():
            yield key, value
        case Address() | str():
            pass
        case BaseModel():
            items = ((name, getattr(value, name)) for name in type(value).model_fields)
        case Mapping():
            items = value.items()
        case list() | tuple():
            items = enumerate(value)
        case _ if dataclasses.is_dataclass(value) and not isinstance(value, type):
            items = ((field.name, getattr(value, field.name, None)) for field in dataclasses.fields(value))
    for name, each in items:
        if name != "servers":  # of [irc]: sockets of other programs
            yield from _within(f"{key}.{name}" if key else str(name), each)
