"""The observer: events, one log line per query, and the counters behind both.

The composition root makes one `Observer` and passes it to every part that reports; there is no global. Events are rare
and go through structlog (`logs`). Queries are frequent and take a faster path: `query_lines` formats each, and the
lines wait in memory until the end of the accept burst. Both go to the same stream, one record per line, with everything
that clients sent escaped. The numbers are in `metrics`.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable
from math import inf
from typing import TextIO

from fingertrio.observe import query_lines
from fingertrio.observe.logs import (
    PRIORITIES,
    LineSink,
    Sink,
    StdlibHandler,
    goes_to_journal,
    make_logger,
    peer_formatter,
)
from fingertrio.observe.metrics import Condition, Metrics
from fingertrio.observe.writer import LogWriter

# Seconds between two log lines about the same condition, so that a condition that flaps does not flood the log.
_LOG_AGAIN = 1.0


class Observer:
    """Logs and counts. Every method is synchronous and cheap, and never raises because of what a client sent.

    Args:
        stream: where lines go; None counts without logging.
        human: readable lines instead of JSON; by default whether the stream is a terminal.
        level: least severe event that is logged: "debug", "info", "warning", "error". Queries are logged at "info".
        anonymize: cut the addresses of peers in every line: IPv4 to /24, IPv6 to /48.
        clock: seconds that never go back.
        in_thread: write lines in a thread, so that a log that is not read blocks nothing; `close` ends it.

    Attributes:
        metrics: the numbers and conditions.
        human: whether lines are for people.
        colors: whether lines may have colours.
    """

    def __init__(
        self,
        stream: TextIO | None = None,
        *,
        human: bool | None = None,
        level: str = "info",
        anonymize: bool = False,
        clock: Callable[[], float] = time.monotonic,
        in_thread: bool = False,
    ) -> None:
        self.metrics = Metrics()
        terminal = stream is not None and stream.isatty()
        self.human = terminal if human is None else human
        self._sink: LineSink | None = None
        if stream is not None:
            self._sink = self._make_writer(stream) if in_thread else Sink(stream, self._count_lost)
        self._lines: list[str] = []
        self._second = -1
        self._stamp = ""
        self._show_peer = peer_formatter(anonymize=anonymize)
        self._format: query_lines.QueryFormatter = query_lines.format_text if self.human else query_lines.format_json
        self._format_stamp = query_lines.text_stamp if self.human else query_lines.json_stamp
        self.colors = terminal
        self._prioritized = stream is not None and goes_to_journal(stream)
        self._clock = clock
        self._last_logged: dict[str, float] = {}  # by condition
        self.set_level(level)

    def set_level(self, level: str) -> None:
        """Log from this level on: "debug", "info", "warning", "error"."""
        self._level = logging.getLevelNamesMapping()[level.upper()]
        self._log_queries = self._sink is not None and self._level <= logging.INFO
        self._log = (
            None
            if self._sink is None
            else make_logger(
                self._sink,
                human=self.human,
                colors=self.colors,
                level=self._level,
                show_peer=self._show_peer,
                prioritized=self._prioritized,
            )
        )

    @property
    def logs_debug(self) -> bool:
        """Whether `debug` writes anything; ask first where making the fields costs something."""
        return self._log is not None and self._level <= logging.DEBUG

    def debug(self, event: str, **fields: object) -> None:
        """A detail for who looks for a fault."""
        if self._log is not None and self._level <= logging.DEBUG:
            self.flush()
            self._log.debug(event, **fields)

    def info(self, event: str, **fields: object) -> None:
        """Something worth knowing happened."""
        if self._log is not None:
            self.flush()
            self._log.info(event, **fields)

    def warning(self, event: str, *, exc: BaseException | None = None, **fields: object) -> None:
        """Something went wrong and was handled. `exc` is logged with its causes, without a traceback."""
        self.metrics.events["warning"] += 1
        if self._log is not None:
            self.flush()
            if exc is not None:
                fields["cause"] = error_text(exc)
            self._log.warning(event, **fields)

    def error(self, event: str, *, exc: BaseException | None = None, **fields: object) -> None:
        """Something failed unexpectedly; `exc` is logged with its traceback."""
        self.metrics.events["error"] += 1
        if self._log is not None:
            self.flush()
            self._log.error(event, exc_info=exc, **fields)

    def query(self, door: str, peer: str, asked: str, outcome: str, seconds: float, size: int) -> None:
        """One query was answered. The observer escapes `peer` and `asked`; the line waits for `flush`.

        Args:
            door: "finger", "setter", "http", "xmlrpc", "irc".
            peer: the address as text.
            asked: the query as it was received.
            outcome: "ok", "list", "unknown", "denied", "bad", "error", "forwarded".
            seconds: from the first byte seen to the answer handed to the kernel.
            size: bytes of the answer.
        """
        metrics = self.metrics
        metrics.queries[door, outcome] += 1
        metrics.bytes_sent[door] += size
        metrics.query_seconds[door].observe(seconds)
        if not self._log_queries:
            return
        if (now := int(time.time())) != self._second:
            self._new_second(now)
        self._lines.append(self._format(self._stamp, door, self._show_peer(peer), asked, outcome, seconds, size))

    def audit(self, event: str, **fields: object) -> None:
        """A status was written. As `info`, but the line waits for `flush`, with that of the query it belongs to."""
        if self.human:
            self.info(event, **fields)
        elif self._log_queries:
            self._new_second(int(time.time()))
            self._lines.append(query_lines.format_event(self._stamp, event, fields))

    def _new_second(self, now: int) -> None:
        if now != self._second:  # formatting the time costs more than the rest of a line
            self._second, self._stamp = now, self._format_stamp(now)

    def flush(self) -> None:
        """Write the waiting query lines. Never fails."""
        if self._lines and self._sink is not None:
            lines, self._lines = self._lines, []  # one step: a backend's thread may log at the same time
            self._sink.write("".join(lines))

    def connected(self, door: str, change: int) -> None:
        """A connection was opened (1) or closed (-1)."""
        self.metrics.connected(door, change)

    def refused(self, door: str, reason: str) -> None:
        """A limit refused or ended something."""
        self.metrics.refused(door, reason)

    def backend_call(self, operation: str, outcome: str, seconds: float) -> None:
        """A backend call ended as "ok", "error", "deadline" or "cancelled" after `seconds`."""
        self.metrics.backend_call(operation, outcome, seconds)

    def loop_late(self, seconds: float) -> None:
        """The event loop woke `seconds` late."""
        self.metrics.loop_late(seconds)

    def degraded(
        self,
        what: str,
        reason: str,
        *,
        exc: BaseException | None = None,
        essential: bool = True,
        unforeseen: bool = False,
        quiet: bool = False,
    ) -> None:
        """A condition began or continues; it lasts until `recovered`, and `/readyz` lists it meanwhile.

        Call it whenever the condition is noticed. A log line is written when it begins and when its reason changes.

        Args:
            what: "backend", "change feed", ...: a small set of our own words.
            reason: text for the operator.
            exc: the exception by which it was noticed.
            essential: whether queries fail because of it.
            unforeseen: `exc` is a bug, and is logged with its traceback.
            quiet: write no lines; the caller logs the beginning and the end itself.
        """
        condition = self._condition(what, reason, essential=essential)
        now = self._clock()
        is_known = condition.logged and condition.reason == reason
        if is_known or now - self._last_logged.get(what, -inf) < _LOG_AGAIN:
            return
        condition.reason = reason
        if quiet:
            return
        condition.logged = True
        self._last_logged[what] = now
        log = self.error if unforeseen else self.warning
        log("degraded", what=what, reason=reason, exc=exc)

    def recovered(self, what: str) -> None:
        """The condition `what`, if there was one, is over."""
        condition = self.metrics.conditions.pop(what, None)
        if condition is not None and condition.logged:
            seconds = round(self._clock() - condition.since, 2)
            self.info("recovered", what=what, seconds=seconds, times=condition.times)

    def restarted(self, task: str) -> None:
        """A supervised task failed and starts again after a pause. The supervisor has logged it."""
        self.metrics.restarts[task] += 1
        self._condition(task, "failed; restarting", essential=True).logged = True

    def _condition(self, what: str, reason: str, *, essential: bool) -> Condition:
        conditions = self.metrics.conditions
        if (condition := conditions.get(what)) is None:
            condition = conditions[what] = Condition(reason, essential, self._clock())
        condition.times += 1
        return condition

    def close(self) -> None:
        """Write the lines that wait, within a bounded time."""
        self.flush()
        if self._sink is not None:
            self._sink.close()

    def write_text(self, text: str) -> None:
        """Write text for people as it is, between two records."""
        self.flush()
        if self._sink is not None:
            self._sink.write(f"{text}\n")
            self._sink.flush()

    def stray_output(self, line: str) -> None:
        """A line was written to `sys.stderr` by Python or a library, not by the observer."""
        self.error("stray_output", line=line)

    def _make_writer(self, stream: TextIO) -> LogWriter:
        return LogWriter(stream.fileno(), self._count_lost, self._lost_line, encoding=stream.encoding)

    def _count_lost(self, lines: int) -> None:
        self.metrics.lines_lost += lines

    def _lost_line(self, lines: int) -> str:
        now = int(time.time())
        prefix = PRIORITIES["warning"] if self._prioritized else ""
        if self.human:
            return f"{prefix}{query_lines.text_stamp(now)} [warning  ] log_lines_lost           lines={lines}\n"
        fields = {"lines": lines, "level": "warning", "timestamp": query_lines.json_stamp(now)}
        return f"{prefix}{json.dumps({'event': 'log_lines_lost', **fields})}\n"

    def adopt_stdlib_logging(self) -> None:
        """Log what libraries and backends report through `logging`: warnings and above; our own from info on."""
        root = logging.getLogger()
        root.handlers[:] = [StdlibHandler(self._log_record)]
        root.setLevel(logging.WARNING)
        logging.getLogger("fingertrio").setLevel(self._level)

    def _log_record(self, level: int, message: str, logger: str, exc: BaseException | None) -> None:
        if level >= logging.ERROR:
            self.error(message, exc=exc, logger=logger)
        elif level >= logging.WARNING:
            self.warning(message, exc=exc, logger=logger)
        else:
            self.info(message, logger=logger)


def stderr_observer(*, human: bool | None = None, level: str = "info", anonymize: bool = False) -> Observer:
    """The observer of a running program."""
    try:
        has_descriptor = sys.stderr.fileno() >= 0
    except (AttributeError, OSError, ValueError):  # closed when the program started, or replaced by a test
        has_descriptor = False
    observer = Observer(sys.stderr, human=human, level=level, anonymize=anonymize, in_thread=has_descriptor)
    observer.adopt_stdlib_logging()
    return observer


def error_text(exc: BaseException) -> str:
    """An exception and its causes in one line: `BackendError: gone, caused by TimeoutError: ...`.

    Exceptions that only wrap another (a group, Trio's "all attempts failed") are omitted.
    """
    parts: list[str] = []
    link: BaseException | None = exc
    while link is not None and len(parts) < 5:
        cause = link.exceptions[0] if isinstance(link, BaseExceptionGroup) else _cause(link)
        wraps = isinstance(link, BaseExceptionGroup) or (
            type(link) is OSError and link.errno is None and isinstance(cause, BaseExceptionGroup)
        )
        if not wraps:
            parts.append(f"{type(link).__name__}: {link}" if str(link) else type(link).__name__)
        link = cause
    return ", caused by ".join(parts)


def _cause(exc: BaseException) -> BaseException | None:
    return exc.__cause__ or (None if exc.__suppress_context__ else exc.__context__)
