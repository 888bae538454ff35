"""SIGHUP: the configuration is read again. What can change without a restart changes, all of it or nothing.

Two phases. First everything that may fail: the file is read and checked, certificates are loaded, each door prepares
what it will need. Then, and only if nothing failed, every change is made, synchronously, so that no question is
answered by half of it. What cannot change without a restart is named in the log and stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from pydantic import BaseModel

from fingertrio.config import Config, ConfigError
from fingertrio.observe import Observer

# A door's part: given the new configuration, prepare (and raise where that fails), and return what makes the change.
Prepare = Callable[[Config], Callable[[], None]]

# By section, the keys whose change needs no restart; None: all of them. Certificates are loaded again in any case.
RELOADABLE: Mapping[str, frozenset[str] | None] = {
    "service": frozenset({"deadline", "cache_ttl", "cache_size"}),
    "log": frozenset({"level"}),
    "limits": None,
    "finger": frozenset(
        {
            "answer",
            "user_list",
            "show",
            "ambiguous",
            "forwarding",
            "forward_to",
            "max_connections",
            "max_connections_per_address",
        }
    ),
    "setter": frozenset({"max_connections", "max_connections_per_address"}),
    "http": frozenset({"certfile", "keyfile", "max_connections", "max_connections_per_address"}),
}


class Reloader:
    """Reads the configuration again when it is called.

    Args:
        config: what runs now.
        load: reads the configuration anew, or raises ConfigError.
        observer: told what changed and what did not.
        prepare: everybody who can change something.
    """

    def __init__(
        self, config: Config, load: Callable[[], Config], observer: Observer, prepare: Iterable[Prepare]
    ) -> None:
        self._config = config
        self._load = load
        self._observer = observer
        self._prepare = list(prepare)

    def __call__(self) -> None:
        """Change what can be changed; with a configuration that is broken, nothing."""
        try:
            wanted = self._load()
            changed, fixed = compare(self._config, wanted)
            config = _merge(self._config, wanted, changed)
            commits = [prepare(config) for prepare in self._prepare]
        except (ConfigError, ValueError, OSError) as error:
            self._observer.error("reload_refused", reason=str(error))
            return
        for commit in commits:
            commit()
        self._config = config
        if fixed:
            self._observer.warning("needs_a_restart", keys=fixed)
        self._observer.info("reloaded", changed=changed)


def compare(old: Config, new: Config) -> tuple[list[str], list[str]]:
    """What differs, as "section.key" or "section": what a reload changes, and what needs a restart."""
    changed: list[str] = []
    fixed: list[str] = []
    for name in type(old).model_fields:
        before, after = getattr(old, name), getattr(new, name)
        if before == after:
            continue
        if before is None or after is None or name not in RELOADABLE:
            fixed.append(name)
            continue
        reloadable = RELOADABLE[name]
        for key in type(before).model_fields:
            if getattr(before, key) != getattr(after, key):
                (changed if reloadable is None or key in reloadable else fixed).append(f"{name}.{key}")
    return changed, fixed


def _merge(old: Config, new: Config, changed: Iterable[str]) -> Config:
    """The old configuration with what may change taken from the new one."""
    sections: dict[str, BaseModel] = {}
    for place in changed:
        name, _, key = place.partition(".")
        section = sections.get(name, getattr(old, name))
        sections[name] = section.model_copy(update={key: getattr(getattr(new, name), key)})
    return old.model_copy(update=sections)
