"""Tokens: random strings that speak for a user. What is stored of them is of no use to a thief."""

import hashlib
import hmac
import secrets
from collections import Counter
from collections.abc import Mapping

import trio

TRIES = 5  # wrong tokens from one address
FORGET = 60.0  # seconds after which they are forgotten


def new_token() -> str:
    """Return a token: 256 random bits, with a prefix by which it is recognised where it does not belong."""
    return f"finger_{secrets.token_urlsafe(32)}"


def digest(token: str) -> str:
    """Return what is stored of a token. It is long and random, so a fast hash without salt is enough."""
    return hashlib.sha256(token.encode()).hexdigest()


class Tokens:
    """Whose token is it? The file of the operator has digests only, so what is stored is of no use."""

    def __init__(self, users: Mapping[str, str]) -> None:
        self._users = users  # digest: user
        self._failures: Counter[str] = Counter()
        self._since = 0.0

    def user_of(self, token: str, address: str) -> str:
        """Return the user of a token. Raise ValueError."""
        if trio.current_time() - self._since > FORGET:
            self._failures.clear()
            self._since = trio.current_time()
        if self._failures[address] >= TRIES:
            raise ValueError("Too many wrong tokens, try again later")
        offered, found = digest(token), ""
        for stored, user in self._users.items():  # all of them: the time must not tell how far it got
            if hmac.compare_digest(stored, offered):
                found = user
        if not found:
            self._failures[address] += 1
            raise ValueError("This token is not known")
        return found
