"""Webhooks with a receiver that is a function of the test, on a mock clock."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import trio
from trio.testing import wait_all_tasks_blocked

from fingertrio.backend import Change
from fingertrio.clients.dial import RemoteError
from fingertrio.clients.post import PostAnswer
from fingertrio.frontends.webhook.frontend import WebhookFrontend
from fingertrio.frontends.webhook.settings import WebhookSettings
from fingertrio.frontends.webhook.store import Stored, WebhookStore
from fingertrio.observe.observer import Observer
from fingertrio.service import FingerService
from fingertrio.testing import FakeBackend
from fingertrio.wire.http_url import parse_http_url
from fingertrio.wire.webhook import SigningSecret

T = TypeVar("T")

SECRET = SigningSecret.parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")

Answer = int | PostAnswer | Exception


class InlineStore(WebhookStore):
    """The real store without its thread: a mock clock does not wait for threads."""

    async def _run(self, work: Callable[[], T]) -> T:
        await trio.lowlevel.checkpoint()
        return self._guarded(work)


@dataclass(frozen=True)
class Request:
    """What a receiver got, and when."""

    webhook: str
    at: float
    id: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def document(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.body)
        return document

    @property
    def said(self) -> tuple[str, str | None]:
        """The user, and the status; None: the user is gone."""
        data = self.document["data"]
        return data["user"], data.get("status")


class Receivers:
    """All receivers. `answers` has what each answers, by name; `held` are those that do not answer at all."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.answers: dict[str, Answer | Callable[[Request], Answer]] = {}
        self.held: set[str] = set()
        self.released = trio.Event()

    async def post(self, settings: WebhookSettings, fields: Mapping[str, str], body: bytes) -> PostAnswer:
        request = Request(settings.name, trio.current_time(), fields["webhook-id"], fields, body)
        self.requests.append(request)
        await trio.lowlevel.checkpoint()
        if settings.name in self.held:
            try:
                with trio.fail_after(settings.timeout):
                    await self.released.wait()
            except trio.TooSlowError:
                raise RemoteError(f"{settings.name}: no answer within {settings.timeout:g} seconds") from None
        answer = self.answers.get(settings.name, 204)
        if callable(answer):
            answer = answer(request)
        if isinstance(answer, Exception):
            raise answer
        return PostAnswer(answer, None, b"") if isinstance(answer, int) else answer

    def of(self, webhook: str) -> list[Request]:
        return [request for request in self.requests if request.webhook == webhook]

    def said(self, webhook: str = "team") -> list[tuple[str, str | None]]:
        return [request.said for request in self.of(webhook)]

    def times(self, webhook: str = "team") -> list[float]:
        return [round(request.at, 6) for request in self.of(webhook)]


class Stage:
    """A backend, its service, a store and receivers, for one or several runs of the front end."""

    def __init__(self, path: Path, backend: FakeBackend, service: FingerService, observer: Observer) -> None:
        self.path = path
        self.backend = backend
        self.service = service
        self.observer = observer
        self.receivers = Receivers()
        self.log = io.StringIO()
        self.frontend: WebhookFrontend

    @property
    def numbers(self):
        return self.observer.metrics.webhooks

    @property
    def conditions(self) -> dict[str, str]:
        return {what: condition.reason for what, condition in self.observer.metrics.conditions.items()}

    def events(self, name: str) -> list[dict[str, Any]]:
        return [record for line in self.log.getvalue().splitlines() if (record := json.loads(line))["event"] == name]

    def make(self, *webhooks: WebhookSettings, limit: int = 1000) -> WebhookFrontend:
        self.frontend = WebhookFrontend(
            service=self.service,
            observer=self.observer,
            store=InlineStore(self.path),
            webhooks=webhooks or [hook()],
            post=self.receivers.post,
            limit=limit,
            uniform=lambda _low, high: high,
        )
        return self.frontend

    @asynccontextmanager
    async def serving(self, *webhooks: WebhookSettings, limit: int = 1000) -> AsyncIterator[trio.Event]:
        """The front end serves within; it is stopped at the end. The event stops it."""
        stopping = trio.Event()
        frontend = self.make(*webhooks, limit=limit)
        async with trio.open_nursery() as nursery:
            await nursery.start(frontend.serve, stopping)
            yield stopping
            stopping.set()

    async def waiting(self) -> list[Stored]:
        """What is in the store, while the front end does not serve."""
        store = InlineStore(self.path)
        waiting, _ = await store.load()
        await store.close()
        return waiting

    async def set(self, user: str, status: str) -> None:
        """Set a status in the backend, and wait until nothing happens any more at this time."""
        await self.backend.set_user(user, status)
        await wait_all_tasks_blocked()

    async def remove(self, user: str) -> None:
        del self.backend._lasting[user]
        await self.change(user)

    async def change(self, user: str | None) -> None:
        """Report a change without one."""
        self.backend._hub.emit(Change(user))
        await wait_all_tasks_blocked()


@asynccontextmanager
async def stage(path: Path, users: Mapping[str, str] | None = None) -> AsyncIterator[Stage]:
    log = io.StringIO()
    observer = Observer(log, human=False)
    backend = FakeBackend(users or {})
    async with FingerService.open(backend, observer=observer) as service:
        made = Stage(path / "webhooks.db", backend, service, observer)
        made.log = log
        yield made


def hook(name: str = "team", url: str = "https://hooks.example.org/x", **settings: Any) -> WebhookSettings:
    parsed = parse_http_url(url, with_query=True)
    return WebhookSettings(**{"name": name, "url": parsed, "secrets": (SECRET,), **settings})
