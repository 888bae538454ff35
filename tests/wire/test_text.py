"""Text that leaves a door controls no terminal: every such character and kind of sequence is named here."""

from __future__ import annotations

import sys
import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fingertrio.wire.text import clean, clean_line, decode, escape, first_line, to_wire

# All of Python's text, including lone surrogates: no caller excludes them.
ANY_TEXT = st.text(st.characters())
HOSTILE_TEXT = st.text(
    st.sampled_from('ab[];0m(_ \t\r\n\x00\x07\b\x0b\x0c\x1b\x7f\x85\x90\x9b\x9c\x9d\u2028\u202e\ud800\udcff\u00e9\\"')
)

C0 = [chr(code) for code in range(0x20) if chr(code) not in "\b\t\n\v\f\r"]
C1 = [chr(code) for code in range(0x80, 0xA0) if chr(code) not in "\x85\x9b"]
BIDI = list("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
INVISIBLE = ["\ufeff", "\ufff9", "\ufffa", "\ufffb", "\U000e0001", "\U000e0041", "\U000e007f"]
SURROGATES = ["\ud800", "\udbff", "\udc80", "\udfff"]
CONTROLS = [*C0, "\x7f", *C1, *BIDI, *INVISIBLE, *SURROGATES]


@pytest.mark.parametrize("char", CONTROLS, ids=lambda char: f"U+{ord(char):04X}")
def test_what_steers_a_terminal_is_gone(char: str):
    assert clean(f"a{char}b") == "ab"
    assert char.encode("utf-8", "surrogatepass") not in to_wire(f"a{char}b")


ST = ["\x1b\\", "\x9c"]  # string terminator
SEQUENCES = [
    *(
        "\x1b[m",
        "\x1b[1;31m",
        "\x1b[38;5;208m",
        "\x1b[38:2::1:2:3m",
        "\x1b[2J",
        "\x1b[?25l",
        "\x1b[>c",
        "\x1b[!p",
        "\x1b[ q",
    ),
    *("\x9b31m", "\x9b?1049h", "\x1b[3\x001m", "\x1b[\x7f1m"),  # C1, and controls within
    *("\x1b]0;title\x07", "\x9d0;title\x07", "\x1b]52;c;aGk=\x07", "\x1b]0;Gr\u00fc\u00dfe\x07"),
    *(f"\x1b]8;;http://example.org/{end}" for end in ST),
    *(
        f"{start}text {end}"
        for start in ("\x1bP", "\x1bX", "\x1b^", "\x1b_", "\x1bk", "\x90", "\x98", "\x9e", "\x9f")
        for end in ST
    ),
    *("\x1bPq#0\n#1~\n-\x1b\\", "\x1b]0;aborted\x18", "\x1bPaborted\x1a"),
    *("\x1b]P0a1b2c3", "\x1b]R"),  # the Linux console's palette
    *("\x1b(0", "\x1b(B", "\x1b)A", "\x1b-A", "\x1b%G", "\x1b#8", "\x1b F", "\x1b$(D", "\x0e", "\x0f"),
    *("\x1b7", "\x1b8", "\x1b=", "\x1b>", "\x1bc", "\x1bM", "\x1bD", "\x1bH", "\x1bn", "\x1b~"),
    *("\x1bPtmux;\x1b\x1b]0;title\x07\x1b\\", "\x1b\x1b[1m", "\x1b", "\x1b["),
]


@pytest.mark.parametrize("sequence", SEQUENCES, ids=ascii)
def test_a_terminal_sequence_goes_as_a_whole(sequence: str):
    assert clean(f"\u00e9{sequence}\u00e8\n{sequence}") == "\u00e9\u00e8\n"


@pytest.mark.parametrize("start", ["\x1b]0;", "\x1bP", "\x1b_"], ids=ascii)
def test_a_string_without_its_end_goes_to_the_end_of_its_line(start: str):
    assert clean(f"before{start}text\nafter") == "before\nafter"
    assert clean(f"before{start}text\x1b[1mafter") == "beforeafter"


@pytest.mark.parametrize("char", ["\x90", "\x98", "\x9d", "\x9e", "\x9f"], ids=ascii)
def test_a_c1_character_without_an_end_takes_no_text_with_it(char: str):
    """`decode` returns U+0090 and U+009D for letters of encodings other than Windows-1252."""
    assert clean(f"before{char}text\nafter") == "beforetext\nafter"


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("N\bNA\bAM\bME\bE", "NAME"),  # bold
        ("N\bN\bN\bNAME", "NAME"),
        ("_\bf_\bi_\bl_\be", "file"),  # underlined
        ("f\b_i\b_le", "file"),
        ("file\b\b\b\b____", "file"),
        ("_\b_a", "_a"),
        ("e\u0301\be\u0301t\bt", "e\u0301t"),
        ("\u5b57\b\u5b57", "\u5b57"),
        ("|\b/\b-\bdone", "done"),
        ("typo\b\b\b\bfine", "fine"),
        ("abc\b", "abc"),
        ("\b\b\ba", "a"),
        ("a\n\bb", "a\nb"),
        ("A\x1b[1m\bA\u202e\bA", "A"),  # characters without width take no place
        ("\b", ""),
    ],
)
def test_overstriking_becomes_plain_letters(text: str, cleaned: str):
    assert clean(text) == cleaned


SCOTLAND = "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f"
TEXAS = "\U0001f3f4\U000e0075\U000e0073\U000e0074\U000e0078\U000e007f"


@pytest.mark.parametrize("flag", [SCOTLAND, TEXAS, "\U0001f1f3\U0001f1f4", "\U0001f3f4\u200d\u2620\ufe0f"])
def test_flags_stay(flag: str):
    assert clean(f"From {flag}!") == f"From {flag}!"
    assert clean(f"{flag}{flag}\n{flag}\x07") == f"{flag}{flag}\n{flag}"


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        (SCOTLAND[1:], ""),  # tags without a flag
        (SCOTLAND[:-1], "\U0001f3f4"),  # without its end
        ("\U0001f3f4\U000e0067\U000e007f", "\U0001f3f4"),  # too short, and too long, for a part of a country
        ("\U0001f3f4" + "\U000e0061" * 7 + "\U000e007f", "\U0001f3f4"),
        ("\U0001f3f4\U000e0020\U000e0020\U000e0020\U000e007f", "\U0001f3f4"),  # no letters
        ("hi\U000e0068\U000e0069\U000e007f", "hi"),
        (f"{SCOTLAND}\U000e0061", SCOTLAND),
    ],
    ids=ascii,
)
def test_other_tag_characters_go(text: str, cleaned: str):
    assert clean(text) == cleaned


@pytest.mark.parametrize(
    "text",
    [
        "Happy and well",
        "a\tb\nc",
        "gr\u00fc\u00df Gott, \u05e9\u05dc\u05d5\u05dd, \u0645\u0631\u062d\u0628\u0627, \u3053\u3093\u306b\u3061\u306f",
        "e\u0301 and \U0001f468\u200d\U0001f469\u200d\U0001f467 and \u2764\ufe0f",  # ZWJ and variation selectors stay
        "\u00a0\u00ad",
    ],
)
def test_language_stays(text: str):
    assert clean(text) == text


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("a\r\nb", "a\nb"),
        ("a\rb", "a\nb"),
        ("a\n\rb", "a\n\nb"),
        ("a\r\r\nb", "a\n\nb"),
        ("a\x85b", "a\nb"),
        ("a\r\x00\nb", "a\n\nb"),  # no CR is left when NUL is removed
        ("a\x0cb", "a\nb"),
        ("a\x0bb", "a\nb"),
        ("a\u2028b\u2029c", "a\nb\nc"),
        ("a\x1bEb", "a\nb"),  # NEL in 7 bits
    ],
)
def test_every_line_end_is_one_lf(text: str, lines: str):
    assert clean(text) == lines


def test_the_quick_way_and_the_thorough_way_agree_on_every_character():
    """`clean` relies on `isprintable`, whose result may change with the Unicode version of Python."""
    for code in range(sys.maxunicode + 1):
        char = chr(code)
        if char.isprintable():
            assert clean(f"\x00{char}") == char, f"U+{code:04X} is printable and yet taken out"


def test_no_control_character_survives_whatever_unicode_calls_it():
    for code in range(sys.maxunicode + 1):
        char = chr(code)
        if unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") and char != "\t":
            assert clean(char) in ("", "\n"), f"U+{code:04X}"


@given(ANY_TEXT | HOSTILE_TEXT)
def test_cleaning_twice_changes_nothing(text: str):
    assert clean(clean(text)) == clean(text)


@given(ANY_TEXT | HOSTILE_TEXT)
def test_the_wire_has_whole_lines_of_utf_8(text: str):
    wire = to_wire(text)
    assert wire.endswith(b"\r\n")
    assert b"\r" not in wire.replace(b"\r\n", b"")
    assert b"\n" not in wire.replace(b"\r\n", b"")
    assert clean(wire.decode()).removesuffix("\n") == clean(text).removesuffix("\n")


@pytest.mark.parametrize(
    ("text", "wire"), [("", b"\r\n"), ("a", b"a\r\n"), ("a\n", b"a\r\n"), ("a\n\n", b"a\r\n\r\n"), ("a\r", b"a\r\n")]
)
def test_the_last_line_ends_once(text: str, wire: bytes):
    assert to_wire(text) == wire


@given(ANY_TEXT | HOSTILE_TEXT)
def test_one_line_is_one_line(text: str):
    for line in (clean_line(text), first_line(text)):
        assert not set(line) & set("\t\n\r")
        assert line == line.strip() == clean(line)


@pytest.mark.parametrize(
    ("text", "line"),
    [("\n\n  second\tthird\nfourth", "second third"), (" \t\n \r\n", ""), ("", ""), ("\x1b\nafter", "after")],
)
def test_the_first_line_is_the_first_that_says_something(text: str, line: str):
    assert first_line(text) == line


def test_line_ends_and_tabs_become_a_space_each():
    assert clean_line("\n a\tb\r\nc\n\n") == "a b c"


@pytest.mark.parametrize(
    ("data", "escaped"),
    [
        ("plain text", "plain text"),
        ("\x1b[2J\r\n", r"\x1b[2J\x0d\x0a"),
        (r"\x1b", r"\\x1b"),  # typed, not an escaped character
        ('say "hi"', r"say \"hi\""),
        ("\u202e\U0001f600", r"\u202e\U0001f600"),
        ("\ud800", r"\ud800"),
        (b"\xff\xfe\xc3\xa9", r"\xff\xfe\xe9"),
        (b"a\x00b", r"a\x00b"),
    ],
)
def test_a_log_shows_every_foreign_byte_and_obeys_none(data: bytes | str, escaped: str):
    assert escape(data) == escaped


@given(ANY_TEXT | HOSTILE_TEXT | st.binary(), st.integers(1, 300))
def test_what_is_escaped_is_short_printable_and_fit_for_quotes(data: bytes | str, limit: int):
    escaped = escape(data, limit)
    assert escaped.isascii()
    assert escaped == "" or escaped.isprintable()
    assert len(escaped) <= 10 * limit + len("...")
    assert '"' not in escaped.replace("\\\\", "").replace('\\"', "")


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_what_was_escaped_can_be_told_from_what_was_typed(text: str):
    """Escaping loses nothing: Python can decode the result."""
    assert escape(text, 10_000).encode().decode("unicode_escape") == text


def test_what_is_cut_says_so():
    assert escape("x" * 201) == "x" * 200 + "..."
    assert escape("x" * 200) == "x" * 200


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", ""),
        ("Gr\u00fc\u00dfe aus K\u00f6ln".encode(), "Gr\u00fc\u00dfe aus K\u00f6ln"),
        (b"\xef\xbb\xbfmarked", "marked"),
        (b"Gr\xfc\xdfe aus K\xf6ln", "Gr\u00fc\u00dfe aus K\u00f6ln"),
        (b"5 \x80 \x96 \x93so\x94", "5 \u20ac \u2013 \u201cso\u201d"),
        (b"\x81\x8d\x8f\x90\x9d\xff", "\x81\x8d\x8f\x90\x9d\u00ff"),  # undefined in Windows-1252
        (b"\xef\xbb\xbfmarked, \xfc", "marked, \u00fc"),  # the mark is wrong, and no text either
        (b"\xff\xfem\0o\0", "mo"),
        (b"\xfe\xff\0m\0o", "mo"),
        (b"\xff\xfe=\xd8\0\xde", "\U0001f600"),
        (b"\xff\xfem\0\x00\xd8o\0", "m\ufffdo"),  # an unpaired surrogate
        (b"\xff\xfem\0o", "m\ufffd"),  # an odd last byte
        (b"\xff\xfe", ""),
    ],
)
def test_data_without_a_named_encoding_is_read_by_its_mark_as_utf_8_or_as_windows_1252(data: bytes, text: str):
    assert decode(data) == text


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_data_cut_within_a_character_loses_that_character_only(encoding: str):
    data = "Gr\u00fc\u00dfe \U0001f600".encode(encoding)
    for lost in (1, 2, 3):
        assert decode(data[:-lost], cut=True) == "Gr\u00fc\u00dfe "


@given(st.binary())
def test_decode_never_raises_and_returns_encodable_text(data: bytes):
    for cut in (False, True):
        for mark in (b"", b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff"):
            decode(mark + data, cut=cut).encode()


@given(st.text())
def test_utf_8_round_trips(text: str):
    assert decode(b"\xef\xbb\xbf" + text.encode()) == text
    assert decode(text.encode()) == text.removeprefix("\ufeff")


@given(HOSTILE_TEXT | st.lists(st.sampled_from(SEQUENCES)).map("".join))
def test_after_cleaning_only_printable_text_tabs_and_line_ends_are_left(text: str):
    assert clean(text).replace("\n", "").replace("\t", "").isprintable()


@pytest.mark.parametrize(
    "unit",
    [
        "\x1b]",
        "\x9d",
        "\x1b[0;",
        "\x1bk",
        "\x1bPa",
        "\x90\n",
        "\x1b  ",
        "a\b",
        "\b",
        "\x1b]P",
        "\U0001f3f4\U000e0061",
        "\r",
    ],
    ids=ascii,
)
def test_cleaning_takes_linear_time(unit: str):
    """A megabyte takes 0.6 s at most; a search that starts over at each unit would take minutes."""
    started = time.process_time()
    clean(unit * (1_000_000 // len(unit)))
    assert time.process_time() - started < 10
