"""What a user's page says besides the status."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fingertrio.backend import UserInfo
from fingertrio.frontends.web.avatars import HUES, hue, initial
from fingertrio.frontends.web.profile import profile

NOW = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)


def test_details_with_a_place_of_their_own() -> None:
    details = {"pronouns": "they/them", "timezone": "Asia/Tokyo", "emoji": "🦊", "webfinger": "me https://a.example"}
    who = profile(UserInfo("ada", "x", details=details | {"project": "Looms"}), NOW)
    assert (who.pronouns, who.emoji) == ("they/them", "🦊")
    assert who.clock is not None
    assert (who.clock.zone, who.clock.shown) == ("Asia/Tokyo", "21:00")
    assert [(detail.label, str(detail.html)) for detail in who.details] == [("Project", "Looms")]


@pytest.mark.parametrize("zone", ["Nowhere/Land", "../../etc/passwd", "/etc/localtime", "x" * 5000, "Europe/\0"])
def test_a_time_zone_that_does_not_exist_is_a_detail_like_others(zone: str) -> None:
    who = profile(UserInfo("ada", "x", details={"timezone": zone}), NOW)
    assert who.clock is None
    assert [detail.label for detail in who.details] == ["Time zone"]


@pytest.mark.parametrize(
    ("label", "text", "folded"),
    [
        ("pubkey", "ssh-ed25519 AAAA ada@example", "ssh-ed25519, 1 line"),
        ("pubkey", "-----BEGIN\nx\n-----END", "-----BEGIN, 3 lines"),
        ("project", "one\ntwo\nthree\nfour\nfive", "5 lines"),
        ("project", "one\ntwo", ""),
    ],
)
def test_what_is_long_is_folded(label: str, text: str, folded: str) -> None:
    [detail] = profile(UserInfo("ada", "x", details={label: text}), NOW).details
    assert detail.folded == folded


def test_a_detail_that_is_an_address_is_a_link() -> None:
    details = {"home": "https://a.example/?x=1&y=2", "capsule": "gemini://a.example", "bad": "javascript:alert(1)"}
    home, capsule, bad = profile(UserInfo("ada", "x", details=details), NOW).details
    assert 'href="https://a.example/?x=1&amp;y=2"' in home.html
    assert 'href="gemini://a.example"' in capsule.html
    assert "<a" not in bad.html


def test_without_a_status_it_says_no_plan() -> None:
    who = profile(UserInfo("ada", "", since=NOW - timedelta(hours=2)), NOW)
    assert (who.status.words, who.has_status, who.summary) == ("No Plan.", False, "No Plan.")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ada", "A"),
        ("  zoë", "Z"),
        ("雪子", "雪"),
        ("ßeta", "ß"),
        ("_x", "X"),
        ("9lives", "9"),
        ("\u0301", "?"),
        ("", "?"),
    ],
)
def test_the_initial_is_one_letter(name: str, expected: str) -> None:
    assert initial(name) == expected


@given(st.text(min_size=1, max_size=64))
def test_every_name_has_a_colour_that_the_style_sheet_knows(name: str) -> None:
    assert 0 <= hue(name) < HUES


def test_colours_do_not_change() -> None:
    assert [hue(name) for name in ("ada", "moshez", "雪")] == [5, 23, 21]
    assert len({hue(f"user{number}") for number in range(200)}) == HUES


def test_below_the_name_stands_what_is_known() -> None:
    known = profile(UserInfo("ada", "x", name="Ada", details={"pronouns": "she/her", "timezone": "UTC"}), NOW)
    assert [kind for kind, _ in known.facts] == ["login", "pronouns", "clock"]
    assert profile(UserInfo("ada", "x"), NOW).facts == [], "the heading is the login name"


@pytest.mark.parametrize(
    ("status", "expected"), [("🐧", True), (" 🇩🇪\n", True), ("🐧🐧", False), ("🐧 hi", False), ("", False)]
)
def test_a_status_of_one_emoji_is_a_picture(status: str, expected: bool) -> None:
    assert profile(UserInfo("ada", status), NOW).is_picture is expected
