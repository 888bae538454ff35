"""When `accept` fails: which errors concern one connection, which the process, and how long the loop pauses."""

from __future__ import annotations

import errno
import os
from math import inf
from weakref import WeakKeyDictionary

import trio

from fingertrio.net.reports import Reports

# A lack of descriptors or memory: existing connections will end and free some.
RESOURCES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

# Errors of one connection that ended before it was accepted (accept(2)). The next call can succeed.
ABORTED = frozenset(
    {
        errno.ECONNABORTED,
        errno.ECONNRESET,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.EINTR,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.ENONET,
        errno.ENOPROTOOPT,
        errno.EPERM,
        errno.EPROTO,
    }
)

_PAUSE = 0.1  # seconds before `accept` is tried again; after a lack of descriptors, recovery must take less than 1 s
_FAILS_AFTER = 10.0  # seconds of failing `accept` after which the door fails

# When a failing `accept` was last logged, for each log. A lack of descriptors concerns the process, so all doors that
# share a log write one line a second together.
_last_warning: WeakKeyDictionary[Reports, float] = WeakKeyDictionary()


async def pause(error: OSError, door: str, reports: Reports, *, failed_for: float) -> None:
    """Log a failing `accept`, at most once a second, and wait. Raises `error` if it fails for too long.

    Args:
        error: its reason.
        door: which accepts.
        reports: receives it.
        failed_for: seconds; negative after a lack of descriptors or memory. Other errors may never end.
    """
    if failed_for >= _FAILS_AFTER:
        raise error
    now = trio.current_time()
    if now - _last_warning.get(reports, -inf) >= 1.0:
        _last_warning[reports] = now
        reports.warning("cannot_accept", door=door, reason=os.strerror(error.errno or 0))
    reports.refused(door, "resources" if error.errno in RESOURCES else "accept")
    await trio.sleep(_PAUSE)
