from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from fingertrio.frontends.irc.answer import compose, is_answer


def test_one_line_is_one_message() -> None:
    assert compose("moshez", "Happy and well", 400) == ["Status of moshez: Happy and well"]
    assert compose("moshez", "", 400) == ["Status of moshez:"]
    assert compose("moshez", "a\r\n\r\n  \r\nb\n", 400) == ["Status of moshez: a", "b"]


def test_the_last_of_five_says_when_more_was_cut() -> None:
    assert compose("m", "1\n2\n3\n4\n5", 400)[-1] == "5"
    assert compose("m", "1\n2\n3\n4\n5\n6", 400)[-1] == "5 (more was cut)"
    messages = compose("m", "word " * 1000, 100)
    assert len(messages) == 5
    assert messages[-1].endswith("word (more was cut)")


@given(
    st.text("azé.-_1", min_size=1, max_size=64),
    st.text(st.characters(codec="utf-8") | st.sampled_from("\r\n \x01\x1b")),
    st.integers(200, 420),
)
def test_messages_are_few_short_clean_and_never_blank(name: str, text: str, room: int) -> None:
    messages = compose(name, text, room)
    assert 1 <= len(messages) <= 5
    for message in messages:
        assert 0 < len(message.encode()) <= room
        assert message.strip()
        assert not set(message) & set(map(chr, [*range(9), *range(10, 32), *range(127, 160)]))
    assert is_answer(messages[0])


def test_a_stale_answer_says_so_at_its_start() -> None:
    messages = compose("moshez", "Happy", 400, stale_since=datetime(2026, 1, 1, 12, tzinfo=UTC))
    assert messages == ["Status of moshez (as of 2026-01-01 12:00 UTC): Happy"]
