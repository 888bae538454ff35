"""A status as something to put into other pages: a picture, the data for shields.io, and a script.

    GET /ada/badge.svg     <img src="https://finger.example.org/ada/badge.svg" alt="Ada's status">
    GET /ada/badge.json    the endpoint schema of shields.io
    GET /-/embed.js        fills every element [data-fingertrio=ada] with the first line of Ada's status, and follows it

The picture is text in the fonts of the reader, so its width is estimated, and `textLength` makes the text fit. Nothing
in it is active: it is shown with a policy that allows nothing but its own colours.
"""

from __future__ import annotations

import json
import unicodedata

from markupsafe import escape
from quart import Blueprint, Response

from fingertrio.backend import NO_PLAN, NO_SUCH_USER, UserInfo
from fingertrio.frontends.web.avatars import HUES, hue
from fingertrio.frontends.web.replaying import replay_while
from fingertrio.service import FingerService
from fingertrio.wire.emoji import headline
from fingertrio.wire.text import clean_line

_LONGEST = 60  # characters of the status in a picture

# Other sites and their proxies may keep it for so many seconds: GitHub's asks as often as this says.
_AGE = 120
_HEADERS = {
    "Cache-Control": f"public, max-age={_AGE}",
    "Cross-Origin-Resource-Policy": "cross-origin",
}
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"

# Widths of Verdana, 11 pixels high, to the next half pixel; what is wider than these letters is taken for a square.
_NARROW = frozenset("ijlI.,:;'|! ()[]/\\ft-r")
_WIDE = frozenset("mwMW@%")
_HEIGHT = 20
_PADDING = 6

_TEMPLATE = """\
<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" role="img" aria-label="{label}: {text}">
<title>{label}: {text}</title>
<clipPath id="c"><rect width="{width}" height="{height}" rx="4"/></clipPath>
<g clip-path="url(#c)"><rect width="{left}" height="{height}" fill="{colour}"/>\
<rect x="{left}" width="{right}" height="{height}" fill="#33312e"/></g>
<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">
<text x="{pad}" y="14" textLength="{label_width}" font-weight="bold">{label}</text>
<text x="{text_x}" y="14" textLength="{text_width}">{text}</text>
</g>
</svg>
"""


def badges_blueprint(service: FingerService) -> Blueprint:
    """The routes of badges. The script is an asset."""
    blueprint = Blueprint("badges", __name__)

    @blueprint.get("/<user>/badge.svg")
    async def picture(user: str) -> Response:
        answer = await service.ask_user(user)
        replay_while(answer)
        name, text = _words(user, answer.value)
        return _response(draw(name, text, hue(name)), "image/svg+xml; charset=utf-8", answer.value)

    @blueprint.get("/<user>/badge.json")
    async def data(user: str) -> Response:
        answer = await service.ask_user(user)
        replay_while(answer)
        name, text = _words(user, answer.value)
        document = {
            "schemaVersion": 1,
            "label": name,
            "message": text,
            "color": colour(hue(name)) if answer.value is not None else "lightgrey",
            "isError": answer.value is None,
            "cacheSeconds": _AGE,
        }
        return _response(json.dumps(document, ensure_ascii=False) + "\n", "application/json", answer.value)

    return blueprint


def _words(user: str, info: UserInfo | None) -> tuple[str, str]:
    """What stands at the left and at the right."""
    if info is None:
        return clean_line(user)[:_LONGEST], NO_SUCH_USER.lower()
    emoji, line = headline(info.status)
    text = " ".join(filter(None, (emoji, line))) or NO_PLAN
    return info.user, text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _response(body: str, kind: str, info: UserInfo | None) -> Response:
    headers = {**_HEADERS, "Content-Security-Policy": _POLICY}
    # An unknown user has a picture too: a page that names one shows words instead of a broken image.
    return Response(body, 200 if info is not None else 404, headers, content_type=kind)


def colour(number: int) -> str:
    """The colour of an initial, dark enough for white text: 4.5 to 1 for each of the hues."""
    return f"hsl({number * 360 // HUES},55%,27%)"


def draw(label: str, text: str, number: int) -> str:
    """A picture of 20 pixels height: the label on its colour, then the text. Both are escaped here."""
    label_width, text_width = width_of(label) * 1.1, width_of(text)  # bold letters are wider
    left, right = round(label_width) + 2 * _PADDING, round(text_width) + 2 * _PADDING
    return _TEMPLATE.format(
        width=left + right,
        height=_HEIGHT,
        left=left,
        right=right,
        pad=_PADDING,
        text_x=left + _PADDING,
        label_width=round(label_width),
        text_width=round(text_width),
        colour=colour(number),
        label=escape(label),
        text=escape(text),
    )


def width_of(text: str) -> float:
    """Pixels that `text` takes, about."""
    return sum(map(_width, text))


def _width(char: str) -> float:
    if unicodedata.combining(char) or unicodedata.category(char) in {"Mn", "Me", "Cf"}:
        return 0
    if unicodedata.east_asian_width(char) in "WF":
        return 11
    if char in _NARROW:
        return 4.5
    if char in _WIDE:
        return 10.5
    return 8 if char.isupper() else 7
