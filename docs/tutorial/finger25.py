"""A library: doors are plug-ins, found by name, with options that are checked before anything is opened."""

import difflib
from collections.abc import Mapping
from dataclasses import fields
from importlib.metadata import entry_points
from typing import Any

import trio

from doors25 import BUILT_IN, Door, Start
from finger19_3 import FingerService
from finger19a import MemoryBackend

GROUP = "finger_tutorial.doors"  # packages name their doors as entry points of this group
DOORS: Mapping[str, Mapping[str, object]] = {"finger": {"port": 7979}, "setter": {"port": 1079}, "web": {"port": 8000}}


def find(name: str) -> Any:
    """Return the function that opens a door of this name. Raise ValueError if there is none, or it does not load."""
    if name in BUILT_IN:
        return BUILT_IN[name]
    found = {entry.name: entry for entry in entry_points(group=GROUP)}
    if name not in found:
        close = difflib.get_close_matches(name, [*BUILT_IN, *found], 1)
        raise ValueError(f"{name}: no such door" + (f"; did you mean {close[0]}?" if close else ""))
    try:
        return found[name].load()
    except Exception as error:
        raise ValueError(f"{name}: {found[name].value} cannot be loaded: {error!r}") from error


def mistakes_in(options: Mapping[str, object], model: type) -> list[str]:
    """Return what is wrong with the options of a door, a line each."""
    types = {field.name: field.type for field in fields(model)}
    mistakes = [f"{key}: no such option; there is {', '.join(types)}" for key in options if key not in types]
    mistakes += [f"{key}: missing" for key in types if key not in options]
    for key, kind in types.items():
        if key in options and isinstance(kind, type) and type(options[key]) is not kind:
            mistakes.append(f"{key}: expected {kind.__name__}, not {options[key]!r}")
    return mistakes


def prepare(doors: Mapping[str, Mapping[str, object]], door: Door) -> dict[str, Start]:
    """Return all doors, ready to start. Raise ValueError with every mistake in all of them."""
    ready: dict[str, Start] = {}
    mistakes = []
    for name, options in doors.items():
        try:
            opener = find(name)
        except ValueError as error:
            mistakes.append(str(error))
            continue
        model = opener.__annotations__["options"]
        if wrong := mistakes_in(options, model):
            mistakes += [f"{name}.{line}" for line in wrong]
        else:
            ready[name] = opener(model(**options), door)
    if mistakes:
        raise ValueError("\n".join(mistakes))
    return ready


async def main(
    doors: Mapping[str, Mapping[str, object]] = DOORS,
    host: str = "127.0.0.1",
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    ready = prepare(doors, Door(FingerService(MemoryBackend()), host))
    async with trio.open_nursery() as nursery:
        for start in ready.values():
            await nursery.start(start)
        task_status.started()


if __name__ == "__main__":
    trio.run(main)
