"""Imports what the standard library would import later, when the process may no longer be able to read it.

Front ends and backends are imported before privileges are dropped, and read their files at import. The rest is here:
Python imports a codec when its name is first used, and clients can name any (`charset=koi8-r`).
"""

from __future__ import annotations

import encodings
import pkgutil
from contextlib import suppress
from importlib import import_module


def preload() -> None:
    """Import every codec: about 120 small modules, 0.1 seconds."""
    for module in pkgutil.iter_modules(encodings.__path__, "encodings."):
        with suppress(ImportError):  # some exist on other systems only
            import_module(module.name)
