"""Output that is not a record: warnings, exceptions in finalizers, whatever a library prints to standard error.

Python writes these to `sys.stderr`, where they would block the event loop when the log is not read, and break up the
lines of JSON.
"""

from __future__ import annotations

import io
from collections.abc import Callable

_LIMIT = 4096  # characters of a line; the rest becomes another record


class StrayOutput(io.TextIOBase):
    """Replaces `sys.stderr`, and reports each line that is written to it."""

    def __init__(self, report: Callable[[str], None]) -> None:
        super().__init__()
        self._report = report
        self._rest = ""
        self._is_reporting = False

    def writable(self) -> bool:
        return True

    def write(self, text: str, /) -> int:
        """Report the lines that are complete. What reporting itself writes is dropped."""
        if not self._is_reporting:
            *lines, self._rest = (self._rest + text).split("\n")
            if len(self._rest) > _LIMIT:
                lines, self._rest = [*lines, self._rest], ""
            self._is_reporting = True
            try:
                for line in lines:
                    for start in range(0, len(line), _LIMIT):
                        self._report(line[start : start + _LIMIT])
            finally:
                self._is_reporting = False
        return len(text)
