"""docs/reference/configuration.md, written from the models that validate the configuration.

`python -m fingertrio.config.reference` prints the page; `make reference` writes it, and a test compares. Only what this
package brings is on the page, whatever else is installed.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator

from pydantic import RootModel

from fingertrio.config.errors import ConfigError
from fingertrio.config.options import Option, list_options
from fingertrio.config.plugins import Open, Plugin, installed_backends, installed_frontends
from fingertrio.config.sections import (
    AccountsSection,
    LimitsSection,
    LogSection,
    Preset,
    PresetsSection,
    ProcessSection,
    Section,
    ServiceSection,
    WebFingerSection,
)
from fingertrio.config.table import DEFAULT
from fingertrio.config.toml_text import toml_value

_INTRODUCTION = """# Configuration

One TOML file. A section for a front end starts that front end; a key that no model knows is an error. `fingertrio init`
writes a first one. Without any, `fingertrio serve` uses the default at the end of this page. `fingertrio check-config`
reports every mistake.

An environment variable overrides a key: `FINGERTRIO_FINGER__LISTEN` stands for `listen` in `[finger]`. The value is
read as TOML, or as text if it is not valid TOML. `FINGERTRIO_WEBHOOK__TEAM__URL` stands for `url` in the `[[webhook]]`
with the name `team`, and `FINGERTRIO_WEBHOOK` for the whole array.

This page is written by `make reference` from the models that validate the file."""

_OTHER_SECTIONS: dict[str, type[Section]] = {
    "service": ServiceSection,
    "accounts": AccountsSection,
    "webfinger": WebFingerSection,
    "limits": LimitsSection,
    "log": LogSection,
    "process": ProcessSection,
}


def reference() -> str:
    """The whole page, in Markdown."""
    parts = [_INTRODUCTION, "## Front ends"]
    for plugin in _ours(installed_frontends()):
        heading = f"[[{plugin.name}]]" if issubclass(plugin.options_type, RootModel) else f"[{plugin.name}]"
        parts += [f"### `{heading}`", plugin.summary(), _table(plugin.options())]
    parts += ["## Backends", "`[backend]` names one with `use`; its other keys are the options of that backend."]
    for backend in _ours(installed_backends()):
        parts += [f'### `use = "{backend.name}"`', backend.summary(), _table(backend.options())]
    parts += ["## Everything else"]
    for name, section in _OTHER_SECTIONS.items():
        parts += [f"### `[{name}]`", _summary(section), _table(list_options(section))]
    parts += ["### `[presets]`", _summary(PresetsSection), "Each is a table:", _table(list_options(Preset))]
    parts += ["## The default", f"```toml\n{_default_file()}\n```"]
    return "\n\n".join(part for part in parts if part) + "\n"


def _ours(found: Iterable[Plugin[Open] | ConfigError]) -> Iterator[Plugin[Open]]:
    for plugin in found:
        if isinstance(plugin, Plugin) and plugin.package.split()[0] == "fingertrio":
            yield plugin


def _summary(section: type[Section]) -> str:
    """The docstring of a section without its own name: "[log]: standard error." becomes "Standard error."."""
    text = " ".join((section.__doc__ or "").split("\n\n")[0].split()).partition("]: ")[2]
    return text[:1].upper() + text[1:]


def _table(options: list[Option]) -> str:
    if not options:
        return "No keys."
    cells = [(f"`{option.name}`", option.kind, _cell(option.default), option.description) for option in options]
    rows = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in cells]
    return "\n".join(["| key | type | default | meaning |", "|---|---|---|---|", *rows])


def _cell(default: str | None) -> str:
    if default is None:
        return "required"
    return "" if default == "none" else f"`{default}`"


def _default_file() -> str:
    lines = []
    for name, section in DEFAULT.items():
        lines += [f"[{name}]", *(f"{key} = {toml_value(value)}" for key, value in section.items()), ""]
    return "\n".join(lines).rstrip()


if __name__ == "__main__":
    sys.stdout.write(reference())
