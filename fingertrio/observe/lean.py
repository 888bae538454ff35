"""Imports a package without another one that it would use where that is installed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without(name: str) -> Iterator[None]:
    """Within, importing `name` raises ImportError, unless it has been imported already."""
    if name in sys.modules:
        yield
        return
    sys.modules[name] = None  # type: ignore[assignment]  # how the import system marks what cannot be imported
    try:
        yield
    finally:
        del sys.modules[name]
