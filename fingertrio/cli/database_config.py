"""The database that a configuration names, for commands that name one or find no running server."""

from __future__ import annotations

from pathlib import Path

from fingertrio.backends.sqlite.plugin import SQLiteOptions
from fingertrio.cli.errors import stop
from fingertrio.config.config import load_backend
from fingertrio.config.errors import ConfigError, report
from fingertrio.config.options import OptionsError, validate
from fingertrio.server.accounts import sqlite_table


def sqlite_options(config: Path | None) -> SQLiteOptions:
    """The options of the SQLite database of `config`, or of its first layer that has one.

    Ends the program if there is none, or if the configuration has mistakes.
    """
    source = str(config or "the built-in configuration")
    try:
        backend = load_backend(config)
        table = sqlite_table(backend)
        if table is None:
            stop(f'{source}: [backend] use = "{backend.use}" has no database file; name one with --database FILE')
        # A layer has keys of its own beside those of its backend.
        known = SQLiteOptions.model_fields if backend.use == "layers" else table.keys() - {"use"}
        return validate(SQLiteOptions, {key: table[key] for key in table if key in known}, "backend")
    except OptionsError as error:
        stop(report(source, error.mistakes))
    except ConfigError as error:
        stop(str(error))
