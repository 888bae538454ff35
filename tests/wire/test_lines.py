"""Lines from bytes: the same lines however the bytes are split, and no line over the limit."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fingertrio.wire import ProtocolError
from fingertrio.wire.lines import LineBuffer

LIMIT = 5


def read(chunks: Iterable[bytes], limit: int = LIMIT) -> tuple[list[bytes] | str, bytes]:
    """All lines of `chunks`, or the error message, and the rest."""
    buffer = LineBuffer(limit)
    lines = []
    try:
        for chunk in chunks:
            buffer.feed(chunk)
            while (line := buffer.take()) is not None:
                lines.append(line)
    except ProtocolError as error:
        return str(error), b""
    return lines, buffer.rest()


def bytewise(data: bytes) -> list[bytes]:
    return [data[position : position + 1] for position in range(len(data))]


@pytest.mark.parametrize(
    ("data", "lines", "rest"),
    [
        (b"", [], b""),
        (b"ab", [], b"ab"),
        (b"ab\r\n", [b"ab"], b""),
        (b"ab\n", [b"ab"], b""),
        (b"\r\n\n", [b"", b""], b""),
        (b"a\r\nb\nc", [b"a", b"b"], b"c"),
        (b"a\rb\r\n", [b"a\rb"], b""),  # a lone CR ends nothing
        (b"a\r\r\n", [b"a\r"], b""),
        (b"ab\r", [], b"ab\r"),
        (b"\x00\xff\n", [b"\x00\xff"], b""),
        (b"12345\r\n12345\n", [b"12345", b"12345"], b""),  # the limit itself, with either end
    ],
)
def test_lines_and_what_is_left(data: bytes, lines: list[bytes], rest: bytes):
    assert read([data]) == (lines, rest)
    assert read(bytewise(data)) == (lines, rest)


@pytest.mark.parametrize("data", [b"123456", b"123456\r\n", b"123456\n", b"a\n123456", b"x" * 100_000, b"1234\r6\n"])
def test_a_line_past_the_limit_is_stopped_there_and_then(data: bytes):
    """Also without a line end: a peer must not be able to send a long line and then wait."""
    assert read([data]) == ("line too long", b"")
    assert read(bytewise(data)) == ("line too long", b"")


def test_a_full_line_may_wait_for_the_second_half_of_its_end():
    buffer = LineBuffer(LIMIT)
    buffer.feed(b"12345\r")
    assert buffer.take() is None
    buffer.feed(b"\n")
    assert buffer.take() == b"12345"


@given(st.lists(st.binary(max_size=8)), st.integers(0, 12))
def test_where_the_stream_was_cut_makes_no_difference(chunks: list[bytes], limit: int):
    data = b"".join(chunks)
    assert read(chunks, limit) == read([data], limit) == read(bytewise(data), limit)


@given(st.binary(max_size=40).map(lambda data: data.replace(b"x", b"\r\n")), st.integers(0, 12))
def test_lines_or_a_refusal_and_never_anything_else(data: bytes, limit: int):
    lines, rest = read([data], limit)
    if isinstance(lines, list):
        assert all(len(line) <= limit and b"\n" not in line for line in lines)
        assert data.replace(b"\r\n", b"\n") == b"".join(line + b"\n" for line in lines) + rest.replace(b"\r\n", b"\n")


def test_nothing_is_searched_twice():
    """The cost of a long line that arrives byte by byte is linear in its length, not quadratic."""

    class Counting(bytearray):
        searched = 0

        def find(self, sub: Any, start: Any = 0, end: Any = None) -> int:
            Counting.searched += len(self) - start
            return super().find(sub, start, end)

    buffer = LineBuffer(10_000)
    buffer._buffer = Counting()
    for _ in range(10_000):
        buffer.feed(b"x")
        assert buffer.take() is None
    assert Counting.searched == 10_000
