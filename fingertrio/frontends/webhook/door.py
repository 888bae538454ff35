"""The [[webhook]] tables, turned into receivers. Secrets and certificates are read here, at start and at a reload."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from functools import cache
from pathlib import Path

import trio

from fingertrio.config.sections import OptionError
from fingertrio.config.webhook import Webhook, WebhookSection
from fingertrio.frontend import Door, Frontend
from fingertrio.frontends.webhook.frontend import WebhookFrontend
from fingertrio.frontends.webhook.settings import WebhookSettings
from fingertrio.frontends.webhook.store import StoreError, WebhookStore

STORE_NAME = "webhooks.db"


def open_webhook(options: WebhookSection, door: Door) -> Frontend:
    """Sends a signed HTTP request to other servers whenever a status changes."""
    store = WebhookStore(door.state / STORE_NAME)
    try:
        store.check()
    except StoreError as error:
        raise ValueError(str(error)) from error
    frontend = WebhookFrontend(service=door.service, observer=door.observer, store=store, webhooks=to_webhooks(options))
    if not door.service.hears_changes:
        reason = "the backend does not report changes: only those that are made through this server are sent"
        door.observer.warning("webhook_incomplete", reason=reason)
    return _ReloadableWebhooks(frontend)


class _ReloadableWebhooks:
    """The front end, which takes other options while it serves."""

    def __init__(self, frontend: WebhookFrontend) -> None:
        self.reloadable = frozenset(WebhookSection.model_fields)
        self._frontend = frontend

    async def serve(
        self, stopping: trio.Event, *, task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED
    ) -> None:
        await self._frontend.serve(stopping, task_status=task_status)

    def prepare(self, options: WebhookSection) -> Callable[[], None]:
        webhooks = to_webhooks(options)
        return lambda: self._frontend.apply(webhooks)


def to_webhooks(options: WebhookSection) -> list[WebhookSettings]:
    """Every receiver of the section.

    Raises:
        OptionError: a file with secrets or certificates cannot be used.
    """
    system = cache(ssl.create_default_context)  # it reads the system's certificates, which takes some 50 ms
    return [_to_settings(hook, system) for hook in options.root]


def _to_settings(hook: Webhook, system: Callable[[], ssl.SSLContext]) -> WebhookSettings:
    try:
        secrets = hook.secrets()
    except ValueError as error:
        raise OptionError(hook.name, str(error)) from None
    context: ssl.SSLContext | None = None
    if hook.url.tls:
        context = system() if hook.ca_file is None else _trusting(hook.name, hook.ca_file)
    return WebhookSettings(
        name=hook.name,
        url=hook.url,
        secrets=secrets,
        users=hook.users,
        timeout=hook.timeout,
        allow=hook.allow,
        ssl_context=context,
    )


def _trusting(name: str, path: Path) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=path)
    except OSError as error:  # ssl.SSLError is one
        raise OptionError(name, f'ca_file: "{path}" cannot be used: {error.strerror or error}') from None
