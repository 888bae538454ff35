"""One status, every door: a finger server for the network of today, on Trio, under one nursery.

These are the public names. Whoever writes a backend needs no others, besides `fingertrio.testing`. Each is imported
when it is first asked for: the program begins here, and looks after signals before it imports anything (`cli`).
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fingertrio.backend import (
        Backend,
        BackendError,
        Change,
        EmitsChanges,
        KeepsHistory,
        ListsUsers,
        SetsStatus,
        TellsStaleness,
        UserInfo,
    )
    from fingertrio.service import FingerService

__version__ = "0.1.0"
version = __version__

__all__ = [
    "Backend",
    "BackendError",
    "Change",
    "EmitsChanges",
    "FingerService",
    "KeepsHistory",
    "ListsUsers",
    "SetsStatus",
    "TellsStaleness",
    "UserInfo",
    "version",
]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module("fingertrio.service" if name == "FingerService" else "fingertrio.backend"), name)
    globals()[name] = found
    return found
