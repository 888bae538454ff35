"""Splits a text into pieces that fit into IRC messages. No state, no I/O."""

from __future__ import annotations

import unicodedata

_ZERO_WIDTH_JOINER = "\u200d"
_SKIN_TONES = range(0x1F3FB, 0x1F400)
_REGIONAL_INDICATORS = range(0x1F1E6, 0x1F200)  # two of them are a flag
_TAGS = range(0xE0020, 0xE0080)  # the flags of England, Scotland and Wales


def split_text(text: str, limit: int) -> list[str]:
    """Split `text` into pieces of at most `limit` bytes of UTF-8; joined, they give `text`. Empty text has no pieces.

    A piece ends after the last space in its second half: breaking at an earlier space would need too many messages.
    Without such a space it ends between two characters as people see them: an accent, a skin tone or the second half of
    a flag stays with the character before it. Only a character that is longer than half a piece is broken.

    Raises:
        ValueError: `limit` is under 4 bytes, the longest code point, or `text` has lone surrogates.
    """
    if limit < 4:
        raise ValueError("the limit is too small for one character")
    data = text.encode()
    pieces = []
    start = 0
    while len(data) - start > limit:
        end = _cut(data, start, limit)
        pieces.append(data[start:end].decode())
        start = end
    if start < len(data):
        pieces.append(data[start:].decode())
    return pieces


def _cut(data: bytes, start: int, limit: int) -> int:
    """Where the piece that begins at `start` ends; there is more data than fits into it."""
    end = start + limit
    least = start + limit // 2
    if (space := data.rfind(b" ", least, end)) >= 0:
        return space + 1
    while data[end] & 0xC0 == 0x80:  # a continuation byte: its code point began before
        end -= 1
    before = data[start:end].decode()
    after = data[end : end + 4].decode(errors="ignore")[0]
    cut = end
    while cut > least:
        if not _belongs_together(before, after):
            return cut
        before, after = before[:-1], before[-1]
        cut -= len(after.encode())
    return end


def _belongs_together(before: str, after: str) -> bool:
    """Whether the code point `after` continues the last character of `before`."""
    code = ord(after)
    if unicodedata.category(after) in ("Mn", "Me", "Mc") or after == _ZERO_WIDTH_JOINER:  # also variation selectors
        return True
    if code in _SKIN_TONES or code in _TAGS or before[-1] == _ZERO_WIDTH_JOINER:
        return True
    if code not in _REGIONAL_INDICATORS:
        return False
    flags = len(before)
    while flags and ord(before[flags - 1]) in _REGIONAL_INDICATORS:
        flags -= 1
    return (len(before) - flags) % 2 == 1
