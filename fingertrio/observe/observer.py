"""What the program says of itself: events, one line per query, and the numbers behind them.

One `Observer` is made at start and handed to whoever reports; nobody reaches for a global. Events are rare and go
through structlog (`logs`). Queries are frequent and take a path of their own: a line is formatted by hand and waits in
memory until the end of the accept burst, which keeps the express lane's cost of logging near one microsecond. Both end
up on the same stream, one record a line, every foreign byte escaped. The numbers are in `metrics`.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from math import inf
from typing import TextIO

from fingertrio.observe.logs import Adopted, Sink, goes_to_journal, make_logger, peer_writer, quote
from fingertrio.observe.metrics import Condition, Metrics
from fingertrio.wire.text import escape

# Seconds between two lines about the same condition: what comes and goes all the time must not fill the log.
_TELL_AGAIN = 1.0


class Observer(Metrics):
    """Logs and counts. Every method is synchronous, cheap and never raises for what a stranger sent.

    Args:
        stream: where lines go; None counts without logging.
        human: readable lines instead of JSON; by default whether the stream is a terminal.
        level: least severe event that is logged: "debug", "info", "warning", "error". Queries are logged at "info".
        anonymize: cut the addresses of peers in every line: IPv4 to /24, IPv6 to /48.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        stream: TextIO | None = None,
        *,
        human: bool | None = None,
        level: str = "info",
        anonymize: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        terminal = stream is not None and stream.isatty()
        self.human = terminal if human is None else human
        self._sink = None if stream is None else Sink(stream, self._lose)
        self._lines: list[str] = []
        self._second = -1
        self._stamp = ""
        self._show_peer = peer_writer(anonymize=anonymize)
        self._colors = terminal
        self._prioritized = stream is not None and goes_to_journal(stream)
        self._clock = clock
        self._told: dict[str, float] = {}  # by condition, when the log heard of it last
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
                colors=self._colors,
                level=self._level,
                show_peer=self._show_peer,
                prioritized=self._prioritized,
            )
        )

    def info(self, event: str, **fields: object) -> None:
        """Something worth knowing happened."""
        if self._log is not None:
            self.flush()
            self._log.info(event, **fields)

    def warning(self, event: str, *, exc: BaseException | None = None, **fields: object) -> None:
        """Something is not as it should be, and handled. `exc` is named with its cause, without a traceback."""
        self.events["warning"] += 1
        if self._log is not None:
            self.flush()
            if exc is not None:
                fields["cause"] = describe(exc)
            self._log.warning(event, **fields)

    def error(self, event: str, *, exc: BaseException | None = None, **fields: object) -> None:
        """Something failed that should not have; `exc` with its whole traceback."""
        self.events["error"] += 1
        if self._log is not None:
            self.flush()
            self._log.error(event, exc_info=exc, **fields)

    def query(self, door: str, peer: str, asked: str, outcome: str, seconds: float, size: int) -> None:
        """One question was answered. `peer` and `asked` are escaped by us; the line waits for `flush`.

        Args:
            door: "finger", "setter", "http", "xmlrpc", "irc".
            peer: the address as text.
            asked: what was asked, as it came.
            outcome: "ok", "list", "unknown", "denied", "bad", "error", "forwarded".
            seconds: from the first byte seen to the answer handed to the kernel.
            size: bytes of the answer.
        """
        self.queries[door, outcome] += 1
        self.bytes_sent[door] += size
        self.query_seconds[door].observe(seconds)
        if not self._log_queries:
            return
        if not (asked.isascii() and asked.isprintable()) or "\\" in asked or '"' in asked:
            asked = escape(asked)
        peer = self._show_peer(peer)
        now = int(time.time())
        if now != self._second:  # formatting a time costs more than all the rest of the line
            self._second = now
            self._stamp = (
                time.strftime("%H:%M:%S", time.localtime(now))
                if self.human
                else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now))
            )
        if self.human:
            line = f'{self._stamp} {door:<7} {peer} "{asked}" {outcome} {seconds * 1000:.2f} ms {size} B\n'
        else:
            line = (
                f'{{"event": "query", "door": "{door}", "peer": {quote(peer)}, "asked": {quote(asked)}, '
                f'"outcome": "{outcome}", "ms": {seconds * 1000:.3f}, "bytes": {size}, "level": "info", '
                f'"timestamp": "{self._stamp}"}}\n'
            )
        self._lines.append(line)

    def flush(self) -> None:
        """Write the queries that wait. A log that cannot be written stops nobody."""
        if self._lines and self._sink is not None:
            lines = "".join(self._lines)
            self._lines.clear()
            self._sink.write(lines)

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
        """Something is not as it should be, until `recovered` says otherwise; `/readyz` names it meanwhile.

        May be said as often as it is noticed. The log hears of it when it begins and when the reason is another.

        Args:
            what: "backend", "change feed", ...; few, and words of ours.
            reason: in words, for the operator.
            exc: what it was noticed by.
            essential: whether questions go unanswered because of it.
            unforeseen: `exc` is a bug, and is logged with its whole traceback.
            quiet: whoever reports it has told the log, and will tell it of the end.
        """
        condition = self._condition(what, reason, essential=essential)
        now = self._clock()
        if (condition.told and condition.reason == reason) or now - self._told.get(what, -inf) < _TELL_AGAIN:
            return
        condition.reason = reason
        if quiet:
            return
        condition.told = True
        self._told[what] = now
        tell = self.error if unforeseen else self.warning
        tell("degraded", what=what, reason=reason, exc=exc)

    def recovered(self, what: str) -> None:
        """What `degraded` said of `what` is over. To be said whenever it may be."""
        condition = self.conditions.pop(what, None)
        if condition is not None and condition.told:
            seconds = round(self._clock() - condition.since, 2)
            self.info("recovered", what=what, seconds=seconds, times=condition.times)

    def restarted(self, task: str) -> None:
        """A supervised task failed and is started again after a pause. Whoever starts it has told the log."""
        self.restarts[task] += 1
        self._condition(task, "it failed and is being restarted", essential=True).told = True

    def _condition(self, what: str, reason: str, *, essential: bool) -> Condition:
        if (condition := self.conditions.get(what)) is None:
            condition = self.conditions[what] = Condition(reason, essential, self._clock())
        condition.times += 1
        return condition

    def _lose(self, lines: int) -> None:
        self.lines_lost += lines

    def adopt_stdlib_logging(self) -> None:
        """Take what libraries and backends say through `logging` (from warnings on; ours from info on)."""
        root = logging.getLogger()
        root.handlers[:] = [Adopted(self._adopt)]
        root.setLevel(logging.WARNING)
        logging.getLogger("fingertrio").setLevel(self._level)

    def _adopt(self, level: int, message: str, logger: str, exc: BaseException | None) -> None:
        if level >= logging.ERROR:
            self.error(message, exc=exc, logger=logger)
        elif level >= logging.WARNING:
            self.warning(message, exc=exc, logger=logger)
        else:
            self.info(message, logger=logger)


def stderr_observer(*, human: bool | None = None, level: str = "info", anonymize: bool = False) -> Observer:
    """The observer of a running program."""
    observer = Observer(sys.stderr, human=human, level=level, anonymize=anonymize)
    observer.adopt_stdlib_logging()
    return observer


def describe(exc: BaseException) -> str:
    """An exception and the chain of its causes in one line: `BackendError: gone, caused by TimeoutError: ...`.

    What only wraps another (a group, trio's "all attempts failed") is left out.
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
