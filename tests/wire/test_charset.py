"""Which encodings are known by which names, and how the encoding of an XML document is found."""

from __future__ import annotations

import codecs
import contextlib
import time
from encodings import aliases

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fingertrio.wire.charset import codec_of, xml_to_utf_8

TEXT = "<a>Gr\u00fc\u00dfe</a>"


@pytest.mark.parametrize(
    ("name", "same"),
    [
        *(("utf8", "utf-8"), ("UTF-8", "utf-8"), ("Utf_8", "utf-8"), ("utf-8-sig", "utf-8"), ("u8", "utf-8")),
        *(("latin1", "latin-1"), ("L1", "latin-1"), ("ISO_8859-1:1987", "latin-1"), ("csISOLatin1", "latin-1")),
        *(("us-ascii", "ascii"), ("windows-1252", "cp1252"), ("x-mac-roman", None), ("macintosh", "mac_roman")),
        *(
            ("Shift_JIS", "shift_jis"),
            ("gb2312", "gb2312"),
            ("KOI8-U", "koi8-u"),
            ("cp874", "cp874"),
            (" utf-16 ", "utf-16"),
        ),
        *(("", None), ("nonsense", None), ("x" * 100_000, None), ("../os", None), ("utf-8\0", None)),
    ],
)
def test_an_encoding_has_the_names_that_python_knows(name: str, same: str | None) -> None:
    codec = codec_of(name)
    assert (codec and codecs.lookup(codec).name) == (same and codecs.lookup(same).name)


@pytest.mark.parametrize("name", ["base64", "bz2", "hex", "idna", "punycode", "quopri", "raw_unicode_escape", "rot13",
                                  "undefined", "unicode_escape", "utf-7", "uu", "zlib", "mbcs", "charmap"])  # fmt: skip
def test_what_is_no_character_encoding_is_unknown(name: str) -> None:
    assert codec_of(name) is None


def test_unknown_names_leave_nothing_behind() -> None:
    """As codecs.lookup would: it remembers each."""
    before = len(aliases.aliases)
    for number in range(100):
        codec_of(f"unknown-{number}")
    assert len(aliases.aliases) == before


def test_every_codec_exists() -> None:
    for alias in aliases.aliases:
        if (codec := codec_of(alias)) is not None:
            assert isinstance(b"".decode(codec), str)


@pytest.mark.parametrize(
    ("body", "charset"),
    [
        (TEXT.encode(), None),
        (codecs.BOM_UTF8 + TEXT.encode(), "latin1"),  # the mark counts before everything
        (TEXT.encode("latin-1"), "latin1"),
        (f"<?xml version='1.0' encoding='utf8'?>{TEXT}".encode(), None),
        (f'<?xml version="1.0"\n encoding = "latin1" standalone="yes" ?>{TEXT}'.encode("latin-1"), None),
        (f"<?xml version='1.0' encoding='utf-8'?>{TEXT}".encode("latin-1"), "iso-8859-1"),
        (TEXT.encode("utf-16"), None),
        (TEXT.encode("utf-16"), "utf-16"),
        (TEXT.encode("utf-16"), "utf-8"),
        (f"<?xml version='1.0'?>{TEXT}".encode("utf-16-le"), None),
        (f"<?xml version='1.0'?>{TEXT}".encode("utf-16-be"), "utf-16"),
        (f"<?xml version='1.0'?>{TEXT}".encode("utf-16-le"), "utf-16"),
        (TEXT.encode("utf-16-be"), "utf-16"),
        (TEXT.encode("utf-16-le"), "utf-16le"),
        (TEXT.encode("utf-32"), None),
        (TEXT.encode("cp037"), "cp037"),
    ],
)
def test_the_mark_the_charset_the_declaration_in_this_order(body: bytes, charset: str | None) -> None:
    assert xml_to_utf_8(body, charset).removeprefix(codecs.BOM_UTF8).endswith(TEXT.encode())


@pytest.mark.parametrize(
    ("body", "charset", "reason"),
    [
        (b"<a/>", "nonsense", "not supported"),
        (b"<?xml version='1.0' encoding='utf-7'?><a/>", None, "not supported"),
        (b"<a>\xff</a>", "us-ascii", "does not match"),
        (b"<a/>x", "utf-16", "does not match"),
        (b"<a>\x81</a>", "shift_jis", "does not match"),
        (codecs.BOM_UTF16_LE + b"\0\xd8", None, "does not match"),
    ],
)
def test_a_refusal_says_what_to_do(body: bytes, charset: str | None, reason: str) -> None:
    with pytest.raises(ValueError, match=f"{reason}.*: use UTF-8"):
        xml_to_utf_8(body, charset)


@given(st.binary(), st.none() | st.text(max_size=20) | st.sampled_from(sorted(aliases.aliases)))
def test_any_bytes_are_converted_or_refused(body: bytes, charset: str | None) -> None:
    with contextlib.suppress(ValueError):
        xml_to_utf_8(body, charset)


def test_looking_for_a_declaration_takes_no_time() -> None:
    started = time.process_time()
    for body in (b"<?xml " + b" encoding=" * 25_000, b"<?xml " + b" " * 250_000, b"<?xml a='" + b"encoding" * 30_000):
        assert xml_to_utf_8(body, None) is body
    assert time.process_time() - started < 0.1
