import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from harness import HERE, Step

SHORTCUTS = {
    "wire": "import trio",  # a parser that reads by itself
    "service": "def ask():\n    from house.web import make_app",  # the service knows a door
    "doors": "from house import web",
    "web": "import sqlite3",  # a page that asks the database
}


async def attack(step: Step) -> None:
    """Somebody in a hurry takes a shortcut from one room to another: it must be noticed, and by a test."""
    violations = step["violations"]
    assert violations() == []
    for room, shortcut in SHORTCUTS.items():
        with TemporaryDirectory() as folder:
            for path in Path(HERE, "house").glob("*.py"):
                shutil.copy(path, folder)
            file = Path(folder, f"{room}.py")
            file.write_text(f"{file.read_text()}\n{shortcut}\n")
            assert len(violations(Path(folder))) == 1, f"{shortcut!r} in {room}.py is not noticed"
    async with step.running():
        assert await step.ask(b"nobody\r\n") == b"No such user\r\n"
        assert (await step.request("/nobody"))[0] == 404
