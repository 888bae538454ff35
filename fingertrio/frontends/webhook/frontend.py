"""The webhooks: one task follows the changes, and one for each receiver sends. What one receiver does delays no other.

At a stop no further requests begin, those under way have a moment to end, and everything that has not been delivered
stays in the store for the next start.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import partial

import trio

from fingertrio.frontends.webhook.following import ChangeFollower
from fingertrio.frontends.webhook.sender import PENDING_LIMIT, Post, Sender, send
from fingertrio.frontends.webhook.settings import WebhookSettings
from fingertrio.frontends.webhook.store import Stored, StoreError, WebhookStore
from fingertrio.observe.observer import Observer
from fingertrio.service import FingerService

# Seconds at a stop for requests under way. A slower receiver may get the message again after the restart.
_LAST_ANSWERS = 2.0


class WebhookFrontend:
    """All webhooks.

    Args:
        service: has the changes and the users.
        observer: logs, counts, and knows what is degraded.
        store: keeps what waits.
        webhooks: what the operator wants, one entry for each receiver.
        post: sends a request.
        limit: users whose message may wait for one receiver.
        uniform: returns a random number between two numbers.
    """

    def __init__(
        self,
        *,
        service: FingerService,
        observer: Observer,
        store: WebhookStore,
        webhooks: Sequence[WebhookSettings],
        post: Post = send,
        limit: int = PENDING_LIMIT,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._observer = observer
        self._store = store
        self._make = partial(Sender, store=store, observer=observer, post=post, limit=limit, uniform=uniform)
        self.senders = {settings.name: self._make(settings) for settings in webhooks}
        self._follower = ChangeFollower(service, store, observer, wants=self._wants, deliver=self._deliver)
        self._nursery: trio.Nursery | None = None

    async def serve(
        self, stopping: trio.Event, *, task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Send until `stopping` is set.

        Calls `task_status.started` once no change can be missed; no receiver has been connected to then. The value
        has each receiver: `["team at https://hooks.example.org"]`.
        """
        try:
            self._follower.begin(*await self._store.load())
            for sender in self.senders.values():
                sender.begin()
            await self._serve(stopping, task_status)
        finally:
            with trio.CancelScope(shield=True):  # some milliseconds
                await self._store.close()

    async def _serve(self, stopping: trio.Event, task_status: trio.TaskStatus[list[str]]) -> None:
        async with trio.open_nursery() as following:
            await following.start(self._follower.run)
            async with trio.open_nursery() as self._nursery:
                await self._forget_others()
                for sender in self.senders.values():
                    self._nursery.start_soon(sender.run)
                task_status.started([f"{name} at {each.settings.place}" for name, each in self.senders.items()])
                await stopping.wait()
                for sender in self.senders.values():
                    sender.stop()
                self._nursery.cancel_scope.deadline = trio.current_time() + _LAST_ANSWERS
            self._nursery = None
            self._follower.stop()

    def apply(self, webhooks: Sequence[WebhookSettings]) -> None:
        """Go on with other settings. Receivers that were gone are tried again."""
        wanted = {settings.name: settings for settings in webhooks}
        for name in self.senders.keys() - wanted.keys():
            self.senders.pop(name).close()
        for name, settings in wanted.items():
            if name in self.senders:
                self.senders[name].adopt(settings)
                continue
            sender = self.senders[name] = self._make(settings)
            if self._nursery is not None:
                self._nursery.start_soon(sender.run)
        if self._nursery is not None:
            self._nursery.start_soon(self._forget_others)

    def _wants(self, user: str) -> list[str]:
        return [name for name, each in self.senders.items() if not each.is_gone and each.settings.wants(user)]

    async def _deliver(self, messages: Sequence[Stored]) -> None:
        by_name: dict[str, list[Stored]] = {}
        for message in messages:
            by_name.setdefault(message.webhook, []).append(message)
        for name, own in by_name.items():
            if (sender := self.senders.get(name)) is not None:
                await sender.put(own)

    async def _forget_others(self) -> None:
        """Remove from the store what waits for receivers that are not configured any more."""
        try:
            await self._store.keep_only(list(self.senders))
        except StoreError as error:
            self._observer.degraded("webhook_store", str(error), exc=error, essential=False)
