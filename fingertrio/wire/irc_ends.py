"""Why a session ended, and what that means for the next one. No state, no I/O.

Servers say the same thing by a numeric, by an ERROR, or by both, and the texts differ. This file reads them; how long
to wait, and when to stop, is in `irc_pauses`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum, auto

MINUTE = 60.0


class Verdict(StrEnum):
    """What an end means for the next attempt."""

    AGAIN = auto()  # a pause, then the same again
    LATER = auto()  # the same, but at least `Ended.least` seconds later
    STOP = auto()  # no attempt can succeed until an operator changes something
    PASSWORD = auto()  # probably a wrong password: stop if the server says the same three times
    BANNED = auto()  # stop, or one attempt each few hours
    KILLED = auto()  # an operator disconnected us: ten minutes; stop at the third time in a day
    THROTTLED = auto()  # we came back too fast: a minute, doubled each time
    TOO_MANY = auto()  # too many connections of this address: five minutes
    NEXT = auto()  # the server points to another one
    FLOODED = auto()  # the server says that we sent too fast: a plain pause, and a smaller burst


@dataclass(frozen=True, slots=True)
class Ended:
    """The session is over.

    Attributes:
        reason: the server's text, unmodified, or ours.
        verdict: what it means for the next attempt.
        least: the shortest pause before that, in seconds.
        outcome: for metrics: "refused", "sasl" or "banned".
    """

    reason: str
    verdict: Verdict = Verdict.AGAIN
    least: float = 0.0
    outcome: str = "refused"


# What an ERROR means, by the first pattern that its text has.
_ERRORS = (
    (re.compile(r"\b[KGZDXQ]-?lined\b|\bbanned\b|\bAKILL", re.IGNORECASE), Verdict.BANNED),
    (re.compile(r"throttl|too fast|reconnect", re.IGNORECASE), Verdict.THROTTLED),
    (re.compile(r"too many", re.IGNORECASE), Verdict.TOO_MANY),
    (re.compile(r"excess flood", re.IGNORECASE), Verdict.FLOODED),
    (re.compile(r"password|access denied|unauthori[sz]ed", re.IGNORECASE), Verdict.PASSWORD),
)
# "Killed (oper (reason))": the name of a server has a dot, the name of a person has none. GHOST and the like come from
# services or name the command.
_KILLED = re.compile(r"\bKilled\s*\(\s*([^\s()]+)\s*\((.*)", re.IGNORECASE | re.DOTALL)
_OWN_DOING = re.compile(r"ghost|regain|recover|collision", re.IGNORECASE)


def end_by_error(text: str, *, registered: bool) -> Ended:
    """What an ERROR with `text` means."""
    if (killed := _KILLED.search(text)) is not None:
        by_person = "." not in killed[1] and not killed[1].lower().endswith("serv")
        if by_person and not _OWN_DOING.search(killed[2]):
            return Ended(text, Verdict.KILLED)
        return Ended(text)
    verdict = next((verdict for pattern, verdict in _ERRORS if pattern.search(text)), Verdict.AGAIN)
    if verdict is Verdict.PASSWORD and registered:
        verdict = Verdict.AGAIN
    return Ended(text, verdict, outcome="banned" if verdict is Verdict.BANNED else "refused")


def end_by_numeric(numeric: str, text: str) -> Ended | None:
    """What a numeric before registration means; None: not an end."""
    match numeric:
        case "463" | "464":
            return Ended(text, Verdict.STOP)
        case "465" | "466":
            return Ended(text, Verdict.BANNED, outcome="banned")
        case "010":
            return Ended(text, Verdict.NEXT)
        case "005" if text.lower().startswith("try server"):
            return Ended(text, Verdict.NEXT)
    return None


def sasl_failed(reason: str) -> Ended:
    """The network does not accept our account."""
    return Ended(f"SASL login failed: {reason}", Verdict.STOP, outcome="sasl")


def sasl_unavailable(reason: str) -> Ended:
    """The network cannot check accounts now: its services are away."""
    return Ended(f"SASL login is not possible now: {reason}", Verdict.LATER, MINUTE, "sasl")
