"""Where this server's tokens are, and its accounts.

In this order: the file of `[accounts] path`; the backend, if all its servers share one store (Redis); `tokens.json`
next to the database; `tokens.json` in the state directory, which is where the database is by default.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from fingertrio.accounts.accounts import Accounts
from fingertrio.accounts.file import TokenFile
from fingertrio.accounts.store import Document, TokenStore
from fingertrio.backend import Backend, KeepsTokens
from fingertrio.config.places import state_directory
from fingertrio.config.sections import AccountsSection, BackendSection
from fingertrio.net.limits import RateLimiter

# Failed attempts of one address (IPv6: one /64), over all front ends together: ten at once, then one each six seconds.
_FAILURES = 10.0
_PERIOD = 60.0  # seconds

_NAME = "tokens.json"


class Sections(Protocol):
    """The sections that say where the tokens are; `Config` has them."""

    @property
    def backend(self) -> BackendSection: ...
    @property
    def accounts(self) -> AccountsSection: ...


def make_accounts(config: Sections, backend: Backend) -> Accounts:
    """The accounts of a server with this configuration, over its opened backend."""
    failures = RateLimiter(rate=_FAILURES / _PERIOD, burst=_FAILURES)
    return Accounts(TokenStore(tokens_document(config, backend)), failures)


def tokens_document(config: Sections, backend: object = None) -> Document:
    """The document with the tokens of a server with this configuration, over its opened backend if that keeps them."""
    if backend_keeps_tokens(config) and isinstance(backend, KeepsTokens):
        return _InBackend(backend)
    return TokenFile(tokens_path(config))


def backend_keeps_tokens(config: Sections) -> bool:
    """Whether the tokens are in the backend, which then has to be opened for them, and not in a file."""
    return config.backend.use == "redis" and config.accounts.path is None


def tokens_path(config: Sections) -> Path:
    """The tokens file of a server whose backend does not keep the tokens itself."""
    if config.accounts.path is not None:
        return config.accounts.path.expanduser().absolute()
    return kept_directory(config.backend) / _NAME


def kept_directory(backend: BackendSection) -> Path:
    """Where the files are that a server keeps: next to its database, if it has one, or in the state directory."""
    database = database_path(backend)
    return state_directory() if database is None else database.parent


def database_path(backend: BackendSection) -> Path | None:
    """The SQLite database of a server with this backend, if it has one."""
    table = sqlite_table(backend)
    if table is None:
        return None
    path = table.get("path")
    return Path(path).expanduser().absolute() if isinstance(path, str) else state_directory() / "fingertrio.db"


def sqlite_table(backend: BackendSection) -> Mapping[str, Any] | None:
    """The table with the options of the SQLite database: that of the backend, or of its first layer that has one."""
    return _sqlite_table({"use": backend.use, **backend.options})


def _sqlite_table(table: Mapping[str, Any]) -> Mapping[str, Any] | None:
    if table.get("use") == "sqlite":
        return table
    layers = table.get("layers") if table.get("use") == "layers" else None
    for layer in layers if isinstance(layers, list) else ():
        if isinstance(layer, dict) and (found := _sqlite_table(layer)) is not None:
            return found
    return None


class _InBackend:
    """The document of a backend that keeps the tokens."""

    def __init__(self, backend: KeepsTokens) -> None:
        self._backend = backend

    async def read(self) -> bytes | None:
        return await self._backend.read_tokens()

    async def replace(self, document: bytes, old: bytes | None) -> bool:
        return await self._backend.replace_tokens(document, old)
