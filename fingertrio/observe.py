"""What the program says of itself: events and one line per query, and the numbers behind them.

One `Observer` is made at start and handed to whoever reports; nobody reaches for a global. Events are rare and go
through structlog: readable on a terminal, JSON lines elsewhere. Queries are frequent and take a path of their own: a
line is formatted by hand and waits in memory until the end of the accept burst, which keeps the express lane's cost of
logging near two microseconds. Both end up on the same stream, one record a line, every foreign byte escaped.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections import Counter, defaultdict
from typing import TextIO

import structlog

from fingertrio.wire.text import escape

_quote = json.encoder.encode_basestring_ascii


class Observer:
    """Logs and counts. Every method is synchronous, cheap and never raises for what a stranger sent.

    Args:
        stream: where lines go; None counts without logging.
        human: readable lines instead of JSON; by default whether the stream is a terminal.
        level: least severe event that is logged: "debug", "info", "warning", "error". Queries are logged at "info".
    """

    def __init__(self, stream: TextIO | None = None, *, human: bool | None = None, level: str = "info") -> None:
        self._stream = stream
        self.human = (stream is not None and stream.isatty()) if human is None else human
        self._level = logging.getLevelNamesMapping()[level.upper()]
        self._log_queries = stream is not None and self._level <= logging.INFO
        self._lines: list[str] = []
        self._second = -1
        self._stamp = ""
        self._log = self._make_logger() if stream is not None else None
        self.queries: Counter[tuple[str, str]] = Counter()  # (door, outcome)
        self.bytes_sent: Counter[str] = Counter()  # by door
        self.refusals: Counter[tuple[str, str]] = Counter()  # (door, reason)
        self.connections: Counter[str] = Counter()  # open now, by door
        self.backend_calls: Counter[tuple[str, str]] = Counter()  # (operation, outcome)
        self.backend_seconds: defaultdict[str, float] = defaultdict(float)  # by operation
        self.restarts: Counter[str] = Counter()  # by task
        self.cache_hits = 0

    def _make_logger(self) -> structlog.typing.FilteringBoundLogger:
        renderer: structlog.typing.Processor = (
            structlog.dev.ConsoleRenderer(colors=self._stream is not None and self._stream.isatty(), pad_event_to=24)
            if self.human
            else structlog.processors.JSONRenderer()
        )
        processors: list[structlog.typing.Processor] = [
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper("%H:%M:%S" if self.human else "iso", utc=not self.human),
            _escape_strings,
            *([] if self.human else [structlog.processors.format_exc_info]),
            renderer,
        ]
        return structlog.wrap_logger(  # type: ignore[no-any-return]  # structlog types it Any
            structlog.PrintLogger(self._stream),
            processors=processors,
            wrapper_class=structlog.make_filtering_bound_logger(self._level),
        )

    def info(self, event: str, **fields: object) -> None:
        """Something worth knowing happened."""
        if self._log is not None:
            self.flush()
            self._log.info(event, **fields)

    def warning(self, event: str, *, exc: BaseException | None = None, **fields: object) -> None:
        """Something is not as it should be, and handled. `exc` is named with its cause, without a traceback."""
        if self._log is not None:
            self.flush()
            if exc is not None:
                fields["cause"] = describe(exc)
            self._log.warning(event, **fields)

    def error(self, event: str, *, exc: BaseException | None = None, **fields: object) -> None:
        """Something failed that should not have; `exc` with its whole traceback."""
        if self._log is not None:
            self.flush()
            self._log.error(event, exc_info=exc, **fields)

    def query(self, door: str, peer: str, asked: str, outcome: str, seconds: float, size: int) -> None:
        """One question was answered. `asked` is escaped by us; the line waits for `flush`.

        Args:
            door: "finger", "setter", "http", "irc".
            peer: the address as text.
            asked: what was asked, as it came.
            outcome: "ok", "unknown", "denied", "error", "bad", "list".
            seconds: from the first byte seen to the answer handed to the kernel.
            size: bytes of the answer.
        """
        self.queries[door, outcome] += 1
        self.bytes_sent[door] += size
        if not self._log_queries:
            return
        asked = _quote(asked) if asked.isascii() and asked.isprintable() else _quote(escape(asked))
        now = int(time.time())
        if now != self._second:  # formatting a time costs more than all the rest of the line
            self._second = now
            self._stamp = time.strftime("%H:%M:%S" if self.human else "%Y-%m-%dT%H:%M:%SZ", self._clock(now))
        if self.human:
            line = f"{self._stamp} {door:<7} {peer} {asked} {outcome} {seconds * 1000:.2f} ms {size} B\n"
        else:
            line = (
                f'{{"event": "query", "door": "{door}", "peer": "{peer}", "asked": {asked}, "outcome": "{outcome}", '
                f'"ms": {seconds * 1000:.3f}, "bytes": {size}, "level": "info", "timestamp": "{self._stamp}"}}\n'
            )
        self._lines.append(line)

    def _clock(self, now: int) -> time.struct_time:
        return time.localtime(now) if self.human else time.gmtime(now)

    def flush(self) -> None:
        """Write the queries that wait. A log that cannot be written (closed pipe, full disk) stops nobody."""
        if self._lines and self._stream is not None:
            lines = "".join(self._lines)
            self._lines.clear()
            try:
                self._stream.write(lines)
                self._stream.flush()
            except OSError:
                self.refusals["log", "unwritable"] += 1

    def connected(self, door: str, change: int) -> None:
        """One connection more (1) or less (-1) is open."""
        self.connections[door] += change

    def refused(self, door: str, reason: str) -> None:
        """A limit acted."""
        self.refusals[door, reason] += 1

    def restarted(self, task: str) -> None:
        """A supervised task failed and is started again."""
        self.restarts[task] += 1

    def backend_call(self, operation: str, outcome: str, seconds: float) -> None:
        """The service asked the backend: "ok", "error", "deadline" or "cancelled", in `seconds`."""
        self.backend_calls[operation, outcome] += 1
        self.backend_seconds[operation] += seconds

    def adopt_stdlib_logging(self) -> None:
        """Take what libraries and backends say through `logging` (from warnings on; ours from info on)."""
        handler = _Adopted(self)
        root = logging.getLogger()
        root.handlers[:] = [handler]
        root.setLevel(logging.WARNING)
        logging.getLogger("fingertrio").setLevel(self._level)


class _Adopted(logging.Handler):
    def __init__(self, observer: Observer) -> None:
        super().__init__()
        self._observer = observer

    def emit(self, record: logging.LogRecord) -> None:
        exc = record.exc_info[1] if record.exc_info else None
        if record.levelno >= logging.ERROR:
            self._observer.error(record.getMessage(), exc=exc, logger=record.name)
        elif record.levelno >= logging.WARNING:
            self._observer.warning(record.getMessage(), exc=exc, logger=record.name)
        else:
            self._observer.info(record.getMessage(), logger=record.name)


def stderr_observer(*, human: bool | None = None, level: str = "info") -> Observer:
    """The observer of a running program."""
    observer = Observer(sys.stderr, human=human, level=level)
    observer.adopt_stdlib_logging()
    return observer


def describe(exc: BaseException) -> str:
    """An exception and the chain of its causes in one line: `BackendError: gone: ConnectionRefusedError: ...`."""
    parts: list[str] = []
    link: BaseException | None = exc
    while link is not None and len(parts) < 5:
        parts.append(f"{type(link).__name__}: {link}" if str(link) else type(link).__name__)
        if isinstance(link, BaseExceptionGroup):
            link = link.exceptions[0]
        else:
            link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    return ", caused by ".join(parts)


def _escape_strings(_logger: object, _method: str, fields: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Nothing that steers a terminal or forges a line goes out, whoever put it in."""
    for key, value in fields.items():
        if isinstance(value, str) and not value.isprintable():
            fields[key] = escape(value, 2000)
    return fields
