"""One user as the page shows it: name, status, details, and how to read the status elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from markupsafe import Markup

from fingertrio.backend import NO_PLAN, UserInfo
from fingertrio.frontends.web import times
from fingertrio.frontends.web.text import Written, in_lines, is_link, link, written
from fingertrio.wire.emoji import is_emoji
from fingertrio.wire.text import clean, clean_line, first_line

# Details that stand elsewhere on the page than in the list of details, or are for programs.
_ELSEWHERE = frozenset({"pronouns", "timezone", "emoji", "webfinger"})

_LABELS = {"pubkey": "Public key", "timezone": "Time zone"}

_SUMMARY = 200  # characters; previews show less

_LONG = 100  # characters: a detail that is longer, or has several lines, is folded


@dataclass(frozen=True, slots=True)
class Detail:
    """One detail.

    Attributes:
        label: its name, with a capital.
        html: its text.
        folded: what stands for it until the reader opens it; empty: it is shown.
    """

    label: str
    html: Markup
    folded: str = ""


@dataclass(frozen=True, slots=True)
class Clock:
    """The time where the user is.

    Attributes:
        zone: "Europe/Berlin".
        shown: "14:05".
    """

    zone: str
    shown: str


@dataclass(frozen=True, slots=True)
class Profile:
    """One user, as clean text and safe HTML.

    Attributes:
        user: the login name.
        name: the full name; None: unknown.
        heading: the full name, or else the login name.
        emoji: the user's own; empty: none.
        pronouns: empty: none.
        clock: None: the time zone is not known.
        status: as written.
        is_picture: whether it is one emoji and nothing else.
        summary: the first line of the status, for a preview elsewhere.
        has_status: False: `status` only says that there is none.
        since, until: of the status.
        details: all others.
    """

    user: str
    name: str | None
    heading: str
    emoji: str
    pronouns: str
    clock: Clock | None
    status: Written
    is_picture: bool
    summary: str
    has_status: bool
    since: times.Shown | None
    until: times.Shown | None
    details: tuple[Detail, ...]

    @property
    def facts(self) -> list[tuple[str, str | Clock]]:
        """What stands below the heading, each with its kind."""
        facts = {
            "login": self.user if self.name else "",
            "pronouns": self.pronouns,
            "clock": self.clock,
            "emoji": self.emoji,
        }
        return [(kind, fact) for kind, fact in facts.items() if fact]


def profile(info: UserInfo, now: datetime) -> Profile:
    """The profile of one user.

    Args:
        info: as the service returns it.
        now: what relative times count from, in UTC.
    """
    name = clean_line(info.name or "")
    details = {clean_line(label): clean(text).strip("\n") for label, text in info.details.items()}
    zone = details.get("timezone", "")
    clock = _clock(zone, now)
    return Profile(
        user=info.user,
        name=name or None,
        heading=name or info.user,
        emoji=clean_line(details.get("emoji", ""))[:16],
        pronouns=clean_line(details.get("pronouns", ""))[:_LONG],
        clock=clock,
        status=written(info.status or NO_PLAN),
        is_picture=is_emoji(info.status.strip()),
        summary=first_line(info.status)[:_SUMMARY] or NO_PLAN,
        has_status=bool(info.status.strip()),
        since=None if info.since is None else times.ago(info.since, now),
        until=None if info.until is None else times.until(info.until, now),
        details=tuple(_details(details, shows_zone=clock is None)),
    )


def _details(details: dict[str, str], *, shows_zone: bool) -> Iterator[Detail]:
    for label, text in details.items():
        if label not in _ELSEWHERE or (label == "timezone" and shows_zone):
            yield _detail(label, text)


def _detail(label: str, text: str) -> Detail:
    lines = text.split("\n")
    shown = link(text, is_own=True) if is_link(text) else in_lines(lines)
    folded = ""
    if label == "pubkey" or len(lines) > 4:
        first = lines[0].split(" ", 1)[0][:40] if label == "pubkey" else ""
        count = f"{len(lines)} lines" if len(lines) > 1 else "1 line"
        folded = f"{first}, {count}" if first else count
    return Detail(_LABELS.get(label) or label[:1].upper() + label[1:], shown, folded)


def _clock(zone: str, now: datetime) -> Clock | None:
    """The time in `zone`; None if it is not a time zone that this machine knows."""
    try:
        return Clock(zone, f"{now.astimezone(ZoneInfo(zone)):%H:%M}") if zone else None
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None
