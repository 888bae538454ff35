"""WebFinger (RFC 7033): who an account at a domain is, as links in a JSON document. Both sides, sans-IO.

    query     = "resource=" uri *( "&rel=" relation )      section 4.1; parameters in any order, percent-encoded
    account   = "acct:" user "@" host                      RFC 7565 section 7; the user is percent-encoded once more

Deviations, with reasons:

- `resource` twice is an error: section 4.1 says "exactly once", and two readers could disagree about which one counts.
- An unknown parameter is ignored, as section 4.1 wants.
- "+" stands for itself: section 4.1 names the percent-encoding of RFC 3986, not that of HTML forms.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any
from urllib.parse import quote, unquote, urlsplit

PATH = "/.well-known/webfinger"  # section 10.1
CONTENT_TYPE = "application/jrd+json"  # section 10.2

PROFILE_PAGE = "http://webfinger.net/rel/profile-page"
ISSUER = "http://openid.net/specs/connect/1.0/issuer"  # OpenID Connect Discovery 1.0, section 2

RELATIONS = 32  # most `rel` parameters of one query
_LINKS = 100  # most links of a descriptor that a client reads
_TEXT = 2000  # characters of one value that a client reads

_ESCAPES = re.compile(r"(?:[^%]|%[0-9A-Fa-f]{2})*")
_ACCOUNT_SAFE = "!$&'()*+,;="  # RFC 7565: sub-delims
_ACCOUNT = re.compile(
    rf"acct:(?P<user>[A-Za-z0-9._~%{re.escape(_ACCOUNT_SAFE)}-]+)@(?P<host>[a-z0-9.-]+(?::[0-9]{{1,5}})?)",
    re.IGNORECASE,
)
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^\x00-\x20\x7f]+")


class WebFingerError(ValueError):
    """A query or a descriptor that cannot be read. The message is for the client that sent it."""


@dataclass(frozen=True, slots=True)
class Question:
    """A query.

    Attributes:
        resource: the URI that the client asks about.
        rels: only links with one of these relations are wanted; empty: all.
    """

    resource: str
    rels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Account:
    """An account at a host, as in acct:ada@example.org; the host is in lower case."""

    user: str
    host: str

    def __str__(self) -> str:
        return f"acct:{quote(self.user, safe=_ACCOUNT_SAFE)}@{self.host}"


@dataclass(frozen=True, slots=True)
class Link:
    """A link of a descriptor (section 4.4.4)."""

    rel: str
    href: str | None = None
    type: str | None = None
    titles: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A JSON Resource Descriptor (section 4.4).

    Attributes:
        subject: the URI that it describes; a server may name another one than the client asked for.
        aliases: other URIs of the same entity.
        properties: by URI; None is a value too.
        links: in the order of preference.
    """

    subject: str | None
    aliases: tuple[str, ...] = ()
    properties: Mapping[str, str | None] = field(default_factory=lambda: MappingProxyType({}))
    links: tuple[Link, ...] = ()


def parse_question(query: bytes) -> Question:
    """The question in the query component of a URI, without its "?".

    Raises:
        WebFingerError: it is no question; section 4.2 wants status 400.
    """
    resources, rels = [], []
    for pair in query.split(b"&"):
        name, _, value = pair.partition(b"=")
        if name == b"resource":
            resources.append(_decode(value, "resource"))
        elif name == b"rel":
            rels.append(_decode(value, "rel"))
    if not resources:
        raise WebFingerError('The parameter "resource" is missing: expected ?resource=acct:user@host')
    if len(resources) > 1:
        raise WebFingerError('The parameter "resource" may stand only once')
    if len(rels) > RELATIONS:
        raise WebFingerError(f'More than {RELATIONS} parameters "rel"')
    if not _URI.fullmatch(resources[0]):
        raise WebFingerError('The parameter "resource" is not a URI: expected acct:user@host')
    return Question(resources[0], tuple(dict.fromkeys(rels)))


def to_query(question: Question) -> str:
    """The query component that asks a question."""
    # Section 4.1: at least "=" and "&" of a value are encoded; encoding all but letters and digits is never wrong.
    pairs = [("resource", question.resource), *(("rel", rel) for rel in question.rels)]
    return "&".join(f"{name}={quote(value, safe='')}" for name, value in pairs)


def parse_account(resource: str) -> Account | None:
    """The account that an acct: URI names; None: the URI is of another kind, or not valid."""
    found = _ACCOUNT.fullmatch(resource)
    if found is None or not _ESCAPES.fullmatch(found["user"]):
        return None
    try:
        return Account(unquote(found["user"], errors="strict"), found["host"].lower())
    except UnicodeDecodeError:
        return None


def parse_page(resource: str, base: str) -> str | None:
    """The user whose page below `base` a URI is; None: it is none.

    Args:
        resource: such as "https://example.org/ada".
        base: the address of the site, without a slash at the end.
    """
    try:
        found, site = urlsplit(resource), urlsplit(base)
    except ValueError:  # "https://["
        return None
    if (found.scheme, found.netloc.lower()) != (site.scheme, site.netloc.lower()) or found.query or found.fragment:
        return None
    name = found.path.removeprefix(f"{site.path}/")
    if name == found.path or not name or "/" in name or not _ESCAPES.fullmatch(name):
        return None
    try:
        return unquote(name, errors="strict")
    except UnicodeDecodeError:
        return None


def dump_descriptor(descriptor: Descriptor, rels: Collection[str] = ()) -> bytes:
    """The JSON document; with `rels`, of the links only those with one of these relations (section 4.3)."""
    document: dict[str, Any] = {"subject": descriptor.subject}
    if descriptor.aliases:
        document["aliases"] = list(descriptor.aliases)
    if descriptor.properties:
        document["properties"] = dict(descriptor.properties)
    document["links"] = [_link_json(link) for link in descriptor.links if not rels or link.rel in rels]
    return f"{json.dumps(document, ensure_ascii=False)}\n".encode()


def _link_json(link: Link) -> dict[str, Any]:
    members = {"rel": link.rel, "type": link.type, "href": link.href, "titles": dict(link.titles)}
    return {name: value for name, value in members.items() if value}


def parse_descriptor(body: bytes) -> Descriptor:
    """The descriptor in a response body. Unknown members are ignored (section 4.4).

    Raises:
        WebFingerError: it is not JSON, or not a descriptor.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise WebFingerError("the answer is not JSON") from None
    if not isinstance(document, dict):
        raise WebFingerError("the answer is not a JSON object")
    links = document.get("links", [])
    if not isinstance(links, list) or len(links) > _LINKS:
        raise WebFingerError(f"the links of the answer are not a list of at most {_LINKS}")
    properties = _object(document, "properties")
    return Descriptor(
        subject=_text(document, "subject"),
        aliases=tuple(_string(alias, "aliases") for alias in _list(document, "aliases")),
        properties={key: None if value is None else _string(value, "properties") for key, value in properties.items()},
        links=tuple(map(_link, links)),
    )


def _link(value: object) -> Link:
    if not isinstance(value, dict):
        raise WebFingerError("a link of the answer is not an object")
    rel = _text(value, "rel")
    if rel is None:  # section 4.4.4.1: MUST be present
        raise WebFingerError('a link of the answer has no "rel"')
    titles = {key: _string(title, "titles") for key, title in _object(value, "titles").items()}
    return Link(rel, _text(value, "href"), _text(value, "type"), titles)


def _decode(value: bytes, name: str) -> str:
    text = value.decode("latin-1")
    try:
        if _ESCAPES.fullmatch(text):
            return unquote(text, encoding="utf-8", errors="strict")
    except UnicodeDecodeError:
        pass
    raise WebFingerError(f'The parameter "{name}" is not percent-encoded UTF-8')


def _list(members: Mapping[str, object], name: str) -> Sequence[object]:
    value = members.get(name) or []
    if not isinstance(value, list) or len(value) > _LINKS:
        raise WebFingerError(f'"{name}" of the answer is not a list of at most {_LINKS}')
    return value


def _object(members: Mapping[str, object], name: str) -> Mapping[str, object]:
    value = members.get(name) or {}
    if not isinstance(value, dict) or len(value) > _LINKS:
        raise WebFingerError(f'"{name}" of the answer is not an object of at most {_LINKS} members')
    return value


def _text(members: Mapping[str, object], name: str) -> str | None:
    value = members.get(name)
    return None if value is None else _string(value, name)


def _string(value: object, name: str) -> str:
    if not isinstance(value, str) or len(value) > _TEXT:
        raise WebFingerError(f'"{name}" of the answer has a value that is not a string of at most {_TEXT} characters')
    return value
