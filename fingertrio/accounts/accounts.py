"""From a proof to a `Writer`, with the throttle for failed attempts that all front ends share."""

from __future__ import annotations

import pwd
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Protocol

import trio

from fingertrio.accounts.store import TokenStore
from fingertrio.accounts.tokens import Token, TokensError, looks_like_token
from fingertrio.accounts.writer import Writer
from fingertrio.backend import BackendError
from fingertrio.names import canonical_name, is_user_name

_CREDENTIALS = struct.Struct("iII")  # struct ucred: pid, uid, gid (unix(7), SO_PEERCRED)

_LOOKUPS = 4  # in the password database at once, which may be on the network


class ProofError(Exception):
    """A proof was refused.

    Attributes:
        reason: a word for metrics: "throttled", "token", "expired", "peer".
        retry_after: seconds until another attempt is looked at, where the address is throttled; otherwise 0.
    """

    def __init__(self, message: str, reason: str, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.reason = reason
        self.retry_after = retry_after


class Throttle(Protocol):
    """Counts failed attempts by address; `net.limits.RateLimiter` is one."""

    def allow(self, peer: str, now: float) -> bool:
        """Count one failure of `peer`."""
        ...

    def wait(self, peer: str, now: float) -> float:
        """Seconds until `peer` may fail again."""
        ...


class Accounts:
    """Answers one question: for which user does this proof speak?

    Args:
        tokens: where the tokens are.
        failures: counts failed attempts of each address, over all front ends together.
        now: the clock that tokens expire by.
    """

    def __init__(
        self, tokens: TokenStore, failures: Throttle, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self.tokens = tokens
        self._failures = failures
        self._now = now
        self._lookups = trio.CapacityLimiter(_LOOKUPS)

    async def by_token(self, secret: str, *, peer: str, door: str) -> Writer:
        """The writer that a token speaks for.

        Args:
            secret: what the client sent.
            peer: its address, which failures count for; empty for a Unix socket.
            door: the front end's name.

        Raises:
            ProofError: it is no token, or one that has expired or was revoked; or too many attempts failed.
            TokensError, BackendError: the tokens cannot be read.
        """
        token = await self.check_token(secret, peer=peer)
        return writer_of(token, door)

    async def check_token(self, secret: str, *, peer: str) -> Token:
        """What is kept of a valid token. Arguments and errors as for `by_token`."""
        if (wait := self._failures.wait(peer, trio.current_time())) > 0:
            raise ProofError("too many failed attempts from your address, try again later", "throttled", wait)
        token = await self.tokens.find(secret) if looks_like_token(secret) else None
        if token is None:
            self._failed(peer)
            raise ProofError("this token is not valid", "token")
        if token.has_expired(self._now()):
            self._failed(peer)
            raise ProofError("this token has expired", "expired")
        with suppress(TokensError, BackendError):  # a file system that is full or read-only does not lock people out
            await self.tokens.used(token)
        return token

    async def by_peer(self, sock: socket.SocketType, *, door: str) -> Writer:
        """The writer at the other end of a connected Unix socket: the kernel tells its user id. Root may set everybody.

        Raises:
            ProofError: this user id has no login name that a status can have.
        """
        credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        _pid, uid, _gid = _CREDENTIALS.unpack(credentials)
        name = await trio.to_thread.run_sync(_login_name, uid, limiter=self._lookups, abandon_on_cancel=True)
        if name is None:
            raise ProofError(f"the user id {uid} has no login name here", "peer")
        return Writer(name, uid == 0, door, f"peer:{uid}")

    def _failed(self, peer: str) -> None:
        self._failures.allow(peer, trio.current_time())


def writer_of(token: Token, door: str) -> Writer:
    """The writer that a valid token speaks for at the front end `door`."""
    return Writer(token.user, token.scope == "admin", door, f"token:{token.id}")


def _login_name(uid: int) -> str | None:
    try:
        name = canonical_name(pwd.getpwuid(uid).pw_name)
    except KeyError:
        return None
    return name if is_user_name(name) else None
