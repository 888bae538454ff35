"""What `templates/api.html` needs to show an OpenAPI document: sections, types in words, links to objects."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any

from markupsafe import Markup, escape

_CODE = re.compile(r"`([^`]*)`")


def coded(text: str) -> Markup:
    """Plain text as HTML; what stands in backticks becomes code."""
    return Markup(_CODE.sub(r"<code>\1</code>", str(escape(text))))  # noqa: S704 -- escaped before the tags are added


def sections(document: Mapping[str, Any]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The operations of a document by their tag, each with its method and path."""
    found = [
        {"method": method.upper(), "path": path, **operation}
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    for tag, operations in groupby(found, key=lambda each: each["tags"][0]):
        yield tag, list(operations)


def shape(schema: Mapping[str, Any]) -> Markup:
    """A link to the object of a body; nothing for text."""
    return Markup(" ({})").format(kind(schema)) if "$ref" in schema else Markup()


def kind(schema: Mapping[str, Any]) -> Markup:
    """The type that a schema describes, in words."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return Markup('<a href="#{0}">{0}</a>').format(name)
    if "anyOf" in schema:
        return Markup(" or ").join(dict.fromkeys(map(kind, schema["anyOf"])))
    if schema.get("type") == "array":
        return Markup("array of {}").format(kind(schema["items"]))
    if schema.get("type") == "object":
        return Markup("object of {}").format(kind(schema["additionalProperties"]))
    if "const" in schema:
        return Markup("<code>{}</code>").format(schema["const"])
    return Markup("{}").format(schema.get("format") or schema["type"])
