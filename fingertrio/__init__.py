"""A finger and status server on Trio: finger, web, XML-RPC and IRC over one pluggable backend.

These are the public names. The author of a backend needs no others, besides `fingertrio.testing`. Each is imported on
first use: the program starts here, and must handle signals before it imports anything (`cli.signals`).
"""

from importlib import import_module

TYPE_CHECKING = False  # without importing `typing`, for the same reason
if TYPE_CHECKING:
    from fingertrio.backend import (
        AnswersAtOnce,
        Backend,
        BackendError,
        Change,
        EmitsChanges,
        KeepsHistory,
        ListsRecent,
        ListsUsers,
        Recency,
        SetsDetails,
        SetsStatus,
        TellsStaleness,
        UserInfo,
    )
    from fingertrio.service import FingerService

__version__ = "0.1.0"
version = __version__

__all__ = [
    "AnswersAtOnce",
    "Backend",
    "BackendError",
    "Change",
    "EmitsChanges",
    "FingerService",
    "KeepsHistory",
    "ListsRecent",
    "ListsUsers",
    "Recency",
    "SetsDetails",
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
