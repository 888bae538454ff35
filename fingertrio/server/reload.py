"""SIGHUP: the configuration is read again. What can change without a restart changes, all of it or nothing.

Two phases. First everything that may fail: the file is read and checked, certificates are loaded, each door prepares
what it will need. Then, and only if nothing failed, every change is made, synchronously, so that no question is
answered by half of it. What cannot change without a restart is named in the log and stays as it is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from pydantic import BaseModel

from fingertrio.config.config import Config
from fingertrio.config.errors import ConfigError
from fingertrio.observe.observer import Observer

# A door's part: given the new configuration, prepare (and raise where that fails), and return what makes the change.
Prepare = Callable[[Config], Callable[[], None]]

# By section, the keys whose change needs no restart; None: all of them.
Reloadable = Mapping[str, Collection[str] | None]

# What is no front end's; each of those has its own (`frontend.TakesOptions`).
RELOADABLE: Reloadable = {
    "service": frozenset({"deadline", "cache_ttl", "cache_size"}),
    "log": frozenset({"level"}),
    "limits": None,
}


class Reloader:
    """Reads the configuration again when it is called.

    Args:
        config: what runs now.
        load: reads the configuration anew, or raises ConfigError.
        observer: told what changed and what did not.
        prepare: everybody who can change something.
        reloadable: what the front ends can change, by section.
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
        """Change what can be changed; with a configuration that is broken, nothing. Returns whether it was taken."""
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
    """What differs, as "section.key" or "section": what a reload changes, and what needs a restart."""
    changed: list[str] = []
    fixed: list[str] = []
    for name in dict.fromkeys([*type(old).model_fields, *old.doors, *new.doors]):
        before, after = getattr(old, name, None), getattr(new, name, None)
        if before == after:
            continue
        if before is None or after is None or name not in reloadable:
            fixed.append(name)
            continue
        keys = reloadable[name]
        for key in _keys(before):
            if getattr(before, key) != getattr(after, key):
                (changed if keys is None or key in keys else fixed).append(f"{name}.{key}")
    return changed, fixed


def _merge(old: Config, new: Config, changed: Iterable[str]) -> Config:
    """The old configuration with what may change taken from the new one."""
    sections: dict[str, object] = {}
    for place in changed:
        name, _, key = place.partition(".")
        section = sections.get(name, getattr(old, name))
        sections[name] = _with(section, key, getattr(getattr(new, name), key))
    return old.model_copy(update=sections)


def _keys(section: Any) -> list[str]:
    """The keys of a section, which is a pydantic model or, where somebody else's front end wants it so, a dataclass."""
    fields = type(section).model_fields if isinstance(section, BaseModel) else section.__dataclass_fields__
    return list(fields)


def _with(section: Any, key: str, value: object) -> object:
    if isinstance(section, BaseModel):
        return section.model_copy(update={key: value})
    return dataclasses.replace(section, **{key: value})
