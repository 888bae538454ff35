"""SASL mechanisms as an IRC client uses them: PLAIN, EXTERNAL, SCRAM-SHA-256. No I/O.

A mechanism is a generator of responses: `respond` takes the server's challenge and returns the response, both as bytes.
`split_response` and `Challenges` are the framing of IRCv3: base64 in pieces of 400 characters, and a last "+" where the
text ends at a border.

SCRAM-SHA-256 (RFC 5802, RFC 7677), without channel binding:

    client   n,,n=USER,r=NONCE
    server   r=NONCE+MORE,s=SALT,i=ITERATIONS
    client   c=biws,r=NONCE+MORE,p=PROOF
    server   v=SIGNATURE          proves that the server knows our password too
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
import stringprep
import unicodedata
from typing import Protocol

from fingertrio.wire.irc_secrets import Secret

CHUNK = 400  # characters of base64 in one AUTHENTICATE

# Under 4096 the password could be guessed from what passes on the line (RFC 7677 section 4); a large number would only
# keep us busy: 500,000 take a fifth of a second.
_LEAST_ITERATIONS = 4096
_MOST_ITERATIONS = 500_000

# Bytes of all challenges of one exchange. A SCRAM message has some 150.
_CHALLENGE_LIMIT = 8192

# Tables of characters that SASLprep prohibits (RFC 4013 section 2.3).
_PROHIBITED = (
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
)


class SASLError(Exception):
    """The server's part of an exchange is not valid. The message contains nothing secret."""


class Mechanism(Protocol):
    """One attempt to log in."""

    def respond(self, challenge: bytes) -> bytes:
        """The response to a challenge; the first challenge is empty. Raises SASLError."""
        ...

    @property
    def is_satisfied(self) -> bool:
        """Whether the server has proved what it must, so that its success counts."""
        ...


class External:
    """EXTERNAL (RFC 4422): the TLS certificate is the proof, and the account is the one that it belongs to."""

    is_satisfied = True

    def respond(self, challenge: bytes) -> bytes:
        """Nothing: the server knows the certificate."""
        del challenge
        return b""


class Plain:
    """PLAIN (RFC 4616): account and password as they are."""

    is_satisfied = True

    def __init__(self, account: str, password: Secret) -> None:
        self._account = account
        self._password = password

    def respond(self, challenge: bytes) -> bytes:
        """The account as authorization and authentication identity, and the password."""
        del challenge
        return f"{self._account}\0{self._account}\0{self._password.reveal()}".encode()


class ScramSHA256:
    """SCRAM-SHA-256: neither side sends the password, and both prove that they know it.

    Args:
        account: the account.
        password: its password.
        nonce: random printable ASCII without commas; for tests.

    Raises:
        SASLError: the account or the password cannot be used.
    """

    def __init__(self, account: str, password: Secret, nonce: str | None = None) -> None:
        name = saslprep(account).replace("=", "=3D").replace(",", "=2C")
        self._nonce = nonce or secrets.token_urlsafe(24)
        self._password = saslprep(password.reveal())
        self._first = f"n={name},r={self._nonce}"
        self._signature: bytes | None = None
        self._step = 0
        self.is_satisfied = False

    def respond(self, challenge: bytes) -> bytes:
        """The next message of the exchange."""
        self._step += 1
        match self._step:
            case 1:
                return f"n,,{self._first}".encode()
            case 2:
                return self._prove(challenge)
            case 3:
                self._check_server(challenge)
                return b""
        raise SASLError("the server continues after the end of SCRAM")

    def _prove(self, challenge: bytes) -> bytes:
        fields = _fields(challenge)
        nonce, salt, iterations = _base_fields(fields)
        if not nonce.startswith(self._nonce) or len(nonce) == len(self._nonce):
            raise SASLError("the server's nonce does not begin with ours")
        salted = hashlib.pbkdf2_hmac("sha256", self._password.encode(), salt, iterations)
        client_key = _hmac(salted, b"Client Key")
        final = f"c=biws,r={nonce}"  # biws: "n,," in base64
        signed = b",".join((self._first.encode(), challenge, final.encode()))
        proof = _xor(client_key, _hmac(hashlib.sha256(client_key).digest(), signed))
        self._signature = _hmac(_hmac(salted, b"Server Key"), signed)
        return f"{final},p={base64.b64encode(proof).decode()}".encode()

    def _check_server(self, challenge: bytes) -> None:
        fields = _fields(challenge)
        if "e" in fields:
            raise SASLError("the server rejects the proof")
        if self._signature is None or not hmac.compare_digest(_base64(fields.get("v", "")), self._signature):
            raise SASLError("the server's signature is wrong: it does not know the password")
        self.is_satisfied = True


def saslprep(text: str) -> str:
    """Prepare a name or a password for comparison (RFC 4013). ASCII stays as it is.

    Raises:
        SASLError: `text` has characters that are prohibited.
    """
    mapped = (" " if stringprep.in_table_c12(char) else char for char in text if not stringprep.in_table_b1(char))
    prepared = unicodedata.normalize("NFKC", "".join(mapped))
    if any(is_in(char) for char in prepared for is_in in _PROHIBITED):
        raise SASLError("the account or the password has a character that SASL prohibits")
    right_to_left = any(map(stringprep.in_table_d1, prepared))
    ends = prepared and stringprep.in_table_d1(prepared[0]) and stringprep.in_table_d1(prepared[-1])
    if right_to_left and (any(map(stringprep.in_table_d2, prepared)) or not ends):
        raise SASLError("the account or the password mixes writing directions")
    return prepared


def split_response(response: bytes) -> list[str]:
    """The params of the AUTHENTICATE lines that carry `response`."""
    text = base64.b64encode(response).decode()
    pieces = [text[start : start + CHUNK] for start in range(0, len(text), CHUNK)]
    if len(text) % CHUNK == 0:  # also where there is nothing
        pieces.append("+")
    return pieces


class Challenges:
    """Joins the server's AUTHENTICATE lines."""

    def __init__(self) -> None:
        self._text = ""

    def feed(self, piece: str) -> bytes | None:
        """A whole challenge, or None: more is to come. Raises SASLError."""
        if piece != "+":
            self._text += piece
        if len(self._text) > _CHALLENGE_LIMIT:
            raise SASLError("the challenge is too long")
        if len(piece) == CHUNK:
            return None
        text, self._text = self._text, ""
        return _base64(text)


def _base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise SASLError("the server's challenge is not base64") from None


def _fields(challenge: bytes) -> dict[str, str]:
    """`a=x,b=y`. The first of two with the same name counts."""
    try:
        text = challenge.decode()
    except UnicodeDecodeError:
        raise SASLError("the server's challenge is not UTF-8") from None
    fields: dict[str, str] = {}
    for part in text.split(","):
        name, _, value = part.partition("=")
        fields.setdefault(name, value)
    return fields


def _base_fields(fields: dict[str, str]) -> tuple[str, bytes, int]:
    """Nonce, salt and iterations of the server's first message."""
    if "m" in fields:
        raise SASLError("the server requires an extension of SCRAM")
    number = fields.get("i", "")
    iterations = int(number) if number.isascii() and number.isdigit() and len(number) < 9 else 0
    if not _LEAST_ITERATIONS <= iterations <= _MOST_ITERATIONS:
        raise SASLError(f"the server's iteration count is not between {_LEAST_ITERATIONS} and {_MOST_ITERATIONS}")
    salt = _base64(fields.get("s", ""))
    if not salt:
        raise SASLError("the server sends no salt")
    return fields.get("r", ""), salt, iterations


def _hmac(key: bytes, data: bytes) -> bytes:
    return hmac.digest(key, data, "sha256")


def _xor(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other, strict=True))
