r"""IRC text formatting, as introduced by mIRC and understood by most clients: removed from text, never written.

    \x02 bold   \x1d italic   \x1f underline   \x1e strikethrough   \x11 monospace   \x16 reverse   \x0f reset
    \x03 color      color     = [ 1*2digit [ "," 1*2digit ] ]           foreground and background
    \x04 hex color  hex color = [ 6hexdigit [ "," 6hexdigit ] ]

A color's digits belong to the code, so removing only the control characters would leave them in the text.
"""

from __future__ import annotations

import re

_CODES = re.compile(
    "\x03(?:[0-9]{1,2}(?:,[0-9]{1,2})?)?|\x04(?:[0-9A-Fa-f]{6}(?:,[0-9A-Fa-f]{6})?)?|[\x02\x0f\x11\x16\x1d\x1e\x1f]"
)


def strip_formatting(text: str) -> str:
    """`text` without formatting codes. Other control characters stay; `wire.text` removes these."""
    return text if text.isprintable() else _CODES.sub("", text)
