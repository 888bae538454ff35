"""Names that resemble one for which there is no user: a page that is not found says whom the reader may have meant.

Only names of the public list are compared, and the same name always has the same answer: a hidden user is as unknown
as one that does not exist.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from difflib import SequenceMatcher
from heapq import nlargest

SHOWN = 3

# Names that are compared in the order of their letters, for some 10 us each: those that share most letters.
_COMPARED = 50
_ALIKE = 0.6  # of 1.0; difflib's own choice


def similar(name: str, names: Iterable[str]) -> Sequence[str]:
    """At most SHOWN of `names` that resemble `name`, the most similar first."""
    wanted = name.casefold()
    matcher = SequenceMatcher(autojunk=False)
    matcher.set_seq2(wanted)
    found: list[tuple[float, str]] = []
    for _, other in nlargest(_COMPARED, _candidates(wanted, names)):
        matcher.set_seq1(other.casefold())
        if (ratio := matcher.ratio()) >= _ALIKE:
            found.append((ratio, other))
    return [other for _, other in nlargest(SHOWN, found)]


def _candidates(wanted: str, names: Iterable[str]) -> Iterator[tuple[float, str]]:
    """The names that may be alike, with the share of letters in common.

    A typing error seldom changes both the first and the last letter, or the length by more than two. These tests take
    0.3 us for a name, so a list of ten thousand takes some milliseconds.
    """
    first, last, length, letters = wanted[:1], wanted[-1:], len(wanted), set(wanted)
    for name in names:
        other = name.casefold()
        if abs(len(other) - length) <= 2 and (other[:1] == first or other[-1:] == last):
            share = len(letters.intersection(other)) / max(len(letters), len(set(other)))
            if share >= _ALIKE:
                yield share, name
