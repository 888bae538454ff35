"""Turns an event into a log line and writes it. `observer` is what the rest of the program calls.

Readable on a terminal, JSON elsewhere, one record per line. Characters that could control a terminal or forge a line
are escaped, in fields and in exception messages. Nothing here raises: a program that cannot write its log can still
answer.
"""

from __future__ import annotations

import json
import logging
import os
import textwrap
import traceback
from collections.abc import Callable
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any, Protocol, TextIO

from fingertrio.observe.lean import without
from fingertrio.wire.text import clean, escape

# structlog would import rich, for tracebacks that are replaced below: 5 MB and a tenth of the time of a start.
with without("rich"):
    import structlog

# Bits of an address that are kept when addresses are cut: enough to tell one provider's region from another.
_IPV4_KEPT, _IPV6_KEPT = 24, 48

# Peers whose text is cached; a peer that is not costs two microseconds.
_PEERS = 4096

# Prefixes that the journal reads as warning and as error; a line without one is "info".
PRIORITIES = {"warning": "<4>", "error": "<3>"}

VALUE_LIMIT = 2000  # characters of a field that had to be escaped

quote = json.encoder.encode_basestring_ascii


class LineSink(Protocol):
    """Where finished lines go. Never raises."""

    def write(self, lines: str) -> object: ...
    def flush(self) -> None: ...
    def close(self) -> None: ...


class Sink:
    """A stream that never fails: `lost` gets the number of lines that could not be written (closed pipe, full disk)."""

    def __init__(self, stream: TextIO, lost: Callable[[int], None]) -> None:
        self._stream = stream
        self._lost = lost

    def write(self, lines: str) -> int:
        """Write whole lines immediately."""
        try:
            self._stream.write(lines)
            self._stream.flush()
        except (OSError, ValueError):  # ValueError: the stream was closed on our side
            self._lost(lines.count("\n"))
        return len(lines)

    def flush(self) -> None:
        """Does nothing: `write` has written everything."""

    def close(self) -> None:
        """Does nothing: the stream stays open."""


class LineLogger:
    """What structlog calls with a finished line, under the name of the level."""

    def __init__(self, sink: LineSink) -> None:
        self._sink = sink

    def info(self, line: str) -> None:
        """Write one record. It may wait a moment for others: there can be thousands of sets a second."""
        self._sink.write(f"{line}\n")

    def warning(self, line: str) -> None:
        """Write one record at once."""
        self.info(line)
        self._sink.flush()

    debug = msg = info
    error = warning


def goes_to_journal(stream: TextIO) -> bool:
    """Whether `stream` is the journal connection that JOURNAL_STREAM names (systemd.exec(5))."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def make_logger(
    sink: LineSink, *, human: bool, colors: bool, level: int, show_peer: Callable[[str], str], prioritized: bool = False
) -> structlog.typing.FilteringBoundLogger:
    """The logger for events; queries take a faster path (`Observer.query`).

    `prioritized`: warnings and errors start with the prefix that the journal reads (sd-daemon(3)), so that
    `journalctl -p warning` finds them.
    """

    def escape_fields(_logger: object, _method: str, fields: structlog.typing.EventDict) -> structlog.typing.EventDict:
        if isinstance(peer := fields.get("peer"), str):
            fields["peer"] = show_peer(peer)
        for key, value in fields.items():
            if isinstance(value, str) and not value.isprintable():
                fields[key] = escape(value, VALUE_LIMIT)
        return fields

    processors: list[structlog.typing.Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper("%H:%M:%S" if human else "iso", utc=not human),
        escape_fields,
    ]
    if human:
        processors.append(
            structlog.dev.ConsoleRenderer(colors=colors, pad_event_to=24, exception_formatter=_write_traceback)
        )
    else:
        processors += [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    if prioritized:
        processors.append(_with_priority)
    logger: structlog.typing.FilteringBoundLogger = structlog.wrap_logger(
        LineLogger(sink), processors=processors, wrapper_class=structlog.make_filtering_bound_logger(level)
    )
    return logger


def _with_priority(_logger: object, method: str, line: Any) -> Any:
    return f"{PRIORITIES.get(method, '')}{line}"


def _write_traceback(stream: TextIO, exc_info: structlog.typing.ExcInfo) -> None:
    """Replaces structlog's own, which prints every local variable if `rich` is installed.

    Indented, so that a line in an exception's message does not look like a record.
    """
    lines = clean("".join(traceback.format_exception(exc_info[1]))).rstrip()
    stream.write("\n" + textwrap.indent(lines, "    ", lambda _line: True))


def peer_formatter(*, anonymize: bool) -> Callable[[str], str]:
    """A function that makes a peer's text safe for a log line: printable ASCII, and cut if `anonymize`."""

    def show(peer: str) -> str:
        if anonymize:
            peer = cut_address(peer)
        return peer if peer.isascii() and peer.isprintable() else escape(peer)

    return lru_cache(maxsize=_PEERS)(show)


def cut_address(peer: str) -> str:
    """`peer` without the part of the address that identifies a subscriber: 192.0.2.0/24, 2001:db8:1::/48.

    In nick!user@host the host is cut; a host name is removed, since many contain the address. Text without an address
    ("unix") is returned unchanged.
    """
    before, at, host = peer.rpartition("@")
    try:
        address: IPv4Address | IPv6Address = ip_address(host.partition("%")[0])
    except ValueError:
        return f"{before}@*" if at else peer
    if isinstance(address, IPv6Address):
        address = address.ipv4_mapped or address  # how a dual-stack socket shows IPv4
    kept = _IPV4_KEPT if address.version == 4 else _IPV6_KEPT
    return f"{before}{at}{ip_network((address, kept), strict=False)}"


class StdlibHandler(logging.Handler):
    """Passes records of the standard `logging` to `log`: level, message, logger and exception."""

    def __init__(self, log: Callable[[int, str, str, BaseException | None], None]) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = record.getMessage()
        except (
            TypeError,
            ValueError,
            KeyError,
        ):  # the arguments do not match the placeholders; logging tolerates that too
            message = str(record.msg)
        self._log(record.levelno, message, record.name, record.exc_info[1] if record.exc_info else None)
