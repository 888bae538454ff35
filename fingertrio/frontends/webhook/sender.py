"""Sends the messages of one webhook. A task of its own, so a receiver that is slow or down delays no other.

`wire.webhook_queue` decides which message is next and when; the store has its body. An attempt is an errand of its own
task: whatever goes wrong with one is counted, logged and tried again, and ends nothing else.
"""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from math import isinf
from typing import Protocol

import trio

from fingertrio.clients.dial import RemoteError
from fingertrio.clients.post import PostAnswer, post
from fingertrio.frontends.webhook.settings import WebhookSettings
from fingertrio.frontends.webhook.store import Stored, StoreError, WebhookStore
from fingertrio.observe.observer import Observer
from fingertrio.observe.webhook_numbers import WebhookNumbers
from fingertrio.wire import webhook
from fingertrio.wire.text import clean_line
from fingertrio.wire.webhook import Verdict
from fingertrio.wire.webhook_queue import DeliveryQueue, Waiting

# Users whose message may wait for one receiver: some hundred bytes of memory each, and what they say on the disk.
PENDING_LIMIT = 10_000

_REASON_LIMIT = 200  # characters of a reason in the log

GONE = "the receiver answers 410 Gone and wants no more; nothing is sent until a reload or a restart"


class Post(Protocol):
    """Sends one request; see `clients.post.post`."""

    def __call__(self, settings: WebhookSettings, fields: Mapping[str, str], body: bytes) -> Awaitable[PostAnswer]: ...


def send(settings: WebhookSettings, fields: Mapping[str, str], body: bytes) -> Awaitable[PostAnswer]:
    """Send one request to the receiver. Raises RemoteError if there is no answer."""
    return post(
        settings.url,
        {"Content-Type": "application/json", **fields},
        body,
        timeout=settings.timeout,
        allow=settings.allows,
        ssl_context=settings.ssl_context,
    )


@dataclass(frozen=True, slots=True)
class Attempt:
    """How one attempt ended.

    Attributes:
        verdict: what that means for the message.
        reason: for people; empty: the request was not even sent.
        retry_after: seconds that the receiver asks for.
        is_answered: whether the receiver answered.
    """

    verdict: Verdict
    reason: str
    retry_after: float = 0.0
    is_answered: bool = False


async def send_signed(settings: WebhookSettings, message_id: str, body: bytes, post: Post = send) -> PostAnswer:
    """Sign `body` and send it once. Raises RemoteError if there is no answer."""
    return await post(settings, webhook.headers(message_id, int(time.time()), body, settings.secrets), body)


async def attempt(settings: WebhookSettings, message_id: str, body: bytes, post: Post) -> Attempt:
    """Send `body` once, and judge the answer."""
    try:
        answer = await send_signed(settings, message_id, body, post)
    except RemoteError as error:
        return Attempt(Verdict.UNAVAILABLE, clean_line(str(error))[:_REASON_LIMIT])
    retry_after = webhook.parse_retry_after(answer.retry_after, datetime.now(UTC))
    return Attempt(webhook.judge(answer.status), f"HTTP status {answer.status}", retry_after, is_answered=True)


class Sender:
    """One webhook, while it is configured.

    Args:
        settings: the receiver.
        store: has the bodies.
        observer: logs, counts, and knows what is degraded.
        post: sends a request.
        limit: users whose message may wait.
        uniform: returns a random number between two numbers.

    Attributes:
        settings: of now; see `adopt`.
    """

    def __init__(
        self,
        settings: WebhookSettings,
        store: WebhookStore,
        observer: Observer,
        *,
        post: Post = send,
        limit: int = PENDING_LIMIT,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self.settings = settings
        self._store = store
        self._observer = observer
        self._post = post
        self._limit = limit
        self._uniform = uniform
        self._numbers = observer.metrics.webhooks.setdefault(settings.name, WebhookNumbers())
        self._what = f"webhook:{settings.name}"
        self.begin()

    def begin(self) -> None:
        """Forget everything, before `run`. What waits is `put` from the store."""
        self._queue = DeliveryQueue(self._limit, uniform=self._uniform)
        self._stopping = False
        self._is_full = False
        self._news = trio.Event()
        self._running = trio.CancelScope()

    def adopt(self, settings: WebhookSettings) -> None:
        """Go on with other settings, and take up what had ended: a receiver that was gone, or pauses."""
        self.settings = settings
        self._queue.reopen(trio.current_time())
        self._observer.recovered(self._what)
        self._news.set()

    def close(self) -> None:
        """The webhook is not configured any more: end `run`, with what is under way."""
        self.stop()
        self._running.cancel()
        self._observer.recovered(self._what)
        self._observer.metrics.webhooks.pop(self.settings.name, None)

    @property
    def is_gone(self) -> bool:
        """Whether the receiver wants no more messages."""
        return self._queue.gone

    async def put(self, messages: Iterable[Stored]) -> None:
        """Take over messages of this webhook. Does not wait for the receiver."""
        now, today = trio.current_time(), datetime.now(UTC)
        removed: list[str] = []
        for message in messages:
            age = max(0.0, (today - message.created).total_seconds())
            for old in self._queue.put(message.user, message.id, now, age=age):
                reason = "gone" if old.id == message.id else "replaced" if old.user == message.user else "dropped"
                self._numbers.unsent[reason] += 1
                if reason != "replaced":  # the store has put the new one in its place
                    removed.append(old.id)
                if reason == "dropped":
                    self._warn_of_full_queue()
        self._count()
        self._news.set()
        await self._remove(removed)

    def stop(self) -> None:
        """Begin no further attempts. `run` returns when those under way have ended."""
        self._stopping = True
        self._news.set()

    async def run(self) -> None:
        """Send until `stop`."""
        with self._running:
            async with trio.open_nursery() as nursery:
                await self._send_all(nursery)

    async def _send_all(self, nursery: trio.Nursery) -> None:
        while not self._stopping:
            message = self._queue.take(trio.current_time())
            if message is not None:
                nursery.start_soon(self._deliver, message)
                continue
            until = self._queue.next_time()
            self._news = trio.Event()
            with trio.CancelScope() if isinf(until) else trio.CancelScope(deadline=until):
                await self._news.wait()

    async def _deliver(self, message: Waiting) -> None:
        try:
            body = await self._store.body(message.id)
            # A newer one took its place meanwhile, or the configuration has changed since it was put.
            if body is None or not self.settings.wants(message.user):
                self._queue.drop(message)
                self._count()
                self._news.set()
                await self._remove([message.id])
                return
            ended = await attempt(self.settings, message.id, body, self._post)
        except StoreError as error:
            self._observer.degraded("webhook_store", str(error), exc=error, essential=False)
            ended = Attempt(Verdict.UNAVAILABLE, "")
        except Exception as error:  # noqa: BLE001 -- a bug with one message must not end the others
            self._observer.error("webhook_failed", webhook=self.settings.name, user=message.user, exc=error)
            ended = Attempt(Verdict.REJECTED, type(error).__name__)
        await self._apply(message, ended)

    async def _apply(self, message: Waiting, ended: Attempt) -> None:
        """Note how an attempt ended, first in memory: a cancellation may follow."""
        numbers, queue = self._numbers, self._queue
        if ended.reason:
            numbers.attempts[ended.verdict.value] += 1
        finished: list[str] = []
        match ended.verdict:
            case Verdict.DELIVERED:
                queue.delivered(message)
                numbers.succeeded()
                finished = [message.id]
                self._observer.recovered(self._what)
                self._observer.debug("webhook_delivered", webhook=self.settings.name, user=message.user, id=message.id)
            case Verdict.GONE:
                queue.drop(message)
                finished = [message.id, *(other.id for other in queue.close())]
                numbers.unsent["gone"] += len(finished)
                self._observer.degraded(self._what, GONE, essential=False)
            case Verdict.REJECTED | Verdict.UNAVAILABLE:
                finished = self._failed(message, ended)
        self._count()
        self._news.set()
        await self._remove(finished)

    def _failed(self, message: Waiting, ended: Attempt) -> list[str]:
        """Note a failure; the ids of messages that are given up."""
        name = self.settings.name
        expired = self._queue.failed(message, trio.current_time(), ended.verdict, ended.retry_after)
        if ended.verdict is Verdict.REJECTED and message.attempts == 1:
            self._observer.warning("webhook_rejected", webhook=name, user=message.user, reason=ended.reason)
        if self._queue.is_troubled and ended.reason:
            # Without an answer, the reason begins with the host.
            reason = f"{self.settings.place}: {ended.reason}" if ended.is_answered else ended.reason
            self._observer.degraded(self._what, reason, essential=False)
        if expired:
            self._numbers.unsent["given_up"] += len(expired)
            self._observer.warning("webhook_given_up", webhook=name, messages=len(expired), reason=ended.reason)
        return [other.id for other in expired]

    async def _remove(self, ids: list[str]) -> None:
        if not ids:
            return
        try:
            with trio.CancelScope(shield=True):  # a message that was received is not sent again because of a stop
                await self._store.remove(ids)
        except StoreError as error:  # they may be sent again after a restart, with the same ids
            self._observer.degraded("webhook_store", str(error), exc=error, essential=False)
        else:
            self._observer.recovered("webhook_store")

    def _count(self) -> None:
        self._numbers.pending = len(self._queue)
        self._is_full = self._is_full and len(self._queue) >= self._limit

    def _warn_of_full_queue(self) -> None:
        if not self._is_full:
            self._is_full = True
            self._observer.warning("webhook_full", webhook=self.settings.name, limit=self._limit)
