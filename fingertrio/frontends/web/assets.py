"""Style sheets, scripts and icons, at `/-/NAME`. They are read here, at import, for the reason in `rendering`.

Pages name them with a part of their hash, as in `/-/style-1f3a9c2e.css`: such an address never changes its content, so
browsers keep it for a year. Without the hash, and with the hash of another version, which a page from before an upgrade
may have, the present version is sent, to be kept for an hour.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
}

_FOR_A_YEAR = "public, max-age=31536000, immutable"
_FOR_AN_HOUR = "public, max-age=3600"

_HASHED = re.compile(r"([a-z0-9-]+)-([0-9a-f]{8})(\.[a-z]+)\Z")


@dataclass(frozen=True, slots=True)
class Asset:
    """One file: its name with its hash, its type and its bytes."""

    name: str
    kind: str
    data: bytes


def make_asset(name: str, data: bytes) -> Asset:
    """The file `name` with the content `data`."""
    stem, dot, ending = name.rpartition(".")
    digest = hashlib.sha256(data).hexdigest()[:8]
    return Asset(f"{stem}-{digest}{dot}{ending}", _TYPES[dot + ending], data)


_ASSETS = {
    path.name: make_asset(path.name, path.read_bytes())
    for path in sorted((Path(__file__).parent / "static").iterdir())
    if path.suffix in _TYPES
}


def path_of(name: str) -> str:
    """The address of an asset, relative to the root of the site."""
    return f"-/{_ASSETS[name].name}"


def find(name: str, extra: Asset | None = None) -> tuple[Asset, str] | None:
    """The asset that a browser asks for as `name`, with its Cache-Control; None: there is none.

    Args:
        name: what follows `/-/`.
        extra: the operator's style sheet.
    """
    found = _HASHED.match(name)
    plain = f"{found[1]}{found[3]}" if found else name
    asset = _ASSETS.get(plain)
    if asset is None and extra is not None and extra.name.startswith(f"{plain.rpartition('.')[0]}-"):
        asset = extra
    if asset is None:
        return None
    return asset, _FOR_A_YEAR if asset.name == name else _FOR_AN_HOUR
