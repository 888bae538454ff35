"""The [finger] section."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

from fingertrio.backend import UserInfo
from fingertrio.config.doors import FingerSection
from fingertrio.frontend import Door, Frontend
from fingertrio.frontends.finger.answers import FingerPolicy
from fingertrio.frontends.finger.forwarding import Forwarder
from fingertrio.frontends.finger.frontend import FingerFrontend
from fingertrio.frontends.finger.text import render_full
from fingertrio.net.targets import parse_target


class _Finger:
    reloadable = frozenset(
        {"answer", "user_list", "show", "ambiguous", "forwarding", "forward_to", "proxy_protocol", "trusted_proxies"}
    )

    def __init__(self, options: FingerSection, door: Door) -> None:
        self._frontend = FingerFrontend(
            service=door.service,
            observer=door.observer,
            listeners=door.listeners,
            caps=door.caps,
            rate=door.queries,
            policy=_policy(options),
            proxies=options.header_senders,
        )
        self.serve = self._frontend.serve

    async def check(self) -> None:
        """See `fingertrio.frontend.ChecksItself`."""
        render_full(UserInfo("check", "one\ntwo", name="Name", since=datetime(2026, 1, 1, tzinfo=UTC)), verbose=True)

    def prepare(self, options: FingerSection) -> Callable[[], None]:
        return partial(self._frontend.adopt, _policy(options), options.header_senders)


def _policy(options: FingerSection) -> FingerPolicy:
    return FingerPolicy(
        full=options.answer == "full",
        facts=None if options.show is None else frozenset(options.show),
        user_list=options.user_list,
        ambiguous=options.ambiguous,
        forward=Forwarder([parse_target(text) for text in options.forward_to]) if options.forwarding else None,
    )


def open_finger(options: FingerSection, door: Door) -> Frontend:
    """Answers finger queries (RFC 1288)."""
    return _Finger(options, door)
