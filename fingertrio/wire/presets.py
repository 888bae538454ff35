"""Presets: statuses with a name in the configuration. `:lunch` as a whole status is the preset lunch, at every door.

A status that has this form and is no preset is refused, so that a slip does not become a status. All other text that
begins with a colon (":)", ":wave: hello") is itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime

from fingertrio.wire.when import parse_when

# "status", and "for" or "until" where there is one, by name.
Presets = Mapping[str, Mapping[str, str]]

_REFERENCE = re.compile(r"\s*:([\w-]{1,40})\s*")


class UnknownPresetError(ValueError):
    """The status names a preset that does not exist; the message names those that do."""


def preset_name(status: str) -> str | None:
    """The name of the preset that a status stands for; None: it is a status itself."""
    found = _REFERENCE.fullmatch(status)
    return None if found is None else found[1]


def expand(name: str, presets: Presets, now: datetime) -> tuple[str, datetime | None]:
    """The status of a preset, and when it ends, in this machine's time zone; None: it has no end.

    Raises:
        UnknownPresetError: there is no preset of this name.
    """
    preset = presets.get(name)
    if preset is None:
        known = ", ".join(f":{other}" for other in sorted(presets))
        raise UnknownPresetError(f"there is no preset :{name}; this server has {known or 'none'}")
    end = preset.get("for") or preset.get("until")
    return preset["status"], None if end is None else parse_when(end, now)
