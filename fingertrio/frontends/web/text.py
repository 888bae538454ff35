"""What a user wrote, as HTML: links, lines, and plans whose columns stay aligned."""

from __future__ import annotations

import re
from urllib.parse import quote

# A detail that is a single URL becomes a link. Only http and https: other schemes can run code.
_WEB_ADDRESS = re.compile(r"https?://[^\s<>\"]+\Z")


def href(name: str) -> str:
    """A user name as a relative link. Without ":" and "/" it is always a path segment, never a scheme or a host."""
    return quote(name, safe="")


def is_link(text: str) -> bool:
    """Whether `text` is one web address and nothing else."""
    return _WEB_ADDRESS.match(text) is not None
