"""The doors that come with the server, in the form that other packages give theirs."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from finger19_3 import FingerService
from finger20 import make_app
from house.doors import finger, open_door, setter
from house.web import serve_web

Start = Callable[..., Awaitable[object]]  # what nursery.start starts


@dataclass(frozen=True)
class Door:
    """What a door gets from the program."""

    service: FingerService
    host: str


@dataclass(frozen=True)
class Port:
    """The options of a door that needs nothing but a port."""

    port: int


def open_finger(options: Port, door: Door) -> Start:
    return open_door(finger, door.service, door.host, options.port)


def open_setter(options: Port, door: Door) -> Start:
    return open_door(setter, door.service, door.host, options.port)


def open_web(options: Port, door: Door) -> Start:
    return partial(serve_web, make_app(door.service), door.host, options.port)


BUILT_IN: dict[str, Any] = {"finger": open_finger, "setter": open_setter, "web": open_web}
