"""Masks of people on IRC: `nick!user@host` with * for any text and ? for any character, and nothing else. No I/O."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from fingertrio.wire.irc import Source

Fold = Callable[[str], str]


def matches_any(patterns: Sequence[str], source: Source, fold: Fold) -> bool:
    """Whether `source` matches one of `patterns`, without regard to case."""
    return bool(patterns) and any(matches(pattern, str(source), fold) for pattern in patterns)


def matches(pattern: str, text: str, fold: Fold = str.lower) -> bool:
    """Whether `text` matches `pattern` as a whole, both case-folded."""
    parts = [
        ".*" if char == "*" else "." if char == "?" else re.escape(fold(char)) for char in re.sub(r"\*+", "*", pattern)
    ]
    return re.fullmatch("".join(parts), fold(text), re.DOTALL) is not None
