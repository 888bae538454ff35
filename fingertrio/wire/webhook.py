"""Webhooks as in the Standard Webhooks specification 1.0.0: messages, signatures, and what an answer means. Sans-IO.

A message is a POST whose body is JSON with `type`, `timestamp` (of the event) and `data`. Its three headers:

    webhook-id:         the same for every attempt to deliver one message
    webhook-timestamp:  of this attempt, in seconds since 1970
    webhook-signature:  "v1," and base64 of HMAC-SHA256 over "ID.TIMESTAMP.BODY"; several, separated by spaces, while a
                        secret is being replaced

An id has no full stop: otherwise one signature could stand for two different messages. The symmetric scheme (v1) is the
one that every receiver's library knows; the asymmetric one (v1a) needs a dependency on a cryptographic library.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import Enum

from fingertrio.wire.live import timestamp
from fingertrio.wire.user_json import User, user_json

PREFIX = "whsec_"

# Bytes of a secret. The specification: 192 to 512 bits.
SHORTEST, LONGEST = 24, 64
_GENERATED = 32  # bytes; as long as the hash that it is for

# The types of events.
CHANGED = "status.changed"
REMOVED = "status.removed"
TEST = "status.test"

_SECONDS = re.compile(r"[0-9]{1,10}")


class SigningSecret:
    """A secret that signs messages. Neither `repr` nor `str` shows it."""

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        self._key = key

    @classmethod
    def parse(cls, text: str) -> SigningSecret:
        """Parse "whsec_" and base64, with or without padding.

        Raises:
            ValueError: it is something else, or too short or too long. The message does not contain the text.
        """
        encoded = text.removeprefix(PREFIX)
        if encoded == text:
            raise ValueError(f'expected a secret that begins with "{PREFIX}"; fingertrio webhook secret makes one')
        try:
            key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
        except (binascii.Error, ValueError):  # ValueError: not ASCII
            raise ValueError(f'what follows "{PREFIX}" is not base64') from None
        if not SHORTEST <= len(key) <= LONGEST:
            raise ValueError(f"the secret has {len(key)} bytes; expected {SHORTEST} to {LONGEST}")
        return cls(key)

    @classmethod
    def generate(cls) -> SigningSecret:
        """A new random secret."""
        return cls(secrets.token_bytes(_GENERATED))

    def reveal(self) -> str:
        """The text that `parse` reads, for the receiver's configuration and for nothing else."""
        return PREFIX + base64.b64encode(self._key).decode()

    def sign(self, message_id: str, at: int, body: bytes) -> str:
        """The signature of one attempt at `at`, in seconds since 1970."""
        signed = f"{message_id}.{at}.".encode() + body
        return "v1," + base64.b64encode(hmac.digest(self._key, signed, hashlib.sha256)).decode()

    def __repr__(self) -> str:
        return "SigningSecret(***)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SigningSecret) and hmac.compare_digest(self._key, other._key)

    def __hash__(self) -> int:
        return hash(self._key)


def new_id() -> str:
    """The id of a new message."""
    return f"msg_{secrets.token_hex(16)}"


def headers(message_id: str, at: int, body: bytes, signing: Sequence[SigningSecret]) -> dict[str, str]:
    """The headers of one attempt.

    Args:
        message_id: from `new_id`.
        at: when this attempt is made, in seconds since 1970.
        body: exactly the bytes that are sent.
        signing: the secrets, the current one first.
    """
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(at),
        "webhook-signature": " ".join(secret.sign(message_id, at, body) for secret in signing),
    }


def changed(info: User, at: datetime) -> bytes:
    """The body for a user whose status or details have changed; the status is empty if it was cleared."""
    return _body(CHANGED, at, user_json(info))


def removed(user: str, at: datetime) -> bytes:
    """The body for a user who is no longer shown."""
    return _body(REMOVED, at, {"user": user})


def test(name: str, at: datetime) -> bytes:
    """The body of a message that only tests the webhook `name`."""
    return _body(TEST, at, {"webhook": name})


def digest(info: User) -> bytes:
    """A hash of the message about a user: two states with the same hash look the same to a receiver."""
    return hashlib.blake2b(_dump(user_json(info)), digest_size=16).digest()


def _body(kind: str, at: datetime, data: Mapping[str, object]) -> bytes:
    return _dump({"type": kind, "timestamp": timestamp(at), "data": data})


def _dump(document: Mapping[str, object]) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


class Verdict(Enum):
    """What became of one attempt."""

    DELIVERED = "delivered"
    REJECTED = "rejected"  # this message failed; others may succeed
    UNAVAILABLE = "unavailable"  # the receiver cannot take any message now
    GONE = "gone"  # the receiver wants no more messages


# No answer in time, too many requests, and a proxy without its server: they say nothing about the message.
_BUSY = frozenset({408, 425, 429, 502, 503, 504})


def judge(status: int) -> Verdict:
    """What an HTTP status means. A redirect is a failure: a redirected message could go to any address."""
    if 200 <= status <= 299:
        return Verdict.DELIVERED
    if status == 410:
        return Verdict.GONE
    return Verdict.UNAVAILABLE if status in _BUSY else Verdict.REJECTED


def parse_retry_after(value: str | None, now: datetime) -> float:
    """The seconds of a Retry-After header (RFC 9110 section 10.2.3); 0.0: there is none, or it cannot be read."""
    if value is None:
        return 0.0
    if _SECONDS.fullmatch(value.strip()):
        return float(value)
    try:
        until = parsedate_to_datetime(value)
        until = until.replace(tzinfo=UTC) if until.tzinfo is None else until
        return max(0.0, (until - now) / timedelta(seconds=1))
    except (ValueError, TypeError, IndexError, OverflowError):
        return 0.0
