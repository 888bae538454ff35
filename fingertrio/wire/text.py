"""Filters text before it reaches a terminal, a log or an IRC line (RFC 1288 section 3.3), and decodes bytes.

Terminals obey some characters instead of showing them: C0 controls (above all ESC), DEL, C1 controls (also encoded as
UTF-8), and the Unicode characters that change the writing direction, which can make a text read as another. They are
removed, and an escape sequence is removed as a whole, because its rest ("[1;31m") would be noise. Overstriking, with
which nroff marks bold and underlined letters, becomes the plain letters. TAB and the line end stay, and so does all
other text in any language.
"""

from __future__ import annotations

import codecs
import re
import unicodedata

_UTF_16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
# Windows-1252 differs from Latin-1 in these bytes only, and leaves five of them undefined.
_WINDOWS_1252 = {
    byte: bytes([byte]).decode("cp1252") for byte in range(0x80, 0xA0) if byte not in {0x81, 0x8D, 0x8F, 0x90, 0x9D}
}

# All that moves a terminal to the start of a line: CR, VT, FF, NEL (as C1 and as ESC E), line and paragraph separators.
_LINE_END = re.compile("\r\n?|[\x0b\x0c\x85\u2028\u2029]|\x1bE")

# C0 controls that terminals ignore or obey without leaving the escape sequence around them, and DEL. Not here: BEL, BS,
# CAN, SUB, ESC.
_TRANSPARENT = re.compile("[\x00-\x06\x0e-\x17\x19\x1c-\x1f\x7f]")

_INTRODUCER = re.compile("[\x1b\x90\x98\x9b\x9d-\x9f]")

# Escape sequences, in 7-bit and C1 form (ECMA-48 section 5, xterm's ctlseqs). No branch reads past the start of another
# sequence of its kind, so that all of it takes linear time.
_SEQUENCE = re.compile(
    r"\x1b\](?:P[0-9A-Fa-f]{7}|R)"  # the Linux console's palette: an OSC without an end
    # OSC with its text, to BEL or ST; CAN, SUB abort it
    r"|(?:\x1b\]|\x9d)[^\x07\x18\x1a\x1b\x90\x98\x9c-\x9f]*(?:[\x07\x18\x1a\x9c]|\x1b\\)"
    # DCS, SOS, PM, APC (and ESC k, the title of screen) with their text, to ST
    r"|(?:\x1b[PX^_k]|[\x90\x98\x9e\x9f])[^\x18\x1a\x1b\x90\x98\x9c-\x9f]*(?:[\x18\x1a\x9c]|\x1b\\)"
    # one of these without its end: to the end of the line. Not in C1 form, which may be a letter of a legacy encoding
    r"|\x1b[]PX^_][^\x1b\n]*"
    r"|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"  # CSI
    r"|\x1b[ -/]{1,3}[0-~]"  # charset designations and others with intermediate bytes
    r"|\x1b[0-?@-Z\\clmno|}~]"  # two characters: cursor, keypad, reset, charset shifts
)

_REMOVED = re.compile(
    "["
    "\x00-\x07\x0e-\x1f"  # C0 without BS, TAB and line ends
    "\x7f-\x9f"  # DEL and C1
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # bidirectional marks, embeddings, overrides, isolates
    "\ufeff\ufff9-\ufffb"  # byte order mark, interlinear annotation
    "\ud800-\udfff"  # lone surrogates: not text
    "\U000e0000-\U000e007f"  # tags: invisible text
    "]"
)
# Tags stay in the flag of a part of a country: three to six letters or digits in tag characters (UTS 51).
_FLAG = "\U0001f3f4"
_FLAG_OR_REMOVED = re.compile(
    f"({_FLAG}[\U000e0030-\U000e0039\U000e0061-\U000e007a]{{3,6}}\U000e007f)|{_REMOVED.pattern}"
)
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
    """`text` with LF for every line end and without characters and sequences that control a terminal."""
    # The usual cases, decided in C: nothing that is changed below is printable.
    if text.isprintable() or _is_plain(text):
        return text
    text = _LINE_END.sub("\n", text)
    if _is_plain(text):
        return text
    if _INTRODUCER.search(text):
        text = _SEQUENCE.sub("", _TRANSPARENT.sub("", text))
    text = _FLAG_OR_REMOVED.sub(r"\1", text) if _FLAG in text else _REMOVED.sub("", text)
    if "\b" in text:
        text = "\n".join(_strike_over(line) if "\b" in line else line for line in text.split("\n"))
    return text


def _is_plain(text: str) -> bool:
    """Whether `text` has only printable characters, line ends and TABs."""
    return text.replace("\n", "").replace("\t", "").isprintable()


def _strike_over(line: str) -> str:
    """`line` as a printer with one place for each character leaves it, after all backspaces."""
    places: list[str] = []
    at = 0
    for char in line:
        if char == "\b":
            at = max(at - 1, 0)
        elif at > 0 and (char == "\u200d" or unicodedata.category(char)[0] == "M"):
            places[at - 1] += char  # a combining mark belongs to the character before it
        elif at == len(places):
            places.append(char)
            at += 1
        else:
            if char != "_":  # an underscore underlines what is there
                places[at] = char
            at += 1
    return "".join(places)


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
