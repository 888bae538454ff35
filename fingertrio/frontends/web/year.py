"""A year of statuses as squares, one for each day: an SVG in the page, with a sentence that says the same.

The squares have classes, whose colours are in the style sheet. Days are those of UTC. All days without a status are one
path; the others are squares with a title, which a mouse shows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta

from markupsafe import Markup

_WEEKS = 53
_STEP, _SIDE = 12, 10  # of a square, in units of the drawing
_TOP = 18  # above it, the names of the months
_DAY = timedelta(days=1)

_SQUARE = "M{} {}h{side}v{side}h-{side}z"
_RECT = Markup('<rect class="{}" x="{}" y="{}" width="{side}" height="{side}" rx="2"><title>{}</title></rect>')
_MONTH = Markup('<text x="{}" y="11">{}</text>')
_DRAWING = Markup(
    '<svg class="year" viewBox="0 0 {} {}" role="img" aria-labelledby="year-title">'
    '<title id="year-title">{}</title><g class="months" aria-hidden="true">{}</g><path class="empty" d="{}"/>{}</svg>'
)


def year_of(moments: Iterable[datetime], today: date, *, is_all: bool = True) -> Markup:
    """The drawing.

    Args:
        moments: when statuses were set; others than those of the year before `today` are ignored.
        today: the last day, in UTC.
        is_all: whether `moments` has all of that year; otherwise there may have been more.
    """
    first = today - timedelta(days=today.weekday(), weeks=_WEEKS - 1)  # a Monday
    counts = Counter(day for moment in moments if first <= (day := moment.astimezone(UTC).date()) <= today)
    empty: list[str] = []
    squares: list[Markup] = []
    months: list[Markup] = []
    for number in range((today - first).days + 1):
        day = first + number * _DAY
        x, y = number // 7 * _STEP, number % 7 * _STEP + _TOP
        if day.day == 1 and x < (_WEEKS - 1) * _STEP:
            months.append(_MONTH.format(x, f"{day:%b}"))
        if count := counts[day]:
            squares.append(_RECT.format(_level(count), x, y, f"{_many(count)} on {_long(day)}", side=_SIDE))
        else:
            empty.append(_SQUARE.format(x, y, side=_SIDE))
    title = _sentence(counts, first, today, is_all=is_all)
    size = _WEEKS * _STEP - (_STEP - _SIDE), _TOP + 7 * _STEP - (_STEP - _SIDE)
    return _DRAWING.format(*size, title, Markup("").join(months), "".join(empty), Markup("").join(squares))


def _level(count: int) -> str:
    """The class of a day."""
    return "some" if count == 1 else "more" if count <= 3 else "most"


def _sentence(counts: Counter[date], first: date, today: date, *, is_all: bool) -> str:
    if not counts:
        return f"No status from {_long(first)} to {_long(today)}"
    busiest = max(sorted(counts), key=lambda day: counts[day])
    at_least = "" if is_all else "at least "
    days = "1 day" if len(counts) == 1 else f"{len(counts)} days"
    text = f"{at_least}{_many(counts.total())} on {days} from {_long(first)} to {_long(today)}"
    text = text[0].upper() + text[1:]
    return text if counts[busiest] == 1 else f"{text}; the most, {counts[busiest]}, on {_long(busiest)}"


def _many(count: int) -> str:
    return "1 status" if count == 1 else f"{count} statuses"


def _long(day: date) -> str:
    return f"{day.day} {day:%B} {day.year}"
