"""Tokens, and the JSON document that holds them and the keys of web sessions. No I/O.

A token is `ft_` and 256 random bits in base 32, so that scanners for leaked secrets can find it. The document has only
its SHA-256: a fast hash is enough, because there is nothing to guess. `id` names a token without giving it away.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, cast

from fingertrio.names import check_user_name

Scope = Literal["set", "admin"]

PREFIX = "ft_"
LABEL_LIMIT = 100  # characters

_SECRET = re.compile(r"ft_[a-z2-7]{52}", re.ASCII)  # 256 bits are 52 characters of 5 bits
_ID_LENGTH = 8
_VERSION = 1


class TokensError(Exception):
    """The document cannot be used; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Token:
    """What is kept of a token.

    Attributes:
        id: its public name; eight characters.
        digest: SHA-256 of the secret, in hexadecimal.
        user: whose status it sets.
        label: what it is for, in its owner's words; may be empty.
        scope: "set" for that user's status, "admin" for every user's.
        created, expires, last_used: aware; `last_used` is exact to the day.
        signed_out: web sessions that began at this time or before have ended.
    """

    id: str
    digest: str
    user: str
    label: str
    scope: Scope
    created: datetime
    expires: datetime | None = None
    last_used: datetime | None = None
    signed_out: datetime | None = None

    def has_expired(self, now: datetime) -> bool:
        """Whether it is past its `expires`."""
        return self.expires is not None and now >= self.expires


@dataclass(frozen=True, slots=True)
class SessionKey:
    """A key that signs web sessions (`accounts.sessions`): 256 random bits, in hexadecimal, and when it was made."""

    secret: str
    created: datetime


def make_session_key(now: datetime) -> SessionKey:
    """A new key."""
    return SessionKey(secrets.token_hex(32), now)


def make_token(
    user: str, *, now: datetime, label: str = "", scope: Scope = "set", expires: datetime | None = None
) -> tuple[str, Token]:
    """A new secret, to be shown once, and what is kept of it.

    Raises:
        ValueError: the name cannot be a user's, the label is too long, or the token would have expired already.
    """
    user = check_user_name(user)
    if len(label) > LABEL_LIMIT or not label.isprintable():
        raise ValueError(f"a label is one printable line of at most {LABEL_LIMIT} characters")
    if expires is not None and expires <= now:
        raise ValueError("the token would have expired already")
    secret = PREFIX + base64.b32encode(secrets.token_bytes(32)).decode("ascii").rstrip("=").lower()
    digest = digest_of(secret)
    return secret, Token(_id_of(digest), digest, user, label, scope, now, expires)


def looks_like_token(text: str) -> bool:
    """Whether `text` has the form of a token, whatever it opens."""
    return _SECRET.fullmatch(text) is not None


def digest_of(secret: str) -> str:
    """What is kept of a secret."""
    return hashlib.sha256(secret.encode()).hexdigest()


def _id_of(digest: str) -> str:
    return base64.b32encode(bytes.fromhex(digest)).decode("ascii")[:_ID_LENGTH].lower()


def dump(tokens: Iterable[Token], keys: Sequence[SessionKey] = ()) -> bytes:
    """The document."""
    document: dict[str, object] = {"version": _VERSION, "tokens": [_to_json(token) for token in tokens]}
    if keys:
        document["session_keys"] = [{"key": key.secret, "created": key.created.isoformat()} for key in keys]
    return f"{json.dumps(document, ensure_ascii=False, indent=1)}\n".encode()


def load(document: bytes | None) -> list[Token]:
    """The tokens in `document`; None is a document that does not exist yet.

    Raises:
        TokensError: it is not a document that `dump` writes.
    """
    return load_all(document)[0]


def load_all(document: bytes | None) -> tuple[list[Token], list[SessionKey]]:
    """The tokens in `document` and the keys of web sessions, oldest first. Raises TokensError as `load` does."""
    if document is None:
        return [], []
    try:
        found = json.loads(document)
        if found["version"] != _VERSION:
            raise TokensError(f"the tokens have version {found['version']!r}; this fingertrio reads version {_VERSION}")
        keys = [SessionKey(_hexadecimal(key["key"]), _moment(key["created"])) for key in found.get("session_keys", ())]
        return [_from_json(entry) for entry in found["tokens"]], keys
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise TokensError(
            "the tokens are damaged: restore the file from a backup, or delete it and make new tokens"
        ) from error


def _to_json(token: Token) -> Mapping[str, str | None]:
    optional = {} if token.signed_out is None else {"signed_out": token.signed_out.isoformat()}
    return {
        "id": token.id,
        "sha256": token.digest,
        "user": token.user,
        "label": token.label,
        "scope": token.scope,
        "created": token.created.isoformat(),
        "expires": _text(token.expires),
        "last_used": _text(token.last_used),
        **optional,
    }


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _from_json(entry: Mapping[str, str | None]) -> Token:
    texts = {key: entry[key] for key in ("id", "sha256", "user", "label", "scope", "created")}
    if not all(isinstance(text, str) for text in texts.values()) or texts["scope"] not in {"set", "admin"}:
        raise ValueError("a token has a field of the wrong type")
    known = cast("Mapping[str, str]", texts)
    _hexadecimal(known["sha256"])
    return Token(
        id=known["id"],
        digest=known["sha256"],
        user=known["user"],
        label=known["label"],
        scope=cast("Scope", known["scope"]),
        created=_moment(known["created"]),
        expires=_optional(entry["expires"]),
        last_used=_optional(entry["last_used"]),
        signed_out=_optional(entry.get("signed_out")),
    )


def _hexadecimal(text: str) -> str:
    bytes.fromhex(text)
    return text


def _optional(text: str | None) -> datetime | None:
    return None if text is None else _moment(text)


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.utcoffset() is None:
        raise ValueError("a time without a zone")
    return moment
