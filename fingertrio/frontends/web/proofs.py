"""From a request to the writer on whose behalf it writes: the Bearer token, and how often one address may write."""

from __future__ import annotations

import math

import trio
from quart import request
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import TooManyRequests, Unauthorized

from fingertrio.accounts.accounts import Accounts, ProofError
from fingertrio.accounts.writer import Writer
from fingertrio.net.limits import RateLimiter
from fingertrio.observe.observer import Observer

_REALM = "fingertrio"


class Proofs:
    """What the routes that write ask first.

    Args:
        accounts: knows the tokens.
        rate: how often one address may write.
        observer: counts refusals.
    """

    def __init__(self, accounts: Accounts, rate: RateLimiter | None, observer: Observer) -> None:
        self._accounts = accounts
        self._rate = rate
        self._observer = observer

    async def writer(self, token: str | None = None, *, door: str = "http", counts: bool = True) -> Writer:
        """The writer of this request, by `token` or by its Authorization header.

        Args:
            token: the secret; None: look at the header.
            door: the front end's name, for metrics and the audit line.
            counts: whether this is a write, so that it counts for the limit.

        Raises:
            ProofError: there is no token, it is not valid, or this address failed or wrote too often.
            TokensError, BackendError: the tokens cannot be read.
        """
        peer = client_address()
        try:
            if counts:
                self._count_write(peer)
            return await self._accounts.by_token(token or _bearer(), peer=peer, door=door)
        except ProofError as error:
            self._observer.refused(door, error.reason)
            raise

    def _count_write(self, peer: str) -> None:
        now = trio.current_time()
        if self._rate is not None and not self._rate.allow(peer, now):
            wait = self._rate.wait(peer, now)
            raise ProofError("too many statuses set from your address, try again later", "rate", wait)


def client_address() -> str:
    """The address that limits count; empty for a client of a unix socket."""
    client = request.scope.get("client")
    return client[0] if client else ""


def _bearer() -> str:
    """The token in the Authorization header (RFC 6750 section 2.1)."""
    scheme, _, token = request.headers.get("Authorization", "").strip().partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise ProofError("a token is needed: send Authorization: Bearer and your token", "missing")
    return token.strip()


def refusal(error: ProofError) -> Unauthorized | TooManyRequests:
    """A refused proof as an HTTP error: 401 with a challenge (RFC 6750 section 3), or 429."""
    text = str(error)
    if error.retry_after:
        return TooManyRequests(text, retry_after=math.ceil(error.retry_after))
    values: dict[str, str | None] = {"realm": _REALM}
    if error.reason != "missing":
        values |= {"error": "invalid_token", "error_description": text}
    return Unauthorized(text, www_authenticate=WWWAuthenticate("bearer", values))
