"""What the program says when every door is open: to a person, where each door is and what to type there; to a service
manager, one structured line for each door and one that says "ready".
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from fingertrio.observe.observer import Observer


def announce(observer: Observer, addresses: Mapping[str, Sequence[str]], backend: str, version: str) -> None:
    """Say where the doors are. `addresses` are those that the front ends gave, by section."""
    if observer.human:
        click.echo(_banner(addresses, backend, version), err=True)
        return
    for door, places in addresses.items():
        for place in places:
            observer.info("connecting" if door == "irc" else "listening", door=door, address=place)
    observer.info("ready", backend=backend, version=version)


def _banner(addresses: Mapping[str, Sequence[str]], backend: str, version: str) -> str:
    # Where statuses are set stands first: as long as nobody has one, all that the others show is an empty list.
    rows = [
        (door if number == 0 else "", place, _to_try(door, place))
        for door, places in sorted(addresses.items(), key=lambda item: item[0] != "setter")
        for number, place in enumerate(places)
    ]
    place_columns = max((len(place) for _, place, _ in rows), default=0)
    lines = [
        click.style(f"fingertrio {version} is ready", bold=True) + f"; statuses come from the {backend} backend.",
        "",
    ]
    for door, place, hint in rows:
        lines.append(
            f"  {click.style(f'{door:<8}', fg='green')}{place:<{place_columns}}   {click.style(hint, dim=True)}"
        )
    return "\n".join([*lines, "", "Ctrl-C stops it. Questions are logged below.", ""])


def _to_try(door: str, place: str) -> str:
    program = _program()
    match door:
        case "finger":
            return f"{program} finger @{place}"
        case "setter":
            return f'{program} set --at {place} moshez "Happy and well"'
        case "http":
            return f"{place}/ in a browser, or curl {place}/api/users"
        case "irc":
            return "/msg " + place.rpartition(" ")[2] + " moshez"
        case "admin":
            return f"curl {place}/readyz, or /metrics"
    return ""


def _program() -> str:
    """How to call this very installation from the present directory."""
    beside = Path(sys.executable).with_name("fingertrio")
    if not beside.exists():
        return f"{shlex.quote(sys.executable)} -m fingertrio"
    try:
        return shlex.quote(str(beside.relative_to(Path.cwd())))
    except ValueError:
        return shlex.quote(str(beside))
