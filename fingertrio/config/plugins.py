"""Backends and front ends by name. Ours are found the way everybody else's are: by their entry-point group.

An entry point names a function whose first argument, its options, is annotated with a dataclass or a pydantic model.
The annotation is all that is needed to check a TOML table and to tell people what can be written there, which
`fingertrio.config.options` does. A backend's function is an async context manager (`fingertrio.backend`); a front end's
takes a second argument, its door (`fingertrio.frontend`).
"""

from __future__ import annotations

import inspect
import sys
import typing
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, EntryPoints, entry_points
from typing import Any, Generic, TypeVar

from fingertrio.backend import Backend
from fingertrio.config.errors import ConfigError
from fingertrio.config.options import Option, OptionsError, describe, is_options_type, validate
from fingertrio.wire.text import escape

BACKENDS = "fingertrio.backends"
FRONTENDS = "fingertrio.frontends"

_SHOWN = 500  # characters of anything that a package says: most causes with a path or two in them

OpenBackend = Callable[[Any], AbstractAsyncContextManager[Backend]]
OpenFrontend = Callable[[Any, Any], Any]  # options and a `frontend.Door`; gives a `frontend.Frontend`

Open = TypeVar("Open", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Plugin(Generic[Open]):
    """What is installed under one name: what opens it, the type of its options, and who brought it."""

    noun: str
    name: str
    open: Open
    options_type: type[Any]
    package: str

    def validate(self, table: object, section: str) -> object:
        """The options as the plug-in takes them.

        Args:
            table: what is written in `section`, for the plug-in alone.
            section: as messages name it.

        Raises:
            OptionsError: with all mistakes.
        """
        return validate(self.options_type, table, section)

    def check_options(self, table: object, source: str, section: str = "backend") -> object:
        """As `validate`, with one message for all mistakes.

        Raises:
            ConfigError: `source` names the file.
        """
        try:
            return self.validate(table, section)
        except OptionsError as error:
            raise ConfigError(f"{source}: the {self.name} {self.noun}: {error}") from None

    def summary(self) -> str:
        """The first sentence of the opening function's docstring, or of its options'."""
        text = inspect.getdoc(self.open) or inspect.getdoc(self.options_type) or ""
        return " ".join(text.split("\n\n")[0].split())

    def options(self) -> list[Option]:
        """What can be written in its table."""
        return describe(self.options_type)


BackendPlugin = Plugin[OpenBackend]
FrontendPlugin = Plugin[OpenFrontend]


@dataclass(frozen=True, slots=True)
class _Kind:
    """One of the two kinds of plug-ins: what messages call it, and what its entry points must name."""

    noun: str
    arguments: int
    expected: str


_KINDS = {
    BACKENDS: _Kind("backend", 1, "an async context manager function with one annotated argument, its options"),
    FRONTENDS: _Kind("front end", 2, "a function of two arguments, its options, which are annotated, and its door"),
}


def backend_names() -> list[str]:
    """The names of all backends that are installed, sorted; none of them is imported."""
    return _names(BACKENDS)


def frontend_names() -> list[str]:
    """The names of all front ends that are installed, sorted; none of them is imported."""
    return _names(FRONTENDS)


def find_backend(name: str, source: str = "configuration", section: str = "backend") -> BackendPlugin:
    """Import the backend of this name, which is written in `section` of `source`.

    Raises:
        ConfigError: there is none, or it cannot be imported, whatever that raises, or it is not made as the contract
            says. The message is one line of printable ASCII, except for `source`.
    """
    for point in _points(BACKENDS).select(name=name):
        return _load(point, source)
    raise ConfigError(f"{source}: {unknown_backend(name, section)}")


def unknown_backend(name: str, section: str = "backend") -> str:
    """The mistake of a backend's name that nothing is installed under."""
    return f'[{section}] use: no backend "{name}"; {_instead(backend_names())}'


def find_frontends(names: Iterable[str], source: str = "configuration") -> dict[str, FrontendPlugin]:
    """Import the front ends of these sections, in one look at what is installed.

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
    # Ours are always among them, unless what is installed says nothing of them: an update of an editable checkout, as
    # of an unpacked archive, renews the code but not its entry points.
    if names:
        return f"installed are: {', '.join(map(_shown, names))}"
    return "none is installed: this installation is older than its code: install it again"


def installed_backends() -> Sequence[BackendPlugin | ConfigError]:
    """Every backend that is installed, imported; for those that cannot be, why."""
    return _installed(BACKENDS)


def installed_frontends() -> Sequence[FrontendPlugin | ConfigError]:
    """Every front end that is installed, imported; for those that cannot be, why."""
    return _installed(FRONTENDS)


def _points(group: str) -> EntryPoints:
    return _look(group, tuple(sys.path))


@cache
def _look(group: str, _path: tuple[str, ...]) -> EntryPoints:
    """What is installed. Looked at once: it takes milliseconds, and without privileges it may be out of reach."""
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
    except BaseException as error:  # other people's code, which may also call sys.exit()
        bring = f'; pip install "{_shown(package)}[{name}]" may bring it'
        raise ConfigError(
            f"{source}: the {name} {kind.noun} cannot be imported from {value} ({_shown(package)}): {_cause(error)}"
            f"{bring if isinstance(error, ModuleNotFoundError) else ''}"
        ) from error
    try:
        signature = inspect.signature(opener)
        signature.bind(*[None] * kind.arguments)
        options_type = typing.get_type_hints(inspect.unwrap(opener))[next(iter(signature.parameters))]
    except Exception as error:  # an annotation is an expression, too, and may raise whatever it likes
        raise ConfigError(
            f"{source}: {value} ({_shown(package)}) is no {kind.noun}: expected {kind.expected}: {_cause(error)}"
        ) from error
    if not is_options_type(options_type):
        raise ConfigError(
            f"{source}: the options of {value} ({_shown(package)}) are neither a dataclass nor a pydantic model"
        )
    return Plugin(kind.noun, point.name, opener, options_type, package)


def _cause(error: BaseException) -> str:
    """What was raised. Of an ImportError its words say enough; of most others they do not ("1", or nothing at all)."""
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 -- the exception may be theirs as well
        text = ""
    if isinstance(error, ImportError) and text:
        return _shown(text)
    return _shown(f"{type(error).__name__}: {text}" if text else type(error).__name__)


def _shown(text: str) -> str:
    """What a package says, as one line that a terminal shows and does not obey."""
    return escape(" ".join(text.split()), _SHOWN)
