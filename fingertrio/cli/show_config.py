"""`fingertrio config`: the effective configuration, with where each value comes from.

It is TOML with a comment behind each value, on a terminal with colours: what is set stands out, defaults are dim. So
it can be read, searched, and copied into a file.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import groupby
from pathlib import Path

import click

from fingertrio.cli import completing, discover
from fingertrio.cli.errors import nearest, stop
from fingertrio.cli.output import write_utf8
from fingertrio.config.config import parse_config
from fingertrio.config.effective import Origin, Setting, settings
from fingertrio.config.errors import ConfigError
from fingertrio.config.table import BUILT_IN, Table, load_table
from fingertrio.config.toml_text import toml_key, toml_value
from fingertrio.server.runtime import RunningServer
from fingertrio.wire.text import escape

_COMMENT = 52  # the column of comments, if the value leaves room


@click.command("config")
@click.argument("sections", metavar="[SECTION]...", nargs=-1, shell_complete=completing.sections)
@click.option(
    "--config", "path", type=click.Path(path_type=Path), shell_complete=completing.config_files, help="This TOML file."
)
@click.option("--changed", is_flag=True, help="Only what the file or the environment sets.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object, with every key and its origin.")
def show_config(sections: tuple[str, ...], path: Path | None, *, changed: bool, as_json: bool) -> None:
    """Show every key of the configuration, its value, and where that comes from.

    It is the configuration of the server that runs on this machine, with the variables of its environment; otherwise
    the one of FINGERTRIO_CONFIG, the one that init wrote, or the built-in one. Passwords, tokens and logins in URLs are
    hidden. With SECTION, only those: backend, http, irc.networks.
    """
    table, note = _load(path)
    try:
        parse_config(table.sections, table.source, to_serve=True)
        found = settings(table)
    except ConfigError as error:
        stop(str(error))
    _check_sections(sections, [setting.section for setting in found])
    chosen = [
        setting
        for setting in found
        if (not sections or any(_is_within(setting.section, name) for name in sections))
        and (not changed or setting.origin.kind != "default")
    ]
    click.echo(f"configuration: {note}", err=True)
    if as_json:
        write_utf8(json.dumps(_document(chosen, table), ensure_ascii=False, indent=2, default=str) + "\n")
        return
    for line in _toml(chosen, table):
        click.echo(line)


def _load(path: Path | None) -> tuple[Table, str]:
    """The table, and what to say of it: which file it is, and who has loaded it."""
    named = os.environ.get("FINGERTRIO_CONFIG")
    path = path or (Path(named) if named else None)
    server = discover.running_server()
    environ: Mapping[str, str] = os.environ
    if path is None and server is not None:
        path = None if server.config is None else Path(server.config)
        its_own = _environment_of(server.pid)
        environ = {} if its_own is None else its_own
        unknown = "; the variables of its environment cannot be read by you" if its_own is None else ""
        note = f"loaded by the server with pid {server.pid}{unknown}"
    elif path is None:
        path, note = discover.named_config(), "no server runs here"
    else:
        note = _of_another(server, path)
    try:
        table = load_table(path, environ)
    except ConfigError as error:
        stop(str(error))
    name = BUILT_IN if path is None else str(path)
    return table, f"{name} ({note})" if note else name


def _of_another(server: RunningServer | None, path: Path) -> str:
    if server is None or server.config == str(path.absolute()):
        return "" if server is None else f"loaded by the server with pid {server.pid}"
    return f"the server with pid {server.pid} has loaded {server.config or BUILT_IN}"


def _environment_of(pid: int) -> dict[str, str] | None:
    """The environment that a process was started with; None: it may not be read."""
    with suppress(OSError):
        entries = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        pairs = (os.fsdecode(entry).partition("=") for entry in entries if entry)
        return {name: value for name, _, value in pairs}
    return None


def _check_sections(wanted: Sequence[str], known: Sequence[str]) -> None:
    for name in wanted:
        if not any(_is_within(section, name) for section in known):
            names = sorted(dict.fromkeys(known))
            hint = nearest(name, names) or f"; there are {', '.join(names)}"
            raise click.UsageError(f"there is no section {escape(name)} in this configuration{hint}")


def _is_within(section: str, name: str) -> bool:
    name = name.strip("[]")
    return section == name or section.startswith(f"{name}.")


def _toml(found: Sequence[Setting], table: Table) -> list[str]:
    lines: list[str] = []
    for (section, number), group in groupby(found, lambda setting: (setting.section, setting.number)):
        header = ".".join(map(toml_key, section.split(".")))
        lines += [""] * bool(lines)
        lines.append(click.style(f"[{header}]" if number is None else f"[[{header}]]", fg="green", bold=True))
        lines += [_line(setting, table) for setting in group]
    return lines


def _line(setting: Setting, table: Table) -> str:
    is_default = setting.origin.kind == "default"
    name = toml_key(setting.name)
    text = f"# {name} is not set" if setting.value is None else f"{name} = {toml_value(setting.value)}"
    blanks = " " * max(_COMMENT - len(text), 2)
    comment = f"# {_shown(setting.origin, table)}"
    if is_default:
        return click.style(text if setting.value is None else f"{text}{blanks}{comment}", dim=True)
    return text + blanks + click.style(comment, fg="cyan")


def _shown(origin: Origin, table: Table) -> str:
    match origin.kind:
        case "file":
            name = "" if table.path is None else table.path.name
            return name if origin.line is None else f"{name}:{origin.line}"
        case "environment":
            return str(origin.variable)
        case "built-in":
            return BUILT_IN
    return "default"


def _document(found: Sequence[Setting], table: Table) -> dict[str, object]:
    return {
        "file": None if table.path is None else str(table.path.absolute()),
        "settings": [
            {
                "section": setting.section,
                "key": setting.name,
                "value": setting.value,
                "from": setting.origin.kind,
                "line": setting.origin.line,
                "variable": setting.origin.variable,
            }
            for setting in found
        ],
    }
