"""Which nicks to try when the one we want is in use or invalid. No state, no I/O."""

from __future__ import annotations

from collections.abc import Iterator

# A server sends its NICKLEN only after registration (RPL_ISUPPORT). Every server allows nine (RFC 1459 section 1.2).
_SAFE_NICKLEN = 9
# If nine sessions of our own still hold nicks, a tenth nick does not solve the problem.
_NICK_ATTEMPTS = 10


def nick_candidates(wish: str) -> Iterator[str]:
    """The nicks to try in order, always the same: `wish`, then nicks short enough for every NICKLEN.

    `fingerbot`, `fingerbo1`, `fingerbo2`, ...; `statusserver`, `statusser`, `statusse1`, ...
    """
    yield wish
    left = _NICK_ATTEMPTS - 1
    if len(wish) > _SAFE_NICKLEN:
        yield wish[:_SAFE_NICKLEN]
        left -= 1
    for number in range(1, left + 1):
        suffix = str(number)
        yield wish[: _SAFE_NICKLEN - len(suffix)] + suffix
