"""The web application with every route that programs can have, and a user who has said something."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from quart_trio import QuartTrio

from fingertrio.frontends.web.app import create_app
from fingertrio.frontends.web.instance import instance_blueprint
from fingertrio.frontends.web.live import live_blueprint
from fingertrio.frontends.web.live_hub import LiveHub
from fingertrio.frontends.web.live_watcher import LivePolicy
from fingertrio.frontends.web.proofs import Proofs
from fingertrio.frontends.web.rendering import Pages
from fingertrio.frontends.web.site import Site
from fingertrio.frontends.web.webfinger import WebFingerPolicy, webfinger_blueprint
from fingertrio.net.proxies import TrustedProxies
from fingertrio.observe.observer import Observer
from fingertrio.service import FingerService
from tests.accounts.kit import MemoryDocument
from tests.frontends.web.people import HOUR, MINUTE, People, Person
from tests.helpers import no_accounts

SITE = Site(title="The House", url="https://finger.example.org")
ADA = Person("ada", "☕ At lunch\nback at two", HOUR, "Ada Lovelace", HOUR, {"project": "Engine"}, [(2, "Weaving", 0)])


@dataclass(frozen=True)
class Everything:
    """The application, and the header with which an administrator writes."""

    app: QuartTrio
    admin: str
    service: FingerService


@asynccontextmanager
async def everything() -> AsyncIterator[Everything]:
    backend, observer, accounts, now = People(), Observer(), no_accounts(MemoryDocument()), datetime.now(UTC)
    await backend.enter(ADA, Person("bob", "Out", MINUTE))
    secret, _ = await accounts.tokens.add("root", scope="admin")
    policy = WebFingerPolicy(domains=("example.org",), issuer=None)
    async with FingerService.open(backend, observer=observer) as service:
        app = create_app(
            service,
            observer,
            proofs=Proofs(accounts, None, observer),
            live=live_blueprint(LiveHub(service, observer), observer, LivePolicy),
            pages=Pages(lambda: SITE, lambda: now),  # two requests are of the same minute
            more=[
                webfinger_blueprint(service, lambda: policy, lambda: SITE),
                instance_blueprint("0" * 32, TrustedProxies),
            ],
        )
        yield Everything(app, f"Bearer {secret}", service)
