"""Reads a TOML file and the environment into a frozen `Config`, or raises one error that lists every mistake.

A section named after a front end starts that front end, ours or one from another package: the plug-in gives the type
of its options, and `fingertrio.config.options` validates the table against it. A key that the type lacks is an error.
Environment variables named FINGERTRIO_SECTION__KEY override the file. The types of our own sections are in
`fingertrio.config.sections` and `fingertrio.config.doors`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

from fingertrio.config.conflicts import address_conflicts
from fingertrio.config.errors import ConfigError, mistake, report
from fingertrio.config.options import OptionsError, validate
from fingertrio.config.plugins import (
    backend_names,
    find_backend,
    find_frontends,
    frontend_names,
    unknown_backend,
)
from fingertrio.config.sections import (
    AccountsSection,
    BackendSection,
    LimitsSection,
    LogSection,
    PresetsSection,
    ProcessSection,
    ServiceSection,
    WebFingerSection,
)
from fingertrio.config.table import DOOR_ORDER, FIXED_SECTIONS, load_table

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Config:
    """The whole configuration.

    Attributes:
        backend, service, log, limits, process, accounts, presets, webfinger: the sections of these names.
        doors: the options of each front end, by section, in the order in which the doors open.
    """

    backend: BackendSection
    service: ServiceSection
    log: LogSection
    limits: LimitsSection
    process: ProcessSection
    accounts: AccountsSection
    presets: PresetsSection
    webfinger: WebFingerSection
    doors: Mapping[str, Any]

    @property
    def sections(self) -> dict[str, Any]:
        """Every section by its name."""
        return {name: getattr(self, name) for name in FIXED_SECTIONS} | dict(self.doors)


def load_config(path: Path | None = None, environ: Mapping[str, str] = os.environ, *, to_serve: bool = False) -> Config:
    """Read `path` (None: the built-in default) and the environment.

    Args:
        path: the file.
        environ: the environment.
        to_serve: for a server: require a door, and validate the backend's own options too.

    Raises:
        ConfigError: with every mistake, not only the first.
    """
    table = load_table(path, environ)
    return parse_config(table.sections, table.source, to_serve=to_serve)


def load_backend(path: Path | None = None, environ: Mapping[str, str] = os.environ) -> BackendSection:
    """Read [backend] alone, for commands without a front end: none is imported, and no other section is validated.

    Raises:
        ConfigError: with every mistake in the section.
    """
    table = load_table(path, environ)
    parser = _Parser(table.sections)
    section = parser.required("backend", BackendSection)
    parser.raise_mistakes(table.source)
    return section


def load_accounts(
    path: Path | None = None, environ: Mapping[str, str] = os.environ
) -> tuple[BackendSection, AccountsSection]:
    """Read [backend] and [accounts], as `load_backend` does: where the tokens are.

    Raises:
        ConfigError: with every mistake in the two sections.
    """
    table = load_table(path, environ)
    parser = _Parser(table.sections)
    backend = parser.required("backend", BackendSection)
    accounts = parser.optional("accounts", AccountsSection)
    parser.raise_mistakes(table.source)
    return backend, accounts


def parse_config(table: Mapping[str, Any], source: str = "configuration", *, to_serve: bool = False) -> Config:
    """Make a `Config` from a TOML table; see `load_config`. `source` names the table in messages.

    Raises:
        ConfigError: with every mistake, not only the first.
    """
    parser = _Parser(table)
    config = Config(
        backend=parser.required("backend", BackendSection),
        service=parser.optional("service", ServiceSection),
        log=parser.optional("log", LogSection),
        limits=parser.optional("limits", LimitsSection),
        process=parser.optional("process", ProcessSection),
        accounts=parser.optional("accounts", AccountsSection),
        presets=parser.optional("presets", PresetsSection),
        webfinger=parser.optional("webfinger", WebFingerSection),
        doors=parser.doors(),
    )
    parser.check_webfinger(config)
    parser.check_addresses(config)
    if to_serve:
        parser.check_serves()
    parser.raise_mistakes(source)
    return config


class _Parser:
    """Validates the sections of one table and collects the mistakes of all.

    A section with mistakes becomes None, whatever its type: the caller ends with `raise_mistakes`.
    """

    def __init__(self, table: Mapping[str, Any]) -> None:
        self._table = table
        self._mistakes: list[str] = []

    def raise_mistakes(self, source: str) -> None:
        """Raise ConfigError if there are any."""
        if self._mistakes:
            raise ConfigError(report(source, self._mistakes))

    def required(self, name: str, options_type: type[T]) -> T:
        """A section that must be present."""
        if name not in self._table:
            advice = 'with use = "sqlite", or another of those that fingertrio backends lists'  # the only one so far
            self._mistakes.append(f"[{name}]: is missing; add this section, {advice}")
            return cast("T", None)
        return self.optional(name, options_type)

    def optional(self, name: str, options_type: type[T]) -> T:
        """A section with its defaults where it is absent."""
        try:
            return validate(options_type, self._table.get(name, {}), name)
        except OptionsError as error:
            self._mistakes += error.mistakes
        return cast("T", None)

    def doors(self) -> dict[str, Any]:
        """The sections of all front ends, each validated by its plug-in."""
        names = [name for name in DOOR_ORDER if name in self._table]
        names += sorted(self._table.keys() - {*FIXED_SECTIONS, *names})
        return {name: self._door(name) for name in names}

    def _door(self, name: str) -> object:
        table, installed = self._table[name], frontend_names()
        try:
            if installed and name not in installed:
                kind = "unknown_section" if isinstance(table, dict) else "extra_forbidden"
                self._mistakes.append(mistake((name,), "", kind, sorted({*FIXED_SECTIONS, *installed})))
                return None
            return find_frontends([name], f"[{name}]")[name].validate(table, name)
        except OptionsError as error:
            self._mistakes += error.mistakes
        except ConfigError as error:
            self._mistakes.append(str(error))
        return None

    def check_serves(self) -> None:
        """What a server needs besides: a door, and options that the backend accepts."""
        self._check_backend(self._table.get("backend"))
        if not self._table.keys() - set(FIXED_SECTIONS):
            *sections, last = [f"[{name}]" for name in DOOR_ORDER]
            self._mistakes.append(f"no section opens a door: add {', '.join(sections)} or {last}")

    def check_webfinger(self, config: Config) -> None:
        """WebFinger needs the pages that it points to, and their address."""
        http = config.doors.get("http")
        section = cast("WebFingerSection | None", config.webfinger)
        if section is None or ("http" in config.doors and http is None):
            return  # the mistake is reported already
        if reason := section.refusal(None if http is None else http.url):
            self._mistakes.append(reason)

    def check_addresses(self, config: Config) -> None:
        """Each door needs addresses of its own."""
        self._mistakes += address_conflicts(config.doors)

    def _check_backend(self, table: object) -> None:
        if not isinstance(table, dict) or not isinstance(name := table.get("use"), str):
            return  # reported by `required`
        if name not in backend_names():
            self._mistakes.append(unknown_backend(name))
            return
        try:
            find_backend(name, "[backend]").validate({key: table[key] for key in table if key != "use"}, "backend")
        except OptionsError as error:
            self._mistakes += error.mistakes
        except ConfigError as error:
            self._mistakes.append(str(error))
