"""How an event becomes a line of the log, and where the line goes. `observe` is who reports to; this is the machinery.

Readable on a terminal, JSON elsewhere, one record a line. No foreign byte gets through that could steer a terminal or
forge a line, whether it stands in a field or in an exception's message; and nothing here raises, because a program that
cannot write its log can still answer.
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
from typing import Any, TextIO

import structlog

from fingertrio.wire.text import clean, escape

# Bits of an address that stay where addresses are cut: enough to tell one provider's region from another.
_IPV4_KEPT, _IPV6_KEPT = 24, 48

# Peers whose text is remembered; past this many the oldest are worked out again, at two microseconds each.
_PEERS = 4096

# What the journal takes for a warning and for an error; all else is "info" to it.
_PRIORITIES = {"warning": "<4>", "error": "<3>"}

_VALUE_LIMIT = 2000  # characters of a field that had to be escaped

quote = json.encoder.encode_basestring_ascii


class Sink:
    """A stream that never fails: what it does not take (a closed pipe, a full disk) is reported as so many lines."""

    def __init__(self, stream: TextIO, lost: Callable[[int], None]) -> None:
        self._stream = stream
        self._lost = lost

    def write(self, lines: str) -> int:
        """Write whole lines, at once."""
        try:
            self._stream.write(lines)
            self._stream.flush()
        except (OSError, ValueError):  # ValueError: the stream was closed on our side
            self._lost(lines.count("\n"))
        return len(lines)

    def flush(self) -> None:
        """Nothing is ever held back."""


def goes_to_journal(stream: TextIO) -> bool:
    """Whether `stream` is the connection to systemd's journal that the service manager speaks of (systemd.exec(5))."""
    try:
        about = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{about.st_dev}:{about.st_ino}"


def make_logger(
    sink: Sink, *, human: bool, colors: bool, level: int, show_peer: Callable[[str], str], prioritized: bool = False
) -> structlog.typing.FilteringBoundLogger:
    """The logger for events; queries take a shorter way (`Observer.query`).

    `prioritized`: what is worse than usual says so at the beginning of its line, as the journal reads it
    (sd-daemon(3)), so that `journalctl -p warning` finds it.
    """

    def mend(_logger: object, _method: str, fields: structlog.typing.EventDict) -> structlog.typing.EventDict:
        if isinstance(peer := fields.get("peer"), str):
            fields["peer"] = show_peer(peer)
        for key, value in fields.items():
            if isinstance(value, str) and not value.isprintable():
                fields[key] = escape(value, _VALUE_LIMIT)
        return fields

    processors: list[structlog.typing.Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper("%H:%M:%S" if human else "iso", utc=not human),
        mend,
    ]
    if human:
        processors.append(
            structlog.dev.ConsoleRenderer(colors=colors, pad_event_to=24, exception_formatter=_write_traceback)
        )
    else:
        processors += [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    if prioritized:
        processors.append(_with_priority)
    return structlog.wrap_logger(  # type: ignore[no-any-return]  # structlog types it Any
        structlog.WriteLogger(sink),  # type: ignore[arg-type]  # of a stream it needs no more
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(level),
    )


def _with_priority(_logger: object, method: str, line: Any) -> Any:
    return f"{_PRIORITIES.get(method, '')}{line}"


def _write_traceback(stream: TextIO, exc_info: structlog.typing.ExcInfo) -> None:
    """Ours and not structlog's, which shows every local variable where `rich` happens to be installed.

    Indented, so that a line in an exception's message cannot pass for a record.
    """
    lines = clean("".join(traceback.format_exception(exc_info[1]))).rstrip()
    stream.write("\n" + textwrap.indent(lines, "    ", lambda _line: True))


def peer_writer(*, anonymize: bool) -> Callable[[str], str]:
    """A function from a peer as it is to one that may stand in a line: printable ASCII, and cut if so wished."""

    def show(peer: str) -> str:
        if anonymize:
            peer = cut_address(peer)
        return peer if peer.isascii() and peer.isprintable() else escape(peer)

    return lru_cache(maxsize=_PEERS)(show)


def cut_address(peer: str) -> str:
    """`peer` without what tells one subscriber from another: 192.0.2.0/24, 2001:db8:1::/48.

    Of nick!user@host the host is cut; if it is a name, nothing of it stays, since many spell out the address. What
    holds no address ("unix") stays as it is.
    """
    before, at, host = peer.rpartition("@")
    try:
        address: IPv4Address | IPv6Address = ip_address(host.partition("%")[0])
    except ValueError:
        return f"{before}@*" if at else peer
    if isinstance(address, IPv6Address):
        address = address.ipv4_mapped or address  # as a socket for both families shows IPv4
    kept = _IPV4_KEPT if address.version == 4 else _IPV6_KEPT
    return f"{before}{at}{ip_network((address, kept), strict=False)}"


class Adopted(logging.Handler):
    """Hands what comes through the standard `logging` on to `tell`: its level, message, logger and exception."""

    def __init__(self, tell: Callable[[int, str, str, BaseException | None], None]) -> None:
        super().__init__()
        self._tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = record.getMessage()
        except (TypeError, ValueError, KeyError):  # the placeholders do not fit; logging itself forgives that too
            message = str(record.msg)
        self._tell(record.levelno, message, record.name, record.exc_info[1] if record.exc_info else None)
