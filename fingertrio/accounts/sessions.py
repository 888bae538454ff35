"""Web sessions: who signed in with a token is known by a signed cookie afterwards.

The cookie has the token's id, never the token, so it is worth nothing once the token is revoked or has expired: each
request looks the token up again. Nothing is kept for a session. Signing out is kept with the token, as a time: sessions
that began before it have ended, also a copy of the cookie that somebody made.

The keys that sign are in the document of the tokens (mode 0600, or in Redis), so all servers that share the tokens
share the sessions. A new key is made each month, and old ones check signatures until every session that they signed has
ended. Where the document cannot be written, a key in memory signs, and sessions end with the program.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from itsdangerous import BadData, URLSafeSerializer

from fingertrio.accounts.accounts import writer_of
from fingertrio.accounts.store import TokenStore
from fingertrio.accounts.tokens import Token, TokensError
from fingertrio.accounts.writer import Writer
from fingertrio.backend import BackendError

SESSION_LENGTH = timedelta(days=30)  # since the session was used last, exact to a day

_RENEWED_AFTER = timedelta(days=1)
_KEY_LENGTH = timedelta(days=30)  # that a key signs
_KEY_KEPT = _KEY_LENGTH + SESSION_LENGTH  # what it signed last has ended by then

_MICROSECOND = timedelta(microseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_SESSION = "session"  # a purpose, see `Seals`


class Seals:
    """Signs small values that a browser keeps for us, and opens them again.

    A value is sealed for one purpose and until a time. `open` returns None for everything that `seal` did not make for
    the same purpose, or that is past its time. The value can be read by everyone that has it.
    """

    def __init__(self, keys: Sequence[str], now: Callable[[], datetime]) -> None:
        self._keys = list(keys)  # the last one signs
        self._now = now

    def seal(self, purpose: str, value: object, length: timedelta) -> str:
        """`value`, which JSON can express, as text for cookies, forms and URLs."""
        ends = (self._now() + length - _EPOCH) // _MICROSECOND
        return self._serializer(purpose).dumps([ends, value])

    def open(self, purpose: str, text: str) -> Any:
        """The value in `text`, or None."""
        try:
            ends, value = self._serializer(purpose).loads(text)
        except (BadData, ValueError):
            return None
        return value if (self._now() - _EPOCH) // _MICROSECOND < ends else None

    def _serializer(self, purpose: str) -> URLSafeSerializer:
        return URLSafeSerializer(
            self._keys,
            salt=f"fingertrio.{purpose}",
            signer_kwargs={"digest_method": hashlib.sha256, "key_derivation": "hmac"},
        )


@dataclass(frozen=True, slots=True)
class Session:
    """A browser that is signed in.

    Attributes:
        token: what it signed in with, as it is now.
        begun: when.
        form: a random word of this session; a form that was made for it has a seal of it.
        is_old: its cookie should be renewed.
    """

    token: Token
    begun: datetime
    form: str
    is_old: bool

    def writer(self, door: str) -> Writer:
        """On whose behalf its requests write."""
        return writer_of(self.token, door)


class Sessions:
    """Begins, finds and ends sessions.

    Args:
        tokens: what can be signed in with.
        now: the clock that sessions end by.
    """

    def __init__(self, tokens: TokenStore, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._tokens = tokens
        self._now = now
        self._own = secrets.token_hex(32)

    async def seals(self) -> Seals:
        """The present keys.

        Raises:
            TokensError, BackendError: the tokens cannot be read.
        """
        keys = await self._tokens.session_keys()
        if await self._tokens.list():  # without a token nobody signs in, and strangers make no file
            with suppress(TokensError, BackendError):
                keys = await self._tokens.renew_session_keys(after=_KEY_LENGTH, keep=_KEY_KEPT)
        signs = [key.secret for key in keys if self._now() - key.created <= _KEY_KEPT]
        return Seals([self._own, *signs], self._now)

    def begin(self, seals: Seals, token: Token) -> str:
        """The cookie of a new session."""
        begun = self._now()
        if token.signed_out is not None:  # by a server whose clock may be ahead
            begun = max(begun, token.signed_out + _MICROSECOND)
        return self._cookie(seals, token, begun, secrets.token_urlsafe(16))

    def renew(self, seals: Seals, session: Session) -> str:
        """Another cookie for the same session, which lasts longer."""
        return self._cookie(seals, session.token, session.begun, session.form)

    async def find(self, seals: Seals, cookie: str) -> Session | None:
        """The session of a cookie; None: there is none, or it has ended.

        Raises:
            TokensError, BackendError: the tokens cannot be read.
        """
        match seals.open(_SESSION, cookie):
            case [str(token_id), int(began), int(renewed), str(form)]:
                pass
            case _:
                return None
        token = await self._tokens.find_id(token_id)
        if token is None or token.has_expired(self._now()):
            return None
        begun = _EPOCH + began * _MICROSECOND
        if token.signed_out is not None and begun <= token.signed_out:
            return None
        is_old = self._now() - (_EPOCH + renewed * _MICROSECOND) > _RENEWED_AFTER
        return Session(token, begun, form, is_old)

    def made(self, seals: Seals, cookie: str) -> bool:
        """Whether a cookie was made here, also if its session has ended. Others on this host use the same name."""
        return seals.open(_SESSION, cookie) is not None

    async def end(self, session: Session) -> None:
        """End the session, and every other one that was begun with the same token.

        Raises:
            TokensError, BackendError: the tokens cannot be written; the session lasts.
        """
        await self._tokens.sign_out(session.token, session.begun)

    def _cookie(self, seals: Seals, token: Token, begun: datetime, form: str) -> str:
        times = [(begun - _EPOCH) // _MICROSECOND, (self._now() - _EPOCH) // _MICROSECOND]
        return seals.seal(_SESSION, [token.id, *times, form], SESSION_LENGTH)
