"""The message when every door is open. For people: where each door is and what to type to try it. For a service
manager: one log line per address, and "ready".
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from fingertrio.observe.observer import Observer

# What a front end does that does not listen.
_EVENTS = {"irc": "connecting", "webhook": "sending"}


def announce(
    observer: Observer,
    addresses: Mapping[str, Sequence[str]],
    backend: str,
    version: str,
    config: Path | None = None,
) -> None:
    """Announce the doors. `addresses` are those that the front ends reported, by section; `config` is the file."""
    if observer.human:
        banner = _banner(addresses, backend, version, config)
        observer.write_text(banner if observer.colors else click.unstyle(banner))
        return
    for door, places in addresses.items():
        for place in places:
            observer.info(_EVENTS.get(door, "listening"), door=door, address=place)
    observer.info("ready", backend=backend, version=version, **({} if config is None else {"config": str(config)}))


def _banner(addresses: Mapping[str, Sequence[str]], backend: str, version: str, config: Path | None) -> str:
    # The setter comes first: while no user has a status, the other doors show an empty list.
    rows = [
        (door if number == 0 else "", place, _example(door, place))
        for door, places in sorted(addresses.items(), key=lambda item: item[0] != "setter")
        for number, place in enumerate(places)
    ]
    place_columns = max((len(place) for _, place, _ in rows), default=0)
    lines = [
        click.style(f"fingertrio {version} is ready", bold=True) + f"; statuses come from the {backend} backend.",
        "It runs the built-in configuration; fingertrio init writes one."
        if config is None
        else f"Configuration: {config}",
        "",
    ]
    for door, place, hint in rows:
        lines.append(
            f"  {click.style(f'{door:<8}', fg='green')}{place:<{place_columns}}   {click.style(hint, dim=True)}"
        )
    return "\n".join([*lines, "", "Ctrl-C stops it. Queries are logged below.", ""])


def _example(door: str, place: str) -> str:
    program = _program()
    examples = {
        "finger": f"{program} finger @{place}",
        "setter": f"{program} set --at {place} Happy and well",
        "http": f"{place}/ in a browser, or curl {place}/api/users",
        "irc": f"/msg {place.rpartition(' ')[2]} moshez",
        "webhook": f"{program} webhook test {place.partition(' ')[0]}",
        "admin": f"curl {place}/readyz, or /metrics",
    }
    return examples.get(door, "")


def _program() -> str:
    """The command that runs this installation, from the current directory."""
    beside = Path(sys.executable).with_name("fingertrio")
    if not beside.exists():
        return f"{shlex.quote(sys.executable)} -m fingertrio"
    try:
        return shlex.quote(str(beside.relative_to(Path.cwd())))
    except ValueError:
        return shlex.quote(str(beside))
