"""A year as squares, and as a sentence."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from xml.etree import ElementTree as ET

from fingertrio.frontends.web.year import year_of

TODAY = date(2026, 11, 29)  # a Sunday: the last column is full


def moment(days: int, hour: int = 12) -> datetime:
    return datetime(2026, 11, 29, hour, tzinfo=UTC) - timedelta(days=days)


def squares(svg: str) -> list[tuple[str, str]]:
    return re.findall(r'<rect class="(\w+)" [^>]*><title>([^<]*)</title>', svg)


def test_each_day_has_a_square_and_its_number_of_statuses() -> None:
    svg = year_of([moment(0), moment(1), moment(1), moment(2), moment(2, 1), moment(2, 2), moment(2, 3)], TODAY)
    assert squares(svg) == [
        ("most", "4 statuses on 27 November 2026"),
        ("more", "2 statuses on 28 November 2026"),
        ("some", "1 status on 29 November 2026"),
    ]
    assert len(squares(svg)) + svg.count("h10v10") == 53 * 7
    ET.fromstring(svg)


def test_the_sentence_says_what_the_squares_show() -> None:
    def title(svg: str) -> str:
        found = re.search(r'<title id="year-title">([^<]*)</title>', svg)
        assert found is not None
        return found[1]

    assert title(year_of([], TODAY)) == "No status from 24 November 2025 to 29 November 2026"
    assert title(year_of([moment(3)], TODAY)) == "1 status on 1 day from 24 November 2025 to 29 November 2026"
    busy = year_of([moment(1), moment(2), moment(2)], TODAY)
    assert title(busy).startswith("3 statuses on 2 days from")
    assert title(busy).endswith("; the most, 2, on 27 November 2026")
    assert title(year_of([moment(1)], TODAY, is_all=False)).startswith("At least 1 status on 1 day")


def test_other_years_are_not_counted() -> None:
    assert squares(year_of([moment(371), moment(-1)], TODAY)) == []
    assert len(squares(year_of([moment(370)], TODAY))) == 1


def test_it_is_small() -> None:
    assert len(year_of([moment(day) for day in range(365)], TODAY)) < 50_000
    assert len(year_of([], TODAY)) < 9_000
