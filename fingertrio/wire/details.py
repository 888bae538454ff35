"""What may be a full name and the details of a user: one check for every door, the command line and imported files.

A detail is a name with a text. Some names have a meaning:

    pronouns    they/them
    project     what somebody works on
    timezone    a name of the IANA time zone database, such as Europe/Berlin
    emoji       one emoji, which stands for the user
    pubkey      a public key
    fediverse   an account elsewhere, such as ada@social.example
    webfinger   links for WebFinger, one in each line: the relation, the address, and perhaps the media type

A text that is a single address, `https://...`, is a link, whatever its name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from fingertrio.wire.emoji import is_emoji
from fingertrio.wire.text import clean, clean_line

# A full name has to fit into one line of a list. A detail may be a public key with many signatures.
NAME_LIMIT = 200  # characters
DETAIL_LIMIT = 16 * 1024  # bytes of UTF-8
DETAIL_NAME_LIMIT = 40  # characters
DETAILS = 50  # of one user
_WEBFINGER_LINKS = 20

# Schemes of links. Others can run code in a browser (javascript, data), or mean nothing to readers elsewhere (file).
LINK_SCHEMES = ("http", "https", "mailto", "gemini", "gopher", "finger")

# A URI without spaces and quotes (RFC 3986 section 3.1 for the scheme). All but mailto have an authority.
_URI = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):([^\s<>\"]+)\Z")
_ACCOUNT = re.compile(r"@?[^\s@]+@[^\s@/]+\Z")
_MEDIA_TYPE = re.compile(r"[\w.+-]+/[\w.+-]+\Z")


class DetailsError(ValueError):
    """Some fields are not valid. The message is fit for the client.

    Attributes:
        errors: what is wrong, by field: "name", or the name of a detail; "" for all details together.
    """

    def __init__(self, errors: Mapping[str, str]) -> None:
        super().__init__("; ".join(f"{field}: {text}" if field else text for field, text in errors.items()))
        self.errors = errors


class WebFingerLink(NamedTuple):
    """A link for WebFinger (RFC 7033 section 4.4.4)."""

    rel: str
    href: str
    type: str | None


def check_details(
    name: str | None, details: Mapping[str, str], *, kept: Mapping[str, str] = MappingProxyType({})
) -> tuple[str | None, dict[str, str]]:
    """The full name and the details as they are stored: clean, without empty ones, in the same order.

    A detail that is in `kept` with the same text may have any meaning.

    Raises:
        DetailsError: with everything that is not valid.
    """
    errors: dict[str, str] = {}
    try:
        name = clean_name(name)
    except ValueError as error:
        errors["name"] = str(error)
    checked: dict[str, str] = {}
    for label, text in details.items():
        try:
            detail = _clean_detail(label, text)
            for key, value in detail.items() - kept.items():
                _check_meaning(key, value)
            checked |= detail
        except ValueError as error:
            errors[clean_line(label)[:DETAIL_NAME_LIMIT]] = str(error)
    if len(checked) > DETAILS:
        errors[""] = f"more than {DETAILS} details"
    if errors:
        raise DetailsError(errors)
    return name, checked


def clean_name(text: str | None) -> str | None:
    """A clean full name; None if nothing is left after cleaning. Raises ValueError."""
    name = clean_line(text or "")
    if len(name) > NAME_LIMIT:
        raise ValueError(f"the full name is longer than {NAME_LIMIT} characters")
    return name or None


def clean_details(given: Mapping[str, str]) -> dict[str, str]:
    """Clean details without empty ones, with any meaning: for files from elsewhere. Raises ValueError."""
    checked: dict[str, str] = {}
    for label, text in given.items():
        checked |= _clean_detail(label, text)
    if len(checked) > DETAILS:
        raise ValueError(f"more than {DETAILS} details")
    return checked


def is_link(text: str) -> bool:
    """Whether `text` as a whole is an address that may be shown as a link."""
    found = _URI.match(text)
    if found is None:
        return False
    scheme, rest = found[1].lower(), found[2]
    if scheme == "mailto":
        return _ACCOUNT.match(rest.partition("?")[0]) is not None
    return scheme in LINK_SCHEMES and rest.startswith("//") and rest.strip("/") != ""


def check_link(text: str) -> str:
    """`text`, if it is a link. Raises ValueError."""
    if not is_link(text):
        schemes = ", ".join(f"{scheme}:" if scheme == "mailto" else f"{scheme}://" for scheme in LINK_SCHEMES)
        raise ValueError(f"not an address that can be a link; it must start with one of {schemes}")
    return text


def check_time_zone(name: str) -> str:
    """`name`, if it is one of a time zone. Raises ValueError."""
    # Without listing all zones, which reads hundreds of files.
    if not _has_zone(name) and _has_zone("Europe/Berlin"):  # else the system has no time zones
        raise ValueError("not a time zone; expected a name such as Europe/Berlin")
    return name


def webfinger_links(details: Mapping[str, str]) -> list[WebFingerLink]:
    """The links in the detail `webfinger`. Raises ValueError if a line is not valid."""
    links = []
    for line in filter(None, map(str.strip, details.get("webfinger", "").split("\n"))):
        rel, _, rest = line.partition(" ")
        href, _, kind = rest.strip().partition(" ")
        if not href:
            raise ValueError("each line has a relation, an address, and perhaps a media type")
        if kind and not _MEDIA_TYPE.match(kind.strip()):
            raise ValueError("the third word of a line is not a media type, such as text/html")
        links.append(WebFingerLink(rel, check_link(href), kind.strip() or None))
    if len(links) > _WEBFINGER_LINKS:
        raise ValueError(f"more than {_WEBFINGER_LINKS} links")
    return links


def _clean_detail(label: str, text: str) -> dict[str, str]:
    """The detail, or nothing if the text is empty. Raises ValueError."""
    name, value = clean_line(label), clean(text).strip("\n")
    if not name or len(name) > DETAIL_NAME_LIMIT:
        raise ValueError(f"the name of a detail must have 1 to {DETAIL_NAME_LIMIT} characters")
    if len(value.encode()) > DETAIL_LIMIT:
        raise ValueError(f"the detail {name} is longer than {DETAIL_LIMIT} bytes")
    return {name: value} if value.strip() else {}


def _check_meaning(name: str, value: str) -> None:
    """Raise ValueError if a detail whose name has a meaning does not have it."""
    if name == "timezone":
        check_time_zone(value)
    elif name == "emoji" and not is_emoji(value):
        raise ValueError("expected one emoji")
    elif name == "fediverse" and not _ACCOUNT.match(value):
        raise ValueError("expected an account such as ada@social.example")
    elif name == "webfinger":
        webfinger_links({name: value})
    elif name != "pubkey" and _URI.match(value):  # keys have addresses of their own kind, such as openpgp4fpr:
        check_link(value)


def _has_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True
