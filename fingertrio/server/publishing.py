"""What a running server writes into its runtime file, for the command line to find it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fingertrio.config.config import Config
from fingertrio.net.address import parse_address
from fingertrio.observe.observer import Observer
from fingertrio.server.accounts import backend_keeps_tokens, database_path, sqlite_table, tokens_path
from fingertrio.server.runtime import RunningServer, RuntimeFile


def publish(
    runtime: RuntimeFile,
    config: Config,
    path: Path | None,
    addresses: Mapping[str, Sequence[str]],
    observer: Observer,
) -> None:
    """Write the runtime file of a server that is ready. A failure is a warning: the server works without it."""
    server = RunningServer(
        pid=os.getpid(),
        config=None if path is None else str(path.absolute()),
        backend=config.backend.use,
        database=_text(database_path(config.backend)),
        **_history(config),
        tokens=None if backend_keeps_tokens(config) else str(tokens_path(config)),
        doors={name: list(places) for name, places in addresses.items()},
        setters=_setters(config, addresses.get("setter", ())),
        default_for=config.service.default_for,
    )
    try:
        runtime.publish(server)
    except OSError as error:
        observer.warning("runtime_file_failed", reason=f"commands cannot find this server: {error.strerror}")


def _setters(config: Config, addresses: Sequence[str]) -> dict[str, str]:
    """The setter's addresses, each with the proof that it asks for."""
    section = config.doors.get("setter")
    if section is None:
        return {}
    return {text: section.auth_at(parse_address(text.removeprefix("tls://"))) for text in addresses}


def _history(config: Config) -> dict[str, Any]:
    table = sqlite_table(config.backend) or {}
    return {key: table.get(key) for key in ("history", "history_days")}


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
