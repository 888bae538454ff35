"""One status, every door: a finger server for the network of today, on Trio, under one nursery.

These are the public names. Whoever writes a backend needs no others, besides `fingertrio.testing`.
"""

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
