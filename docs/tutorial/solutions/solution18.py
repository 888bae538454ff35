"""Draw the arrows: who imports whom, as text, from the files themselves."""

from finger18 import HOUSE, imports
from harness import Step


def arrows() -> dict[str, list[str]]:
    """Return for each room the rooms that it imports."""
    return {
        path.stem: sorted({name.removeprefix("house.") for name in imports(path) if name.startswith("house.")})
        for path in HOUSE.glob("[a-z]*.py")
    }


def depth(room: str, found: dict[str, list[str]]) -> int:
    """Return how many rooms are below one. It ends, because no arrows go in a circle."""
    return 1 + max((depth(below, found) for below in found[room]), default=0)


def check(_step: Step) -> None:
    found = arrows()
    assert found["wire"] == found["rpc"] == []
    assert found["doors"] == ["service", "wire"]
    assert max(depth(room, found) for room in found) == 2


async def main() -> None:
    found = arrows()
    for room in sorted(found, key=lambda name: depth(name, found)):
        print(f"{room} -> {', '.join(found[room]) or 'nothing'}")
