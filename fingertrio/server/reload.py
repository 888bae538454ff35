"""SIGHUP: reads the configuration again and applies what can change without a restart, all of it or nothing.

Two phases. The first does everything that can fail: read and validate the file, load certificates, let each door
prepare. Only if nothing failed, the second makes every change synchronously, so that no query sees half of them. The
log names the keys that need a restart; they keep their old values.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from pydantic import BaseModel, RootModel

from fingertrio.config.config import Config
from fingertrio.config.errors import ConfigError
from fingertrio.config.sections import PresetsSection
from fingertrio.config.table import FIXED_SECTIONS
from fingertrio.observe.observer import Observer

# A participant's first phase: prepare for the new configuration, or raise; return the function that makes the change.
Prepare = Callable[[Config], Callable[[], None]]

# By section, the keys that can change without a restart; None: all of them.
Reloadable = Mapping[str, Collection[str] | None]

# The sections that belong to no front end; each front end has its own keys (`frontend.TakesOptions`).
RELOADABLE: Reloadable = {
    "service": frozenset({"deadline", "cache_ttl", "cache_size", "default_for"}),
    "log": frozenset({"level", "statuses"}),
    "limits": None,
    "presets": None,
}


class Reloader:
    """Reloads the configuration when called.

    Args:
        config: the current configuration.
        load: reads the configuration again, or raises ConfigError.
        observer: logs what changed and what did not.
        prepare: the participants.
        reloadable: the keys that the front ends can change, by section.
    """

    def __init__(
        self,
        config: Config,
        load: Callable[[], Config],
        observer: Observer,
        prepare: Iterable[Prepare],
        reloadable: Reloadable,
    ) -> None:
        self._config = config
        self._load = load
        self._observer = observer
        self._prepare = list(prepare)
        self._reloadable = {**RELOADABLE, **reloadable}

    def __call__(self) -> bool:
        """Apply what can change; nothing if the configuration is invalid. Returns whether it was accepted."""
        try:
            wanted = self._load()
            changed, fixed = compare(self._config, wanted, self._reloadable)
            config = _merge(self._config, wanted, changed)
            commits = [prepare(config) for prepare in self._prepare]
        except (ConfigError, ValueError, OSError) as error:
            self._observer.error("reload_refused", reason=str(error))
            return False
        for commit in commits:
            commit()
        self._config = config
        if fixed:
            self._observer.warning("needs_a_restart", keys=fixed)
        self._observer.info("reloaded", changed=changed)
        return True


def compare(old: Config, new: Config, reloadable: Reloadable) -> tuple[list[str], list[str]]:
    """The differences, as "section.key" or "section": those that a reload applies, and those that need a restart."""
    changed: list[str] = []
    fixed: list[str] = []
    old_sections, new_sections = old.sections, new.sections
    for name in dict.fromkeys([*old_sections, *new_sections]):
        before, after = old_sections.get(name), new_sections.get(name)
        if before == after:
            continue
        if before is None or after is None or name not in reloadable:
            fixed.append(name)
            continue
        keys = reloadable[name]
        if isinstance(before, PresetsSection | RootModel):  # its keys are the operator's own; an array has none
            (changed if keys is None or keys else fixed).append(name)
            continue
        for key in _keys(before):
            if getattr(before, key) != getattr(after, key):
                (changed if keys is None or key in keys else fixed).append(f"{name}.{key}")
    return changed, fixed


def _merge(old: Config, new: Config, changed: Iterable[str]) -> Config:
    """The old configuration with the `changed` keys of the new one."""
    sections, new_sections = old.sections, new.sections
    for place in changed:
        name, _, key = place.partition(".")
        new = new_sections[name]
        sections[name] = _with(sections[name], key, getattr(new, key)) if key else new
    fixed = {name: sections.pop(name) for name in FIXED_SECTIONS}
    return Config(**fixed, doors=sections)


def _keys(section: Any) -> list[str]:
    """The keys of a section, which is a pydantic model or, in another package's front end, a dataclass."""
    fields = type(section).model_fields if isinstance(section, BaseModel) else section.__dataclass_fields__
    return list(fields)


def _with(section: Any, key: str, value: object) -> object:
    if isinstance(section, BaseModel):
        return section.model_copy(update={key: value})
    return dataclasses.replace(section, **{key: value})
