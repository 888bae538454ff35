"""Handles signals before the supervisor does: while Python imports and the program starts.

By default SIGINT would print a traceback of an import, and SIGHUP would end the program. SIGHUP means that the
configuration has changed, possibly after it was read: it is kept until the supervisor runs, and handled then. SIGTERM
ends the program, which has nothing to lose yet.

A parent may have blocked signals. Once the handlers are installed all are unblocked; one that was sent meanwhile
arrives then. So a parent that blocks SIGHUP (`env --block-signal=HUP`) closes the gap in which Python itself starts. A
parent may also have ignored SIGCHLD; then the exit status of a child would be lost.

Imports as little as possible, because that gap ends when `take` is called.
"""

from __future__ import annotations

import os
import signal

TYPE_CHECKING = False  # `typing` takes longer to import than everything else here together
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any, NoReturn

INTERRUPTED = 128 + signal.SIGINT  # the status that shells report for a program ended by SIGINT


class EarlySignals:
    """Handles SIGINT and SIGHUP until the supervisor does. For the main thread only."""

    def __init__(self) -> None:
        self._hangup_before: Any = None
        self._taken = False
        self._interrupts = False
        self._hung_up = False

    def take(self) -> None:
        """From now on SIGINT ends the program without a message, SIGHUP is kept, and no signal is blocked."""
        self._taken = True
        self._hangup_before = signal.signal(signal.SIGHUP, self._keep)
        # If it is ignored, it stays ignored: shells start background programs so, to survive Ctrl-C.
        self._interrupts = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if self._interrupts:
            signal.signal(signal.SIGINT, _end)
        if signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())

    def give_back(self) -> None:
        """For commands that do not serve: restore the previous handlers and deliver a kept signal."""
        if not self._taken:
            return
        if self._interrupts:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGHUP, self._hangup_before)
        self.deliver()

    def deliver(self) -> None:
        """Send a kept SIGHUP to its present handler."""
        if self._hung_up:
            self._hung_up = False
            signal.raise_signal(signal.SIGHUP)

    def unwinding(self) -> _Unwinding:
        """Within, SIGINT raises KeyboardInterrupt, so that everything is closed; afterwards it is ignored."""
        return _Unwinding(self._interrupts)

    def ended(self) -> _Ended:
        """After it, SIGINT ends the program without a traceback, although nothing catches exceptions any more."""
        return _Ended(self._interrupts)

    def _keep(self, *_: object) -> None:
        self._hung_up = True


class _Unwinding:
    def __init__(self, interrupts: bool) -> None:
        self._interrupts = interrupts

    def __enter__(self) -> None:
        if self._interrupts:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if self._interrupts:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # during finalization it would print a traceback


class _Ended:
    def __init__(self, interrupts: bool) -> None:
        self._interrupts = interrupts

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        if self._interrupts and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, _end)


def _end(*_: object) -> NoReturn:
    # An exception could be raised where nothing catches it, or look like a failed import.
    os._exit(INTERRUPTED)
