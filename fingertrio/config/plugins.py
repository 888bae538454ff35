"""Finds backends and front ends by name, through entry points: ours and those of other packages in the same way.

An entry point names a function whose first argument, its options, is annotated with a dataclass or a pydantic model.
From that annotation `fingertrio.config.options` validates a TOML table and lists its options. A backend's function is
an async context manager (`fingertrio.backend`); a front end's takes a second argument, its door
(`fingertrio.frontend`).
"""

from __future__ import annotations

import inspect
import sys
import typing
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, EntryPoints, entry_points
from typing import Any, Generic, TypeVar

from fingertrio.backend import Backend
from fingertrio.config.errors import ConfigError
from fingertrio.config.options import Option, OptionsError, is_options_type, list_options, validate
from fingertrio.wire.text import escape

BACKENDS = "fingertrio.backends"
FRONTENDS = "fingertrio.frontends"

_SHOWN = 500  # characters of a package's own text: enough for most error messages with a path or two in them

OpenBackend = Callable[[Any], AbstractAsyncContextManager[Backend]]
OpenFrontend = Callable[[Any, Any], Any]  # from options and a `frontend.Door` to a `frontend.Frontend`

Open = TypeVar("Open", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Plugin(Generic[Open]):
    """A backend or front end that is installed: its opening function, the type of its options, and its package."""

    noun: str
    name: str
    open: Open
    options_type: type[Any]
    package: str

    def validate(self, table: object, section: str) -> object:
        """The options in `table`, as the plug-in takes them.

        Args:
            table: the plug-in's own keys of `section`.
            section: its name in messages.

        Raises:
            OptionsError: with all mistakes.
        """
        return validate(self.options_type, table, section)

    def check_options(self, table: object, source: str, section: str = "backend") -> object:
        """As `validate`, with one message for all mistakes.

        Raises:
            ConfigError: the message begins with `source`.
        """
        try:
            return self.validate(table, section)
        except OptionsError as error:
            raise ConfigError(f"{source}: the {self.name} {self.noun}: {error}") from None

    def summary(self) -> str:
        """The first paragraph of the opening function's docstring, or of its options'."""
        text = inspect.getdoc(self.open) or inspect.getdoc(self.options_type) or ""
        return " ".join(text.split("\n\n")[0].split())

    def options(self) -> list[Option]:
        """The keys that its table can have."""
        return list_options(self.options_type)


BackendPlugin = Plugin[OpenBackend]
FrontendPlugin = Plugin[OpenFrontend]


@dataclass(frozen=True, slots=True)
class _Kind:
    """A kind of plug-in: its name in messages, and what its entry points must name."""

    noun: str
    arguments: int
    expected: str


_KINDS = {
    BACKENDS: _Kind("backend", 1, "an async context manager function with one annotated argument, its options"),
    FRONTENDS: _Kind("front end", 2, "a function of two arguments, its annotated options and its door"),
}


def backend_names() -> list[str]:
    """The names of all installed backends, sorted. Imports none of them."""
    return _names(BACKENDS)


def frontend_names() -> list[str]:
    """The names of all installed front ends, sorted. Imports none of them."""
    return _names(FRONTENDS)


def find_backend(name: str, source: str = "configuration", section: str = "backend") -> BackendPlugin:
    """Import the backend that `section` of `source` names.

    Raises:
        ConfigError: no backend has this name, importing it raised something, or it does not follow the contract. The
            message is one line of printable ASCII, except for `source`.
    """
    for point in _points(BACKENDS).select(name=name):
        return _load(point, source)
    raise ConfigError(f"{source}: {unknown_backend(name, section)}")


def unknown_backend(name: str, section: str = "backend") -> str:
    """The message for a backend name that no installed package provides."""
    return f'[{section}] use: no backend "{name}"; {_instead(backend_names())}'


def find_frontends(names: Iterable[str], source: str = "configuration") -> dict[str, FrontendPlugin]:
    """Import the front ends of these sections.

    Raises:
        ConfigError: as `find_backend`.
    """
    points = {point.name: point for point in _points(FRONTENDS)}
    found = {}
    for name in names:
        if name not in points:
            raise ConfigError(f"{source}: [{name}]: no such front end; {_instead(sorted(points))}")
        found[name] = _load(points[name], source)
    return found


def _instead(names: Sequence[str]) -> str:
    # Ours are missing only if the installed metadata is stale: updating an editable checkout changes the code but not
    # the entry points.
    if names:
        return f"installed are: {', '.join(map(_shown, names))}"
    return "none is installed: the installed metadata is older than the code; install the package again"


def installed_backends() -> Sequence[BackendPlugin | ConfigError]:
    """Every installed backend, imported; the error for one that cannot be imported."""
    return _installed(BACKENDS)


def installed_frontends() -> Sequence[FrontendPlugin | ConfigError]:
    """Every installed front end, imported; the error for one that cannot be imported."""
    return _installed(FRONTENDS)


def _points(group: str) -> EntryPoints:
    return _read_points(group, tuple(sys.path))


@cache
def _read_points(group: str, _path: tuple[str, ...]) -> EntryPoints:
    """The installed entry points, read once: it takes milliseconds, and may be impossible without privileges."""
    return entry_points(group=group)


def _names(group: str) -> list[str]:
    return sorted(_points(group).names)


def _installed(group: str) -> list[Plugin[Any] | ConfigError]:
    found: list[Plugin[Any] | ConfigError] = []
    for point in sorted(_points(group), key=lambda point: point.name):
        try:
            found.append(_load(point, _shown(point.name)))
        except ConfigError as error:
            found.append(error)
    return found


def _load(point: EntryPoint, source: str) -> Plugin[Any]:
    kind = _KINDS[point.group]
    name, value = _shown(point.name), _shown(point.value)
    package = point.dist.name if point.dist is not None else "?"
    try:
        opener = point.load()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # foreign code, which may also call sys.exit()
        hint = f'; pip install "{_shown(package)}[{name}]" may install it'
        raise ConfigError(
            f"{source}: the {name} {kind.noun} cannot be imported from {value} ({_shown(package)}): {_cause(error)}"
            f"{hint if isinstance(error, ModuleNotFoundError) else ''}"
        ) from error
    try:
        signature = inspect.signature(opener)
        signature.bind(*[None] * kind.arguments)
        options_type = typing.get_type_hints(inspect.unwrap(opener))[next(iter(signature.parameters))]
    except Exception as error:  # an annotation is an expression and may raise anything
        raise ConfigError(
            f"{source}: {value} ({_shown(package)}) is not a {kind.noun}: expected {kind.expected}: {_cause(error)}"
        ) from error
    if not is_options_type(options_type):
        raise ConfigError(
            f"{source}: the options of {value} ({_shown(package)}) are neither a dataclass nor a pydantic model"
        )
    return Plugin(kind.noun, point.name, opener, options_type, package)


def _cause(error: BaseException) -> str:
    """What was raised. The text of an ImportError is enough; that of most others ("1", or empty) needs the type."""
    text = ""
    with suppress(Exception):  # foreign code: its __str__ may raise too
        text = str(error)
    if isinstance(error, ImportError) and text:
        return _shown(text)
    return _shown(f"{type(error).__name__}: {text}" if text else type(error).__name__)


def _shown(text: str) -> str:
    """A package's own text as one line of printable ASCII."""
    return escape(" ".join(text.split()), _SHOWN)
