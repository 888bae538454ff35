"""Renders finger answers: a user, a list of users and the refusals, as bytes. No I/O.

RFC 1288 section 2.5 defines the content of answers and leaves their layout open ("designed to be read by people"); this
layout is that of common finger programs. Every answer passes `wire.text`, so every line ends in CRLF, and no character
that controls a terminal is sent, whichever backend it came from.

The administrator chooses each fact that is shown (3.2.3): "since", "until", "plan", and the name of each detail
("project", "pubkey", "pronouns", "timezone", "links" ...). `facts=None` is all of them. The login and the full name are
always shown: 2.5.1 and 2.5.2 say MUST, and 3.2.3 calls them the minimum. Listing them in `facts` is harmless.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime

from fingertrio.backend import NO_PLAN, UserInfo
from fingertrio.wire.text import clean, clean_line, first_line, to_wire

USER_LIST_DENIED = "Finger online user list denied"  # text from 3.2.2
FORWARDING_DENIED = "Finger forwarding service denied"  # text from 3.2.1
NO_USERS = "No users are listed"
UNREADABLE = "(could not be read)"  # in place of the status

_NAME_COLUMN = 40  # as in finger programs and in section 4 of the RFC
_NAME_UNKNOWN = "???"  # as in BSD's finger

# A longer login or name overflows its column, so that all other rows still fit an 80-column terminal.
_LOGIN_COLUMNS = 16
_NAME_COLUMNS = 24
# Characters of a field in the list; one row stays under a kilobyte. A query for the user shows the whole field.
_FIELD_LIMIT = 160
# The first line is searched in so many characters of a status. The list is rendered without a checkpoint, and two
# thousand whole plans would block all clients for a third of a second.
_SCAN_LIMIT = 500
# If these are empty, because they are all escape sequences or blank lines, so many are searched.
_SECOND_SCAN_LIMIT = 4000

# Not from strftime: %a and %b depend on the server's locale.
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def render_status(info: UserInfo) -> bytes:
    """The status alone: `answer = "status"`."""
    return to_wire(info.status or NO_PLAN)


def render_full(
    info: UserInfo,
    *,
    verbose: bool = False,
    facts: AbstractSet[str] | None = None,
    stale_since: datetime | None = None,
) -> bytes:
    """User information in the layout of finger programs: `answer = "full"`.

    Args:
        info: the user.
        verbose: /W. Adds every detail; without it, of the details only the project is shown. Removes nothing (2.5.4).
        facts: the facts that may be shown, also with /W; None: all.
        stale_since: since when the answer may be out of date; a line says so, whatever `facts` are.
    """
    login = f"Login: {clean_line(info.user)}"
    name = clean_line(info.name or "") or _NAME_UNKNOWN
    lines = [f"{_pad(login, _NAME_COLUMN)}Name: {name}"]
    if times := _times(info, facts):
        lines.append(times)
    for key, value in info.details.items():
        if (verbose or key == "project") and _may_show(key, facts) and (text := clean(value).strip("\n")):
            lines.append(_detail(key, text))
    if _may_show("plan", facts):
        plan = clean(info.status).strip("\n")
        lines.append(f"Plan:\n{plan}" if plan else NO_PLAN)
    return to_wire("\n".join(lines + _stale(stale_since)))


def render_list(
    users: Iterable[UserInfo | str],
    *,
    facts: AbstractSet[str] | None = None,
    more: int = 0,
    stale_since: datetime | None = None,
) -> bytes:
    """One line for each user: login, full name, and the first line of the status where "plan" may be shown.

    The login is the first word of the line, so a double click selects it. The list shows nothing that `render_full`
    hides (2.5.2). The name column is omitted if no full name is known. Lines at the end say how many `more` users there
    are, and since when the list may be out of date. A user given as a login name alone is marked as unreadable.
    """
    below = [f"... and {more} more"] * bool(more) + _stale(stale_since)
    with_status = _may_show("plan", facts)
    rows = [
        (clean_line(user), "", UNREADABLE)
        if isinstance(user, str)
        else (
            clean_line(user.user),
            _cut(clean_line(user.name or "")),
            _cut(_summary(user.status)) if with_status else "",
        )
        for user in users
    ]
    if not rows:
        return to_wire("\n".join([NO_USERS, *below]))
    with_names = any(name for _, name, _ in rows)
    rows.insert(0, ("Login", "Name" if with_names else "", "Status" if with_status else ""))
    login_columns = min(max(_width(login) for login, _, _ in rows), _LOGIN_COLUMNS) + 2
    name_columns = min(max(_width(name) for _, name, _ in rows), _NAME_COLUMNS) + 2 if with_names else 0
    lines = [
        (_pad(login, login_columns) + (_pad(name, name_columns) if with_names else "") + status).rstrip()
        for login, name, status in rows
    ]
    return to_wire("\n".join(lines + below))


def _summary(status: str) -> str:
    return first_line(status[:_SCAN_LIMIT]) or first_line(status[:_SECOND_SCAN_LIMIT])


def _may_show(fact: str, facts: AbstractSet[str] | None) -> bool:
    return facts is None or fact in facts


def _times(info: UserInfo, facts: AbstractSet[str] | None) -> str:
    """`Since ..., until ...`: the parts that are known and may be shown."""
    since = f"since {_format_time(info.since)}" if info.since is not None and _may_show("since", facts) else ""
    until = f"until {_format_time(info.until)}" if info.until is not None and _may_show("until", facts) else ""
    return _capital(", ".join(filter(None, (since, until))))


def _stale(since: datetime | None) -> list[str]:
    return [] if since is None else [f"As of {_format_time(since)}: the source is unavailable"]


def _format_time(when: datetime) -> str:
    """`when` in UTC, unambiguous in every country: "Sun 22 Nov 2026 18:30 UTC"."""
    utc = when.astimezone(UTC)
    return f"{_DAYS[utc.weekday()]} {utc.day} {_MONTHS[utc.month - 1]} {utc.year} {utc:%H:%M} UTC"


def _detail(key: str, text: str) -> str:
    """`Key: text`; a text of several lines (a public key) starts on a new line, so that it can be copied."""
    return f"{_capital(clean_line(key))}:" + ("\n" if "\n" in text else " ") + text


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _cut(text: str) -> str:
    return text if len(text) <= _FIELD_LIMIT else f"{text[: _FIELD_LIMIT - 3]}..."


def _pad(text: str, columns: int) -> str:
    return text + " " * max(columns - _width(text), 2)


def _width(text: str) -> int:
    """Columns of `text` on a terminal: wide East Asian characters count two, combining and joining ones zero."""
    if text.isascii():
        return len(text)
    return sum(map(_char_width, text))


def _char_width(char: str) -> int:
    if unicodedata.category(char) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1
