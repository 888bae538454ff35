"""Names of character encodings, and the encoding of an XML document. Sans-IO."""

from __future__ import annotations

import codecs
import re
from encodings.aliases import aliases
from functools import lru_cache

# Python's character encodings. A table instead of codecs.lookup, which would import a module by a peer's word, and
# remembers every name that it does not find. Left out: codecs that are no character encodings, and UTF-7, in which
# markup looks like letters.
_CODECS = frozenset(aliases.values()) - {
    *("base64_codec", "bz2_codec", "hex_codec", "quopri_codec", "rot_13", "uu_codec", "zlib_codec"),
    *("mbcs", "utf_7"),
} | {"cp720", "cp737", "cp856", "cp874", "koi8_t", "koi8_u"}  # without aliases

_BYTE_ORDER_MARKS = (  # UTF-32 first: its little-endian mark starts with that of UTF-16
    (codecs.BOM_UTF8, "utf_8"),
    (codecs.BOM_UTF32_LE, "utf_32_le"),
    (codecs.BOM_UTF32_BE, "utf_32_be"),
    (codecs.BOM_UTF16_LE, "utf_16_le"),
    (codecs.BOM_UTF16_BE, "utf_16_be"),
)

# XML 1.0, productions 23 and 80: the version comes first.
_DECLARATION = re.compile(
    rb"""<\?xml\s+version\s*=\s*["'][0-9.]{1,9}["']\s+encoding\s*=\s*["']([A-Za-z][A-Za-z0-9._-]{0,40})["']"""
)


@lru_cache(64)
def codec_of(name: str) -> str | None:
    """Python's codec for the encoding `name`, such as "UTF8", "latin1" or "windows-1252"; None: not supported."""
    normal = re.sub(r"[-.: ]", "_", name.strip().lower()).removesuffix("_sig")
    codec = aliases.get(normal, normal)
    return codec if codec in _CODECS else None


def xml_to_utf_8(body: bytes, charset: str | None) -> bytes:
    """An XML document in UTF-8; the encoding that it declares no longer counts.

    The encoding is found as RFC 7303 section 3 says: the byte order mark, else `charset`, the parameter of the
    Content-Type, else the XML declaration, else UTF-8. UTF-8 is returned unchecked.

    Raises:
        ValueError: the encoding is not supported, or the document is not in this encoding.
    """
    codec = _xml_codec(body, charset)
    if codec == "utf_8":
        return body
    try:
        return body.decode(codec).encode()
    except (LookupError, UnicodeError) as error:  # LookupError: a Python that was built without this codec
        raise ValueError("the text does not match its encoding: use UTF-8") from error


def _xml_codec(body: bytes, charset: str | None) -> str:
    for mark, codec in _BYTE_ORDER_MARKS:
        if body.startswith(mark):
            return codec
    # "<?" in UTF-16 without its mark
    wide = {b"<\0?\0": "utf_16_le", b"\0<\0?": "utf_16_be"}.get(body[:4])
    if charset is None:
        declaration = _DECLARATION.match(body)
        if declaration is None:
            return wide or "utf_8"
        charset = declaration[1].decode()
    found = codec_of(charset)
    if found is None:
        raise ValueError("the encoding is not supported: use UTF-8")
    return wide or "utf_16_be" if found == "utf_16" else found
