"""Strict transport security (IRCv3 STS): what a server says of TLS, and what we keep of it. No I/O.

    over plain:  sts=port=6697              connect there with TLS, and send nothing more here
    over TLS:    sts=duration=2592000       for so many seconds, never connect to this host without TLS; 0: forget that

The policy belongs to the host name as it is configured. The clock is the time of day in seconds, since a policy
outlives the program.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass

_LONGEST = 10 * 365 * 86400  # seconds
_POLICY_LIMIT = 1000


@dataclass(frozen=True, slots=True)
class STSPort:
    """A server that we reached without TLS wants TLS, at this port."""

    port: int


@dataclass(frozen=True, slots=True)
class STSDuration:
    """A server that we reached with TLS wants TLS for this many seconds from now."""

    seconds: int


@dataclass(frozen=True, slots=True)
class Policy:
    """TLS only, at `port`, until `until`. `duration` is what the server said, in seconds."""

    host: str
    port: int
    duration: int
    until: float


def parse_port(value: str) -> int | None:
    """The port of an `sts` value; None: there is no valid one."""
    port = _number(_keys(value).get("port", ""))
    return port if port is not None and 0 < port < 65536 else None


def parse_duration(value: str) -> int | None:
    """The duration of an `sts` value, in seconds; None: there is no valid one."""
    seconds = _number(_keys(value).get("duration", ""))
    return None if seconds is None else min(seconds, _LONGEST)


def _keys(value: str) -> dict[str, str]:
    return {name: text for name, _, text in (key.partition("=") for key in value.split(","))}


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 12 else None


class Policies:
    """All policies, by host.

    Args:
        clock: the time of day, in seconds.
        document: what `dump` returned before; anything else counts as empty.
    """

    def __init__(self, clock: Callable[[], float], document: str = "") -> None:
        self._clock = clock
        self._policies: dict[str, Policy] = {}
        try:
            for entry in json.loads(document or "[]"):
                policy = Policy(str(entry["host"]), int(entry["port"]), int(entry["duration"]), float(entry["until"]))
                self._policies[policy.host] = policy
        except (ValueError, TypeError, KeyError):
            self._policies.clear()

    def port(self, host: str) -> int | None:
        """The port at which `host` must be reached with TLS; None: there is no policy."""
        policy = self._policies.get(host.lower())
        return policy.port if policy is not None and policy.until > self._clock() else None

    def learn(self, host: str, port: int, seconds: int) -> bool:
        """A server that was reached with TLS at `port` sent this duration; whether anything changed."""
        host = host.lower()
        if seconds == 0:
            return self._policies.pop(host, None) is not None
        self._policies[host] = Policy(host, port, seconds, self._clock() + seconds)
        if len(self._policies) > _POLICY_LIMIT:
            del self._policies[next(iter(self._policies))]
        return True

    def closed(self, host: str) -> bool:
        """A connection with TLS to `host` ended: its policy begins anew; whether there is one."""
        policy = self._policies.get(host.lower())
        return policy is not None and self.learn(policy.host, policy.port, policy.duration)

    def dump(self) -> str:
        """The policies that hold now, as text."""
        now = self._clock()
        return json.dumps([asdict(policy) for policy in self._policies.values() if policy.until > now], indent=1)
