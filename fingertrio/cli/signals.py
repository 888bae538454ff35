"""Signals before there is anybody to obey them: while Python imports, and while the program is put together.

Left to Python, SIGINT would show a traceback of whatever happened to be imported, and SIGHUP would end the program. A
SIGHUP says that the configuration is another one, and it may have been read already. So it is kept until the supervisor
stands, and obeyed then. SIGTERM ends the program, as it does every process that has nothing to lose yet.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

INTERRUPTED = 128 + signal.SIGINT  # what shells show for a program that SIGINT has ended


class EarlySignals:
    """SIGINT and SIGHUP until others take them over. To be used from the main thread."""

    def __init__(self) -> None:
        self._hangup_before: Any = None
        self._taken = False
        self._interrupts = False
        self._hung_up = False

    def take(self) -> None:
        """From now on SIGINT ends the program without a word, and SIGHUP is kept."""
        self._taken = True
        self._hangup_before = signal.signal(signal.SIGHUP, self._keep)
        # Ignored, it stays so: a shell that starts programs in the background wants them to live through its Ctrl-C.
        self._interrupts = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if self._interrupts:
            signal.signal(signal.SIGINT, _end)

    def give_back(self) -> None:
        """To commands that do not serve: signals are what they were, and one that was kept is delivered."""
        if not self._taken:
            return
        if self._interrupts:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGHUP, self._hangup_before)
        self.deliver()

    def deliver(self) -> None:
        """To whoever obeys SIGHUP now: the one that came before, if one did."""
        if self._hung_up:
            self._hung_up = False
            signal.raise_signal(signal.SIGHUP)

    @contextmanager
    def unwinding(self) -> Iterator[None]:
        """Within, SIGINT is a KeyboardInterrupt, for what has something to close; afterwards it does nothing more."""
        if self._interrupts:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            yield
        finally:
            if self._interrupts:
                signal.signal(signal.SIGINT, signal.SIG_IGN)  # the interpreter's own end would show a traceback

    def _keep(self, *_: object) -> None:
        self._hung_up = True


def _end(*_: object) -> NoReturn:
    # An exception might be raised where nobody can catch it, or be taken for an import that failed.
    os._exit(INTERRUPTED)
