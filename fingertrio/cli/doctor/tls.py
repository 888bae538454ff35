"""What a certificate says, and whether clients accept it, by the standard library alone.

Python decodes a certificate only after it was verified. So a handshake is made with the certificate itself as the only
thing trusted and without a look at the clock; then OpenSSL verifies every certificate, an expired one too.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import trio

from fingertrio.cli.doctor.installation import unverified
from fingertrio.clients.dial import RemoteError, UnreachableError, connect

# Flags of OpenSSL's X509_VERIFY_PARAM_set_flags(3) that the module does not name in Python 3.11.
_PARTIAL_CHAIN = ssl.VerifyFlags(0x80000)
_NO_CHECK_TIME = ssl.VerifyFlags(0x200000)

Fault = Literal["expired", "early", "name", "chain", "self-signed", "other"]

# Results of X509_verify_cert(3).
_FAULTS: Mapping[int, Fault] = {
    9: "early",
    10: "expired",
    18: "self-signed",
    19: "self-signed",
    20: "chain",
    21: "chain",
    62: "name",
    64: "name",
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why a client refuses a certificate: a kind, and OpenSSL's words."""

    fault: Fault
    text: str


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a certificate says.

    Attributes:
        begins, ends: from when and until when it is valid.
        names: its host names and addresses.
        issuer: who signed it.
    """

    begins: datetime
    ends: datetime
    names: tuple[str, ...]
    issuer: str

    @property
    def name(self) -> str:
        """A host name that it is valid for; empty: there is none."""
        return self.names[0].replace("*", "any", 1) if self.names else ""

    @property
    def days(self) -> float:
        """How long it is valid altogether."""
        return (self.ends - self.begins).total_seconds() / 86_400

    def days_left(self, now: datetime) -> float:
        """Until it ends; negative: since."""
        return (self.ends - now).total_seconds() / 86_400


def shake_hands(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> ssl.SSLObject:
    """The client's side of a handshake in memory.

    Raises:
        ssl.SSLError: it failed, such as SSLCertVerificationError.
    """
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname=name or None),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    left = list(ends)
    while left:
        for end in list(left):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            left.remove(end)
    return ends[0]


def trusting(certificate: bytes) -> ssl.SSLContext:
    """A context that accepts this certificate (DER) and no other, whatever the date and the name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_flags |= _PARTIAL_CHAIN | _NO_CHECK_TIME
    context.load_verify_locations(cadata=certificate)
    return context


def describe(found: Mapping[str, Any]) -> Certificate:
    """A certificate in the form of `getpeercert`, which has content only after a handshake that verified it."""
    issuer = {key: value for part in found.get("issuer", ()) for key, value in part}
    return Certificate(
        datetime.fromtimestamp(ssl.cert_time_to_seconds(found["notBefore"]), UTC),
        datetime.fromtimestamp(ssl.cert_time_to_seconds(found["notAfter"]), UTC),
        tuple(value for kind, value in found.get("subjectAltName", ()) if kind in {"DNS", "IP Address"}),
        issuer.get("organizationName") or issuer.get("commonName") or "?",
    )


def verdict(error: ssl.SSLError) -> Verdict:
    """What a failed handshake says of the certificate."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return Verdict(_FAULTS.get(error.verify_code, "other"), error.verify_message)
    return Verdict("other", (error.reason or str(error)).replace("_", " ").lower())


@dataclass(frozen=True, slots=True)
class Served:
    """The certificate that a server shows, and why a client refuses it, if it does."""

    der: bytes
    certificate: Certificate
    refused: Verdict | None


async def look_at_served(host: str, port: int, name: str, trust: ssl.SSLContext | None) -> Served:
    """The certificate that a server shows.

    Args:
        host: where to connect.
        port: where to connect.
        name: the server's name (SNI), which the certificate must have.
        trust: the trusted certificates; None: whether it is trusted does not matter.

    Raises:
        RemoteError: nothing answers, or it does not speak TLS.
    """
    refused = None
    if trust is not None:
        found = await _shake_hands(host, port, name, trust)
        refused = found if isinstance(found, Verdict) else None
    shown = await _shake_hands(host, port, name, unverified())
    if isinstance(shown, Verdict):
        raise RemoteError(f"{host}: no TLS: {shown.text}")
    read = await _shake_hands(host, port, name, trusting(shown.der))
    if isinstance(read, Verdict):
        raise RemoteError(f"{host}: its certificate cannot be read: {read.text}")
    return Served(shown.der, describe(read.details), refused)


@dataclass(frozen=True, slots=True)
class _Shown:
    """What the other side of a handshake has shown, as DER and as `getpeercert` describes it."""

    der: bytes
    details: Mapping[str, Any]


async def _shake_hands(host: str, port: int, name: str, context: ssl.SSLContext) -> _Shown | Verdict:
    async with await connect(host, port) as stream:
        secured = trio.SSLStream(stream, context, server_hostname=name or host, https_compatible=True)
        try:
            await secured.do_handshake()
        except trio.BrokenResourceError as error:
            if isinstance(error.__cause__, ssl.SSLError):
                return verdict(error.__cause__)
            raise UnreachableError(f"{host}: the connection was reset during the handshake") from error
        return _Shown(secured.getpeercert(binary_form=True) or b"", secured.getpeercert() or {})
