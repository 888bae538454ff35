"""Statuses with a name: which text stands for one, and what it becomes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fingertrio.wire.presets import UnknownPresetError, expand, preset_name

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
PRESETS = {
    "lunch": {"status": "Lunch", "for": "1h"},
    "away": {"status": "Away"},
    "xmas": {"status": "Gone", "until": "2026-12-27T00:00Z"},
}


@pytest.mark.parametrize(
    ("status", "name"),
    [
        (":lunch", "lunch"),
        (" :lunch\n", "lunch"),
        (":caf\u00e9-2_x", "caf\u00e9-2_x"),
        (":)", None),
        (":", None),
        (":wave:", None),
        (":wave: hello", None),
        (":two words", None),
        ("lunch", None),
        (":a\n:b", None),
        (":" + "x" * 41, None),
    ],
)
def test_a_colon_and_one_word_name_a_preset(status: str, name: str | None):
    assert preset_name(status) == name


@pytest.mark.parametrize(
    ("name", "expanded"),
    [
        ("lunch", ("Lunch", NOW + timedelta(hours=1))),
        ("away", ("Away", None)),
        ("xmas", ("Gone", datetime(2026, 12, 27, tzinfo=UTC))),
    ],
)
def test_a_preset_has_its_status_and_its_end(name: str, expanded: tuple[str, datetime | None]):
    assert expand(name, PRESETS, NOW) == expanded


def test_a_preset_that_does_not_exist_is_refused_with_those_that_do():
    with pytest.raises(UnknownPresetError, match="no preset :tea; this server has :away, :lunch, :xmas"):
        expand("tea", PRESETS, NOW)
    with pytest.raises(UnknownPresetError, match="this server has none"):
        expand("tea", {}, NOW)


@given(st.text())
def test_every_text_is_a_preset_or_itself(text: str):
    name = preset_name(text)
    assert name is None or text.strip() == f":{name}"
