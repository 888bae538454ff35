"""What the program reports about one IRC network: log lines, conditions for /readyz, numbers for /metrics.

A condition is named `irc_connection:<network>` and the like. Each change for the worse is one warning, each for the
better one line at info, however often it is noticed.
"""

from __future__ import annotations

from collections.abc import Callable

from fingertrio.observe.irc_numbers import NetworkNumbers
from fingertrio.observe.observer import Observer
from fingertrio.wire.irc_outbox import TokenBucket
from fingertrio.wire.irc_secrets import mask_line
from fingertrio.wire.text import clean_line

_DOOR = "irc"

# Log lines about events that the server causes (nick changes): one every ten seconds, five in advance.
_LOG_SECONDS = 10.0
_LOG_BURST = 5
_CHANNEL_BURST = 100  # for each channel that an operator may have configured

_REASON_LIMIT = 200  # characters of a server's text


class NetworkReports:
    """Reports under the name of one network.

    Args:
        observer: takes them.
        network: the name.
        essential: whether the program is not ready without this network.
    """

    def __init__(self, observer: Observer, network: str, *, essential: bool = False) -> None:
        self.observer = observer
        self.numbers = observer.metrics.networks.setdefault(network, NetworkNumbers())
        self.network = network
        self.essential = essential
        self._log = TokenBucket(seconds=_LOG_SECONDS, burst=_LOG_BURST)
        self._channel_log = TokenBucket(seconds=_LOG_SECONDS, burst=_CHANNEL_BURST)
        self._suppressed = 0
        self._known: dict[str, str] = {}  # the conditions that were reported, with their reasons

    def info(self, event: str, **fields: object) -> None:
        """A line at info."""
        self.observer.info(event, network=self.network, **fields)

    def warning(self, event: str, *, exc: BaseException | None = None, **fields: object) -> None:
        """A line at warning."""
        self.observer.warning(event, exc=exc, network=self.network, **fields)

    def error(self, event: str, *, exc: BaseException | None = None, **fields: object) -> None:
        """A line at error."""
        self.observer.error(event, exc=exc, network=self.network, **fields)

    def server_event(self, event: str, now: float, **fields: object) -> None:
        """Log an event that the server caused, at a limited rate; the next line tells how many were suppressed."""
        if not self._log.take(now):
            self._suppressed += 1
            self.observer.refused(_DOOR, "log")
            return
        if self._suppressed:
            fields["suppressed"] = self._suppressed
            self._suppressed = 0
        self.info(event, **fields)

    def channel_event(self, event: str, now: float, *, worse: bool, **fields: object) -> None:
        """Log what happened to us in a channel: a warning for a change for the worse."""
        if self._channel_log.take(now):
            log: Callable[..., None] = self.warning if worse else self.info
            log(event, **fields)
        else:
            self.observer.refused(_DOOR, "log")

    @property
    def traces(self) -> bool:
        """Whether `line` logs anything."""
        return self.observer.logs_debug

    def line(self, direction: str, line: bytes) -> None:
        """At debug: a line of the protocol, without secrets."""
        self.observer.debug("irc_line", network=self.network, direction=direction, line=mask_line(line))

    def refused(self, reason: str) -> None:
        """A question or an answer came to nothing."""
        self.observer.refused(_DOOR, reason)
        self.numbers.dropped[str(reason)] += 1

    def registered(self, *, now_registered: bool) -> None:
        """A session was registered, or a registered one has ended."""
        if now_registered != self.numbers.registered:
            self.numbers.registered = now_registered
            self.observer.connected(_DOOR, 1 if now_registered else -1)

    def degraded(self, what: str, reason: str, *, quiet: bool = False) -> None:
        """A condition of this network; `quiet`: the caller logs it."""
        name, reason = f"irc_{what}:{self.network}", clean_line(reason)[:_REASON_LIMIT]
        if self._known.get(what) == reason:
            return
        is_new = what not in self._known
        self._known[what] = reason
        self.observer.degraded(name, reason, essential=self.essential, quiet=True)
        if not quiet and is_new:
            self.warning("irc_degraded", what=what, reason=reason)

    def is_degraded(self, what: str) -> bool:
        """Whether the condition lasts."""
        return what in self._known

    def recovered(self, what: str, *, quiet: bool = False) -> None:
        """The condition is over, if there was one."""
        if self._known.pop(what, None) is not None:
            self.observer.recovered(f"irc_{what}:{self.network}")
            if not quiet:
                self.info("irc_recovered", what=what)

    def close(self) -> None:
        """The network is not configured any more."""
        for what in list(self._known):
            self.recovered(what, quiet=True)
        self.registered(now_registered=False)
        self.observer.metrics.networks.pop(self.network, None)
