"""Standard output and standard error of all commands: what the terminal cannot show, and what cannot be written.

- A character that the terminal's encoding lacks is shown as "?" on standard output, escaped on standard error. JSON is
  not affected: it is written as UTF-8 bytes, whatever the terminal.
- A closed pipe (`| head -1`) is no failure: the rest of the output is discarded and the exit status stays the
  command's own.
- Any other failure to write standard output (a full disk) ends the program with one line and status `FAILED`. Standard
  error has nowhere to report that, so its failures are ignored.

`main` installs this around every command, so no command checks its output.
"""

from __future__ import annotations

import errno
import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

FAILED = 74  # EX_IOERR of sysexits(3); no command uses it for anything else


class _Descriptor(io.FileIO):
    """A file descriptor whose write failures are handled as described above."""

    def __init__(self, descriptor: int, *, is_error: bool) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self._is_error = is_error
        self.has_failed = False

    def write(self, data: Any, /) -> int:
        """Write to the descriptor; after a failure, discard."""
        if not self.has_failed:
            try:
                return super().write(data)
            except BlockingIOError:
                raise
            except OSError as error:
                self.has_failed = True
                if error.errno != errno.EPIPE and not self._is_error:
                    click.echo(f"fingertrio: standard output: {error.strerror}", err=True)
                    raise SystemExit(FAILED) from None
        return memoryview(data).nbytes


@contextmanager
def guarded() -> Iterator[None]:
    """Within, `sys.stdout` and `sys.stderr` behave as described above; at the end, all output has been written."""
    before = sys.stdout, sys.stderr
    sys.stdout = _guard(sys.stdout, errors="replace", is_error=False)
    sys.stderr = _guard(sys.stderr, errors="backslashreplace", is_error=True)
    try:
        yield
    finally:
        try:
            if sys.stdout is not None:
                sys.stdout.flush()
        finally:
            sys.stdout, sys.stderr = before


def _guard(stream: Any, *, errors: str, is_error: bool) -> Any:
    """`stream`, guarded. A stream that was closed when the program started is None and stays so."""
    try:
        raw = _Descriptor(stream.fileno(), is_error=is_error)
    except (AttributeError, OSError, ValueError):
        return stream
    line_buffering = is_error or stream.isatty()
    return io.TextIOWrapper(
        io.BufferedWriter(raw), encoding=stream.encoding, errors=errors, line_buffering=line_buffering
    )


def write_utf8(text: str) -> None:
    """Write to standard output in UTF-8, whatever the terminal's encoding: for JSON (RFC 8259 section 8.1)."""
    click.echo(text.encode(), nl=False)


def is_discarded() -> bool:
    """Whether nothing can be written to standard output any more, so that there is no point in making output."""
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    return isinstance(raw, _Descriptor) and raw.has_failed
