import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import trio

from harness import Step

ECHO = """
from dataclasses import dataclass
from functools import partial
import trio

@dataclass
class Options:
    port: int
    greeting: str

def open_echo(options: Options, door):
    async def serve(stream):
        await stream.send_all(options.greeting.encode())
    return partial(trio.serve_tcp, serve, options.port, host=door.host)
"""


def install(folder: Path) -> None:
    """Lay out two packages as pip does: one that works, and one that breaks when it is imported."""
    (folder / "echo_door.py").write_text(ECHO)
    (folder / "broken_door.py").write_text("import no_such_module")
    about = folder / "doors-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Name: doors\nVersion: 1.0\n")
    entries = "[finger_tutorial.doors]\necho = echo_door:open_echo\nbroken = broken_door:open_broken\n"
    (about / "entry_points.txt").write_text(entries)


async def attack(step: Step) -> None:
    """The operator mistypes names, options and types, and one plug-in is broken: one start must tell it all."""
    doors = {
        "finger": {"port": "7979"},
        "fingr": {"port": 7980},
        "echo": {"greting": "Hello"},
        "broken": {},
    }
    with TemporaryDirectory() as folder:
        install(Path(folder))
        sys.path.insert(0, folder)
        try:
            said = ""
            try:
                async with step.running(doors=doors):
                    pass
            except* AssertionError as group:
                said = str(group.exceptions[0].__cause__ or group.exceptions[0])
            for part in ("finger.port: expected int", "did you mean finger?", "echo.greting: no such option"):
                assert part in said, f"{part!r} is not said, only: {said}"
            assert "echo.port: missing" in said
            assert "broken_door:open_broken cannot be loaded" in said
            assert not await step.listens(7979)
            async with step.running(doors={"echo": {"port": 7979, "greeting": "Hello"}}):
                with trio.fail_after(60):
                    assert await step.ask(b"") == b"Hello"
        finally:
            sys.path.remove(folder)
