"""Which nicks to try when the one we want is in use or invalid. No state, no I/O."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

# A server sends its NICKLEN only after registration (RPL_ISUPPORT). Every server allows nine (RFC 1459 section 1.2).
SAFE_NICKLEN = 9
# If nine sessions of our own still hold nicks, a tenth nick does not solve the problem.
_NICK_ATTEMPTS = 10


def nick_candidates(wish: str, alternates: Sequence[str] = (), nicklen: int = SAFE_NICKLEN) -> Iterator[str]:
    """The nicks to try in order, always the same and each once.

    First `wish`, then `alternates`, then nicks of at most `nicklen` characters: `fingerbot`, `fingerbo1`, `fingerbo2`,
    ...; `statusserver`, `statusser`, `statusse1`, `statusse2`, ...
    """
    seen: set[str] = set()
    numbered = (wish[: nicklen - len(str(number))] + str(number) for number in range(1, _NICK_ATTEMPTS))
    generated = [wish[:nicklen], *numbered]
    for nick in (wish, *alternates, *generated):
        if nick not in seen and len(seen) < _NICK_ATTEMPTS + len(alternates):
            seen.add(nick)
            yield nick
