"""Where the tokens are kept, and how they change while several programs use them.

All tokens are one small document (`accounts.tokens`). A `Document` can be read and, if it has not changed meanwhile,
replaced. So the command line and any number of servers work on the same document without a server in between, and a
token that is added or revoked counts from the next request on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Protocol

import trio

from fingertrio.accounts.tokens import (
    Scope,
    SessionKey,
    Token,
    TokensError,
    digest_of,
    dump,
    load_all,
    make_session_key,
    make_token,
)
from fingertrio.wire.backoff import Backoff

# Seconds: how long a document is tried to be replaced that other programs change too, and the first and longest pause
# between two attempts. An attempt takes a millisecond, or many where the disk is slow, and one program wins each time.
_PATIENCE = 10.0
_PAUSES = (0.005, 0.25)


class Document(Protocol):
    """A small document that several programs share."""

    async def read(self) -> bytes | None:
        """The document; None: there is none yet. Raises TokensError or BackendError where it cannot be read."""
        ...

    async def replace(self, document: bytes, old: bytes | None) -> bool:
        """Put `document` in the place of `old`; False: it is no longer `old`, and nothing changed.

        When this returns True, the document outlasts a crash. Raises TokensError or BackendError where it cannot be
        written.
        """
        ...


class TokenStore:
    """The tokens in one document."""

    def __init__(self, document: Document, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._document = document
        self._now = now
        self._read: bytes | None = None  # the document that `_tokens` comes from
        self._tokens: dict[str, Token] = {}  # by digest
        self._keys: Sequence[SessionKey] = ()

    async def find(self, secret: str) -> Token | None:
        """The token with this secret, expired or not; None: there is none."""
        await self._refresh()
        return self._tokens.get(digest_of(secret))

    async def list(self) -> Sequence[Token]:
        """Every token, oldest first."""
        await self._refresh()
        return list(self._tokens.values())

    async def find_id(self, token_id: str) -> Token | None:
        """The token with this id."""
        await self._refresh()
        return next((token for token in self._tokens.values() if token.id == token_id), None)

    async def add(
        self, user: str, *, label: str = "", scope: Scope = "set", expires: datetime | None = None
    ) -> tuple[str, Token]:
        """Make a token; its secret and what is kept of it. Raises ValueError as `make_token` does."""
        secret, token = make_token(user, now=self._now(), label=label, scope=scope, expires=expires)
        await self._change(lambda tokens: [*tokens, token])
        return secret, token

    async def revoke(self, token_id: str) -> Token:
        """Remove a token and return what was kept of it. Raises LookupError where there is none with this id."""
        token = await self.find_id(token_id)
        if token is None:
            raise LookupError(f"there is no token with the id {token_id}")
        await self._change(lambda tokens: [other for other in tokens if other.digest != token.digest])
        return token

    async def revoke_user(self, user: str) -> int:
        """Remove every token of `user`; how many there were."""
        count = sum(token.user == user for token in await self.list())
        if count:
            await self._change(lambda tokens: [token for token in tokens if token.user != user])
        return count

    async def used(self, token: Token) -> None:
        """Remember that `token` was used today. Written at most once a day for each token."""
        today = self._now().replace(hour=0, minute=0, second=0, microsecond=0)
        if token.last_used is None or token.last_used < today:
            await self._change(
                lambda tokens: [
                    replace(other, last_used=today) if other.digest == token.digest else other for other in tokens
                ]
            )

    async def sign_out(self, token: Token, begun: datetime) -> None:
        """End the web sessions that were begun with `token`, also the one that began at `begun`.

        The clock of the server where a session began, or was last ended, may be ahead: the time never goes back.
        """
        at_least = max(self._now(), begun)

        def ended(other: Token) -> Token:
            return replace(other, signed_out=max(at_least, other.signed_out or at_least))

        await self._change(lambda tokens: [ended(other) if other.digest == token.digest else other for other in tokens])

    async def end_sessions(self) -> None:
        """End every web session, by forgetting the keys that signed them."""
        await self._change(lambda tokens: tokens, lambda _keys: ())

    async def session_keys(self) -> Sequence[SessionKey]:
        """The keys that web sessions are signed with, oldest first."""
        await self._refresh()
        return self._keys

    async def renew_session_keys(self, *, after: timedelta, keep: timedelta) -> Sequence[SessionKey]:
        """Add a key if the newest is older than `after`, and drop those older than `keep`; the keys from now on."""
        now = self._now()
        if not self._keys or now - self._keys[-1].created > after:

            def renew(keys: Sequence[SessionKey]) -> Sequence[SessionKey]:
                if keys and now - keys[-1].created <= after:
                    return keys  # another server was faster
                return [*(key for key in keys if now - key.created <= keep), make_session_key(now)]

            await self._change(lambda tokens: tokens, renew)
        return self._keys

    async def _refresh(self) -> None:
        document = await self._document.read()
        if document != self._read or document is None:
            self._take(document)

    def _take(self, document: bytes | None) -> None:
        tokens, self._keys = load_all(document)
        self._tokens = {token.digest: token for token in tokens}
        self._read = document

    async def _change(
        self,
        change: Callable[[Sequence[Token]], Sequence[Token]],
        renew: Callable[[Sequence[SessionKey]], Sequence[SessionKey]] = lambda keys: keys,
    ) -> None:
        backoff, latest = Backoff(*_PAUSES), trio.current_time() + _PATIENCE
        while True:
            old = await self._document.read()
            tokens, keys = load_all(old)
            new = dump(change(tokens), renew(keys))
            if new == old or await self._document.replace(new, old):
                self._take(new)
                return
            if trio.current_time() >= latest:
                raise TokensError("the tokens are changed by others all the time; try again")
            await trio.sleep(backoff.pause())
