"""Any key from the environment: FINGER_DOORS__SETTER__PORT=1080, and a name that matches nothing is a mistake."""

from collections.abc import Mapping
from typing import Any

from harness import Step

PREFIX = "FINGER_"


def override(values: dict[str, Any], environment: Mapping[str, str]) -> list[str]:
    """Put values from the environment into those of the file. Return the names that match no key, as mistakes."""
    mistakes = []
    for name, text in environment.items():
        if not name.startswith(PREFIX):
            continue
        *tables, key = name.removeprefix(PREFIX).lower().split("__")
        place: Any = values
        for table in tables:
            place = place.get(table) if isinstance(place, dict) else None
        if not isinstance(place, dict) or key not in place:
            mistakes.append(f"{name}: there is no such key in the file")
        else:
            place[key] = int(text) if isinstance(place[key], int) and text.isdecimal() else text
    return mistakes


async def main() -> None:
    values = {"doors": {"setter": {"port": 1079}}}
    override(values, {"FINGER_DOORS__SETTER__PORT": "1080"})
    print(values)


def check(_step: Step) -> None:
    values = {"host": "127.0.0.1", "doors": {"setter": {"port": 1079}}}
    environment = {"FINGER_DOORS__SETTER__PORT": "1080", "FINGER_HOTS": "x", "HOME": "/root", "FINGER_HOST__X": "y"}
    mistakes = override(values, environment)
    assert values == {"host": "127.0.0.1", "doors": {"setter": {"port": 1080}}}
    assert [mistake.partition(":")[0] for mistake in mistakes] == ["FINGER_HOTS", "FINGER_HOST__X"]
