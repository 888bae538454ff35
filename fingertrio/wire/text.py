"""Filters text before it reaches a terminal, a log or an IRC line (RFC 1288 section 3.3), and decodes bytes.

Terminals obey some characters instead of showing them: C0 controls (above all ESC), DEL, C1 controls (also encoded as
UTF-8), and the Unicode characters that change the writing direction, which can make a text read as another. TAB and the
line end stay, and so does all other text in any language.
"""

from __future__ import annotations

import codecs
import re

_UTF_16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
# Windows-1252 differs from Latin-1 in these bytes only, and leaves five of them undefined.
_WINDOWS_1252 = {
    byte: bytes([byte]).decode("cp1252") for byte in range(0x80, 0xA0) if byte not in {0x81, 0x8D, 0x8F, 0x90, 0x9D}
}

_CONTROLS = re.compile(
    "["
    "\x00-\x08\x0b-\x1f"  # C0 without TAB and LF; CR is replaced before
    "\x7f-\x9f"  # DEL and C1
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # bidirectional marks, embeddings, overrides, isolates
    "\u2028\u2029"  # separators that some terminals and JavaScript treat as line ends
    "\ufeff\ufff9-\ufffb"  # byte order mark, interlinear annotation
    "\ud800-\udfff"  # lone surrogates: not text
    "\U000e0000-\U000e007f"  # tags: invisible text
    "]"
)
_LINE_END = re.compile("\r\n?|\x85")
_NOT_LOGGABLE = re.compile(r'[^ -~]|["\\]')


def decode(data: bytes, *, cut: bool = False) -> str:
    """`data` as text, for data that does not name its encoding. Never raises.

    UTF-16 if the data starts with its byte order mark; otherwise UTF-8, with or without its mark; otherwise
    Windows-1252, with Latin-1 for the five bytes that Windows-1252 leaves undefined. Byte order marks are removed.
    Malformed UTF-16 (an unpaired surrogate, an odd last byte) becomes U+FFFD: the mark leaves no other reading.

    Data that was `cut` at a limit loses an incomplete last character; without `cut`, half a character at the end of
    UTF-8 text would make the whole text Windows-1252.
    """
    if data.startswith(_UTF_16_MARKS):
        return codecs.getincrementaldecoder("utf-16")("replace").decode(data, final=not cut)
    plain = data.removeprefix(codecs.BOM_UTF8)
    try:
        return codecs.getincrementaldecoder("utf-8")().decode(plain) if cut else plain.decode()
    except UnicodeDecodeError:
        return plain.decode("latin-1").translate(_WINDOWS_1252)


def clean(text: str) -> str:
    """`text` with LF for every line end and without characters that control a terminal."""
    if text.isprintable():  # the usual case, decided in C; no printable character is in the sets above
        return text
    return _CONTROLS.sub("", _LINE_END.sub("\n", text))


def clean_line(text: str) -> str:
    """`text` as one clean line: each line end and TAB becomes a space, without spaces at the ends."""
    return clean(text).strip("\n").replace("\n", " ").replace("\t", " ").strip()


def first_line(text: str) -> str:
    """The first line of `text` that is not blank, clean; empty if there is none."""
    for line in clean(text).split("\n"):
        if stripped := line.strip():
            return stripped.replace("\t", " ")
    return ""


def to_wire(text: str) -> bytes:
    """`text` as finger sends it: clean, UTF-8, with CRLF after every line, also the last (RFC 1288 section 2.2)."""
    return (clean(text).removesuffix("\n").replace("\n", "\r\n") + "\r\n").encode()


def escape(data: bytes | str, limit: int = 200) -> str:
    r"""`data` for a log: printable ASCII, all else as \xNN, \uNNNN or \UNNNNNNNN; cut after `limit` characters.

    Backslash and double quote are escaped too, so that an escape sequence in the data cannot be confused with one made
    here. Bytes that are not UTF-8 become \xNN.
    """
    text = data.decode("utf-8", "surrogateescape") if isinstance(data, bytes) else data
    cut = text[:limit]
    escaped = _NOT_LOGGABLE.sub(_escape_one, cut)
    return escaped if len(text) <= limit else f"{escaped}..."


def _escape_one(found: re.Match[str]) -> str:
    char = found.group()
    if char in '"\\':
        return f"\\{char}"
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that was not UTF-8, as surrogateescape represents it
        code -= 0xDC00
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
