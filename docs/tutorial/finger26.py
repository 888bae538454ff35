"""The whole program: a configuration file, doors, signals, and an exit status that tells how it went."""

import os
import signal
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import trio

from doors25 import Door, Start
from finger19_3 import FingerService
from finger19a import MemoryBackend
from finger25 import prepare

FILE = Path(__file__).with_name("finger.toml")
MISCONFIGURED = 78  # EX_CONFIG of sysexits.h: a service manager need not try again
KEYS = {"host": str, "users": dict, "doors": dict}


@dataclass(frozen=True)
class Config:
    host: str = "127.0.0.1"
    users: Mapping[str, str] | None = None
    doors: Mapping[str, Mapping[str, object]] | None = None


def read_config(path: Path, environment: Mapping[str, str] = os.environ) -> tuple[Config, dict[str, Start]]:
    """Return the configuration and its doors. Raise ValueError with every mistake; nothing has been opened then."""
    try:
        values = tomllib.loads(path.read_text())
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"{path}: {error}") from error
    if "FINGER_HOST" in environment:
        values["host"] = environment["FINGER_HOST"]
    mistakes = [f"{key}: no such key; there is {', '.join(KEYS)}" for key in values if key not in KEYS]
    for key, kind in KEYS.items():
        if key in values and not isinstance(values[key], kind):
            mistakes.append(f"{key}: expected {kind.__name__}, not {values[key]!r}")
    config = Config(**{key: values[key] for key in KEYS if isinstance(values.get(key), KEYS[key])})
    doors = {name: options for name, options in (config.doors or {}).items() if isinstance(options, dict)}
    ready: dict[str, Start] = {}
    try:
        ready = prepare(doors, Door(FingerService(MemoryBackend(config.users or {})), config.host))
    except ValueError as error:
        mistakes += str(error).splitlines()
    if mistakes:
        raise ValueError("\n".join(f"{path}: {mistake}" for mistake in mistakes))
    return config, ready


async def main(path: Path = FILE, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    config, ready = read_config(path)
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            for start in ready.values():
                await nursery.start(start)
            print(f"Serving {', '.join(ready)} on {config.host}.", flush=True)
            task_status.started()
            await anext(aiter(signals))
            print("Stopping.", flush=True)
            nursery.cancel_scope.cancel()


if __name__ == "__main__":
    arguments = sys.argv[1:]
    check_only = "--check" in arguments
    [file] = [Path(each) for each in arguments if each != "--check"] or [FILE]
    try:
        read_config(file)
    except ValueError as mistakes:
        print(mistakes, file=sys.stderr)
        sys.exit(MISCONFIGURED)
    if not check_only:
        trio.run(main, file)
