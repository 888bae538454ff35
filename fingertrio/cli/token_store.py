"""The tokens of a server that is known by its configuration, for `fingertrio token`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import click

from fingertrio.accounts.store import TokenStore
from fingertrio.cli.errors import stop
from fingertrio.config.config import load_accounts
from fingertrio.config.errors import ConfigError
from fingertrio.config.plugins import find_backend
from fingertrio.config.sections import AccountsSection, BackendSection
from fingertrio.server.accounts import backend_keeps_tokens, tokens_document, tokens_path


@dataclass(frozen=True, slots=True)
class _Sections:
    backend: BackendSection
    accounts: AccountsSection


@asynccontextmanager
async def configured_store(path: Path | None, note: str) -> AsyncIterator[TokenStore]:
    """The tokens of the configuration at `path`; its backend is opened if that keeps them. `note` follows their place.

    Ends the program if the configuration has mistakes.
    """
    try:
        config = _Sections(*load_accounts(path))
        if not backend_keeps_tokens(config):
            click.echo(f"tokens: {tokens_path(config)}{note}", err=True)
            yield TokenStore(tokens_document(config))
            return
        plugin = find_backend(config.backend.use)
        options = plugin.check_options(config.backend.options, str(path or "the built-in configuration"))
    except ConfigError as error:
        stop(str(error))
    click.echo(f"tokens: in {config.backend.use}{note}", err=True)
    async with plugin.open(options) as backend:
        yield TokenStore(tokens_document(config, backend))
