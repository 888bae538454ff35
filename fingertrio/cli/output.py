"""Standard output and standard error of all commands: what the terminal cannot show, and what cannot be written.

- A character that the terminal's encoding lacks is shown as "?" on standard output, escaped on standard error. JSON is
  not affected: it is written as UTF-8 bytes, whatever the terminal. Click treats ASCII as a missing setting and writes
  UTF-8 then.
- A closed pipe (`| head -1`) is no failure: the rest of the output is discarded and the exit status stays the
  command's own.
- Any other failure to write standard output (a full disk) ends the program with one line and status `FAILED`. Standard
  error has nowhere to report its own failures, so they are ignored.

- A standard stream that was closed when the program started (`2>&-`) is /dev/null. Left closed, its number would go to
  the next socket or file, and messages would be written there.

`main` installs this around every command, so no command checks its output.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

FAILED = 74  # EX_IOERR of sysexits(3); no command uses it for anything else


class _Descriptor(io.FileIO):
    """A file descriptor that remembers its first write failure and discards everything from then on."""

    failure: OSError | None = None

    def write(self, data: Any, /) -> int:
        """Write to the descriptor, or discard."""
        if self.failure is None:
            try:
                return super().write(data)
            except OSError as error:
                self.failure = error
        return memoryview(data).nbytes


@contextmanager
def guarded() -> Iterator[None]:
    """Within, `sys.stdout` and `sys.stderr` behave as described above; at the end, all output has been written."""
    _open_missing()
    before = sys.stdout, sys.stderr
    sys.stdout = _guard(sys.stdout, errors="replace", line_buffering=False)
    sys.stderr = _guard(sys.stderr, errors="backslashreplace", line_buffering=True)
    try:
        yield
    finally:
        sys.stdout.flush()
        failure = _failure()
        if failure is not None and failure.errno != errno.EPIPE:
            click.echo(f"fingertrio: standard output: {failure.strerror}", err=True)  # in the form of `errors`
            sys.exit(FAILED)
        sys.stdout, sys.stderr = before


def _open_missing() -> None:
    for descriptor, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number, which is this one
            setattr(sys, name, os.fdopen(descriptor, mode, encoding="utf-8", closefd=False))


def _guard(stream: Any, *, errors: str, line_buffering: bool) -> Any:
    """`stream`, guarded. A stream without a descriptor, as tests make it, is returned as it is."""
    try:
        raw = _Descriptor(stream.fileno(), "w", closefd=False)
    except (OSError, ValueError):
        return stream
    line_buffering = line_buffering or stream.isatty()
    return io.TextIOWrapper(
        io.BufferedWriter(raw), encoding=stream.encoding, errors=errors, line_buffering=line_buffering
    )


def _failure() -> OSError | None:
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    return raw.failure if isinstance(raw, _Descriptor) else None


def write_utf8(text: str) -> None:
    """Write to standard output in UTF-8, whatever the terminal's encoding: for JSON (RFC 8259 section 8.1)."""
    click.echo(text.encode(), nl=False)


def is_discarded() -> bool:
    """Whether nothing can be written to standard output any more, so that there is no point in making output."""
    return _failure() is not None
