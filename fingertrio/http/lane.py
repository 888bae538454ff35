"""The express lane of HTTP/1.1: a response that the application allowed to be repeated is sent from memory.

Most of the cost of a small response is the way through a task, h11, Hypercorn and the framework, for bytes that were
made before. The lane finds them by the bytes of the request: a client that asks again sends the same ones. Other plain
requests (`plain`) are parsed, and found by what a response can depend on: method, host, target, a simple condition,
what a trusted proxy reports, the fields that the response's Vary names and, for POST, the body.

The lane makes no response. What it does not have goes to h11 as it came, with a `Recording`, so that the lane may have
it next time. Whether a response still holds is one comparison, with the object that the application named
(`Recording.replay_while`). When one no longer holds, many clients may ask for the next at once: one request makes it,
and the others wait for that (`renewal`).

The lane knows no socket. `idle` has the connections; `Ledger` is what it needs from the application.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

from fingertrio.http.plain import HEAD_LIMIT, PlainRequest, read_plain
from fingertrio.http.replay import Kept, Recording

# Requests that are recognized by their bytes, in each of two generations: 12 MB if they are all of the largest kind.
_SEEN = 1024

# Targets whose Vary is known, in each of two generations.
_TARGETS = 10_000

# Bytes of host and target together: clients can make up both, and each entry above has them.
_NAME_LIMIT = 512

# Seconds that requests wait for the response to another one. Most are made in a millisecond.
RENEWAL = 0.05

# Bytes of all responses that are kept with their keys, and what one adds to its own size.
KEPT_BYTES = 16 * 1024 * 1024
_OVERHEAD = 800

_REPEATABLE = frozenset({200, 304})

K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Sender:
    """Who sent a request, as the application sees it.

    Attributes:
        client: the address that limits and logs count; empty for a unix socket.
        forwarded: whether a trusted proxy reported it.
        variant: what else a trusted proxy reported, and a response may depend on.
    """

    client: str
    forwarded: bool = False
    variant: Hashable = None


class Ledger(Protocol):
    """What the application does for each request, and wants done for those that it does not see."""

    def sender(self, peer: str, forwarding: Mapping[bytes, bytes]) -> Sender:
        """Who sent a request that came from `peer` with these fields of proxies, believed or not."""
        ...

    def admits(self, sender: Sender, now: float) -> bool:
        """Count the request for the limits. False: the application must refuse it; nothing was counted."""
        ...

    def replayed(self, sender: Sender, note: Any, seconds: float) -> None:
        """Log and count a response that was repeated. `note` is what the application left with it."""
        ...

    def flush(self) -> None:
        """Write the log: for the time being, no more responses will be repeated."""
        ...


class _Recent(Generic[K, V]):
    """The `size` entries used last, or up to twice as many: two generations; the older is dropped whole."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._young: dict[K, V] = {}
        self._old: dict[K, V] = {}

    def get(self, key: K) -> V | None:
        value = self._young.get(key)
        if value is None and (value := self._old.get(key)) is not None:
            self.put(key, value)
        return value

    def put(self, key: K, value: V) -> None:
        if len(self._young) >= self._size:
            self._old, self._young = self._young, {}
        self._young[key] = value


class Lane:
    """The responses of one door that may be repeated.

    Args:
        ledger: the application's limits, log and metrics.
        classes: by the name of a header field, what a response that varies on it really depends on. Without one it
            depends on the exact value.
        limit: bytes of all responses.
    """

    def __init__(
        self,
        ledger: Ledger,
        classes: Mapping[bytes, Callable[[bytes], Hashable]] | None = None,
        *,
        limit: int = KEPT_BYTES,
    ) -> None:
        self.ledger = ledger
        self._classes = classes or {}
        self._limit = limit
        self._seen: _Recent[bytes, PlainRequest] = _Recent(_SEEN)
        self._varies: _Recent[Hashable, tuple[bytes, ...]] = _Recent(_TARGETS)
        self._kept: dict[Hashable, Kept] = {}
        self._bytes = 0
        self._cleared = 0  # how often

    def __len__(self) -> int:
        return len(self._kept)

    def read(self, data: bytes) -> PlainRequest | None:
        """The request at the beginning of `data`; None: it is not plain, or its head is not complete.

        If its body is not complete, its `size` exceeds the length of `data`.
        """
        request = self._seen.get(data)
        if request is not None:
            return request
        end = data.find(b"\r\n\r\n", 0, HEAD_LIMIT) + 4
        if end == 3:
            return None
        if end < len(data) and (request := self._seen.get(data[:end])) is not None:
            return request  # the first of several
        request = read_plain(data, end)
        if request is not None and request.size <= len(data):
            self._seen.put(data[: request.size], request)
        return request

    def answer(
        self, request: PlainRequest, sender: Sender, now: float, has_room: Callable[[bytes], bool] = lambda _: True
    ) -> Kept | None:
        """The response to send, already counted for the limits; None: the application must answer, and counts.

        `has_room` is asked whether there is memory for a large body.
        """
        kept = request.kept
        if kept is None or kept.source.expires <= now:
            kept = self.find(request, sender, now)
            if kept is None:
                return None
            if not request.forwarding:  # else it depends on the peer, and not only on the bytes
                request.kept = kept
        if (kept.body and not has_room(kept.body)) or not self.ledger.admits(sender, now):
            return None
        kept.used = True
        return kept

    def find(self, request: PlainRequest, sender: Sender, now: float) -> Kept | None:
        """The response to this request, if it is here and holds."""
        varies = self._varies.get((request.method, request.host, request.target))
        if varies is None:
            return None
        kept = self._kept.get(self._key(request, sender, varies, request.condition))
        if kept is not None and kept.source.expires > now:
            return kept
        if request.condition:
            kept = self._kept.get(self._key(request, sender, varies, b""))
            if kept is not None and kept.source.expires > now and _is_whole_answer(kept, request.condition):
                return kept
        return None

    def renewal(self, request: PlainRequest, sender: Sender, now: float) -> Kept | None:
        """The response to this request that no longer holds, if the application makes its successor just now.

        Its `waiting` are called when that is here; not if it turns out that it cannot be repeated.
        """
        old = self._expired(request, sender, now)
        return old if old is not None and old.renewed_since > now - RENEWAL else None

    def _expired(self, request: PlainRequest, sender: Sender, now: float) -> Kept | None:
        varies = self._varies.get((request.method, request.host, request.target))
        old = None if varies is None else self._kept.get(self._key(request, sender, varies, request.condition))
        return old if old is not None and old.source.expires <= now else None

    def record(self, request: PlainRequest, sender: Sender, now: float) -> Recording:
        """For the server, to record what the application answers."""
        if (old := self._expired(request, sender, now)) is not None:
            old.renewed_since = now
        return Recording(request, partial(self._keep, sender, self._cleared))

    def clear(self) -> None:
        """Forget all responses: the application has changed."""
        for kept in self._kept.values():
            kept.drop()
        self._kept.clear()
        self._bytes = 0
        self._cleared += 1

    def _key(
        self, request: PlainRequest, sender: Sender, varies: tuple[bytes, ...], condition: bytes
    ) -> tuple[Hashable, ...]:
        values = (self._class_of(name, request.fields.get(name)) for name in varies)
        kind = request.fields.get(b"content-type") if request.body else None
        return (
            request.method,
            request.host,
            request.target,
            request.close,
            condition,
            sender.variant,
            request.body,
            kind,
            *values,
        )

    def _class_of(self, name: bytes, value: bytes | None) -> Hashable:
        classify = self._classes.get(name)
        return value if classify is None else classify(value or b"")

    def _keep(self, sender: Sender, cleared: int, recording: Recording) -> None:
        if cleared != self._cleared:
            return  # made by the application as it was before
        fields, request = recording.fields(), recording.request
        varies = tuple(sorted({name.strip().lower() for name in fields.get(b"vary", b"").split(b",")} - {b""}))
        if recording.status not in _REPEATABLE or b"*" in varies or b"set-cookie" in fields:
            return
        if len(request.host) + len(request.target) > _NAME_LIMIT:
            return
        condition = b""
        if recording.status == 304:
            # Only what a client has from us: others could fill the memory with conditions that they made up.
            if request.condition.removeprefix(b"W/") not in {fields.get(b"etag"), fields.get(b"last-modified")}:
                return
            condition = request.condition
        kept = recording.kept()
        if kept is None:
            return
        # The responses of one target may differ in their Vary, for example by their length: all fields count.
        place = (request.method, request.host, request.target)
        varies = tuple(sorted({*varies, *(self._varies.get(place) or ())}))
        self._varies.put(place, varies)
        key = self._key(request, sender, varies, condition)
        old = self._kept.pop(key, None)
        self._kept[key] = kept
        kept.cost = kept.size + _OVERHEAD + _size_of(key)
        self._bytes += kept.cost
        if old is not None:
            self._drop(old)
        while self._bytes > self._limit:
            self._drop_one()

    def _drop_one(self) -> None:
        """Drop the oldest response that was not sent since it was last looked at."""
        key = next(iter(self._kept))
        kept = self._kept.pop(key)
        if kept.used:
            kept.used = False
            self._kept[key] = kept
        else:
            self._drop(kept)

    def _drop(self, kept: Kept) -> None:
        self._bytes -= kept.cost
        kept.drop()


def _size_of(key: tuple[Hashable, ...]) -> int:
    """Bytes of what clients have sent in a key."""
    size = 0
    for part in key:
        if isinstance(part, tuple):
            size += _size_of(part)
        elif isinstance(part, bytes):
            size += len(part)
    return size


def _is_whole_answer(kept: Kept, condition: bytes) -> bool:
    """Whether the application sends this whole response to a client with `condition`, because it has another one."""
    if condition.endswith(b'"'):
        return bool(kept.tag) and kept.tag != condition.removeprefix(b"W/")
    return not kept.dated
