"""Whether a document is what its format requires: Atom, JSON Feed, the endpoint schema of shields.io. Offline.

`atom.rng` is the grammar of RFC 4287, which lxml applies. The schemas of JSON are ours, from the formats' own pages.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema_rs
from lxml import etree

_ATOM = "{http://www.w3.org/2005/Atom}"
_GRAMMAR = etree.RelaxNG(etree.parse(Path(__file__).with_name("atom.rng")))

_URL = {"type": "string", "format": "uri", "pattern": "^https?://"}
_AUTHORS = {
    "type": "array",
    "minItems": 1,
    "items": {
        "type": "object",
        "properties": {"name": {"type": "string"}, "url": _URL, "avatar": _URL},
        "minProperties": 1,
        "additionalProperties": False,
    },
}

# https://www.jsonfeed.org/version/1.1/
JSON_FEED: dict[str, Any] = {
    "type": "object",
    "required": ["version", "title", "items"],
    "properties": {
        "version": {"const": "https://jsonfeed.org/version/1.1"},
        "title": {"type": "string"},
        "home_page_url": _URL,
        "feed_url": _URL,
        "next_url": _URL,
        "icon": _URL,
        "favicon": _URL,
        "description": {"type": "string"},
        "language": {"type": "string"},
        "authors": _AUTHORS,
        "items": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["id"],
                "properties": {
                    "id": {"type": "string", "minLength": 1},
                    "url": _URL,
                    "title": {"type": "string"},
                    "content_text": {"type": "string"},
                    "content_html": {"type": "string"},
                    "date_published": {"type": "string", "format": "date-time"},
                    "date_modified": {"type": "string", "format": "date-time"},
                    "authors": _AUTHORS,
                },
                "anyOf": [{"required": ["content_text"]}, {"required": ["content_html"]}],
                "additionalProperties": False,
            },
        },
    },
    "additionalProperties": False,
}

# https://shields.io/badges/endpoint-badge; it rejects members that it does not know.
SHIELD: dict[str, Any] = {
    "type": "object",
    "required": ["schemaVersion", "label", "message"],
    "properties": {
        "schemaVersion": {"const": 1},
        "label": {"type": "string"},
        "message": {"type": "string", "minLength": 1},
        "color": {"type": "string"},
        "labelColor": {"type": "string"},
        "isError": {"type": "boolean"},
        "style": {"type": "string"},
        "cacheSeconds": {"type": "integer", "minimum": 0},
    },
    "additionalProperties": False,
}


def check_atom(document: bytes) -> None:
    """Raise AssertionError if this is not an Atom feed that RFC 4287 allows."""
    feed = etree.fromstring(document)
    assert _GRAMMAR.validate(feed), str(_GRAMMAR.error_log)
    entries = feed.findall(f"{_ATOM}entry")
    # Section 4.1.1: the feed has an author, or there are entries and each has one.
    assert feed.findall(f"{_ATOM}author") or (entries and all(each.findall(f"{_ATOM}author") for each in entries))
    identities = [(each.findtext(f"{_ATOM}id"), each.findtext(f"{_ATOM}updated")) for each in entries]
    assert len(set(identities)) == len(identities), "section 4.1.1: entries with one id differ in their time"
    for parent in (feed, *entries):
        links = [(each.get("rel"), each.get("type"), each.get("hreflang")) for each in parent.findall(f"{_ATOM}link")]
        alternates = [link for link in links if link[0] in {None, "alternate"}]
        assert len(set(alternates)) == len(alternates), "section 4.1.1: alternates differ in type or language"
        if parent is not feed:  # section 4.1.2
            assert parent.find(f"{_ATOM}content") is not None or alternates


def check_json_feed(document: bytes) -> None:
    """Raise jsonschema_rs.ValidationError if this is not JSON Feed 1.1, AssertionError if ids repeat."""
    found = json.loads(document)
    jsonschema_rs.validate(JSON_FEED, found, validate_formats=True)
    ids = [item["id"] for item in found["items"]]
    assert len(set(ids)) == len(ids)


def check_shield(document: bytes) -> None:
    """Raise jsonschema_rs.ValidationError if shields.io would not take this."""
    jsonschema_rs.validate(SHIELD, json.loads(document), validate_formats=True)
