"""Hides secrets in values of a configuration that is shown: passwords, tokens, and what a URL may contain of them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

HIDDEN = "***"

# The name of a key whose value is a secret; one that names a file is not.
_SECRET_KEY = re.compile(r"(^|_)(password|passwd|passphrase|secret|token|credential|api_?key|bearer)s?$", re.IGNORECASE)

# A key below which a URL is a secret as a whole: who knows the address of a hook can use it.
_HOOK = re.compile(r"(^|_)(web)?hooks?$", re.IGNORECASE)

_TOKEN = re.compile(r"\bft_[A-Za-z2-7]{16,}")
_URL = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<rest>\S*)", re.IGNORECASE)
_PLACE = re.compile(r"[^@:/?#]*(:[0-9]{1,5})?(/.*)?\Z|\[[0-9a-f:.]+\](:[0-9]{1,5})?(/.*)?\Z", re.IGNORECASE)
_PARAMETER = re.compile(r"(?P<name>[?&][^=&#\s]*(pass|secret|token|key|auth|sig)[^=&#\s]*=)[^&#\s]*", re.IGNORECASE)


def hide(value: Any, path: Sequence[int | str] = (), *, secret: bool = False) -> Any:
    """`value` without its secrets.

    Args:
        value: of TOML.
        path: the names that lead to it.
        secret: whether it is one, whatever its name.
    """
    names = [part for part in path if isinstance(part, str)]
    if value not in (None, []) and (secret or (names and _SECRET_KEY.search(names[-1]))):
        return HIDDEN
    if isinstance(value, Mapping):
        return {name: hide(each, (*path, name)) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [hide(each, path) for each in value]
    if not isinstance(value, str):
        return value
    is_hook = any(_HOOK.search(name) for name in names)
    return _TOKEN.sub(f"ft_{HIDDEN}", _URL.sub(_hide_hook if is_hook else _hide_login, value))


def _hide_login(found: re.Match[str]) -> str:
    """A URL without its user and password, and without parameters that may be secrets."""
    scheme, rest = found["scheme"], found["rest"]
    rest = _PARAMETER.sub(lambda parameter: parameter["name"] + HIDDEN, rest)
    before, at, after = rest.rpartition("@")
    # The last @ ends the login, unless it is part of the path. A password may contain a slash.
    if at and (scheme.lower() not in {"http", "https"} or not _PLACE.match(before) or "/" not in before):
        rest = f"{HIDDEN}@{after}"
    return f"{scheme}://{rest}"


def _hide_hook(found: re.Match[str]) -> str:
    host = re.split(r"[/?#]", found["rest"], maxsplit=1)[0].rpartition("@")[2]
    return f"{found['scheme']}://{host}/{HIDDEN}"
