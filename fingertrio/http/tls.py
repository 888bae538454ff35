"""Load the certificate of an https door, or of the setter, with modern TLS settings and clear error messages.

OpenSSL reports "PEM lib" for most mistakes and never names the file. So each file is checked by itself, and the error
names the file and the reason.
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal, NoReturn

import trio

from fingertrio.http.limits import HANDSHAKE_COST
from fingertrio.net.budget import ByteBudget

# A fatal alert "internal_error" (RFC 8446 section 6) for a client that is refused before its handshake.
BUSY_ALERT = b"\x15\x03\x03\x00\x02\x02\x50"

TlsStream = trio.SSLStream[trio.SocketStream]

# Bytes that are decrypted at once: one record (RFC 8446 section 5.1).
_RECORD = 16384

Which = Literal["certfile", "keyfile"]


class CertificateError(ValueError):
    """The certificate file or the key file cannot be used.

    Attributes:
        which: the parameter of `make_tls_context` that names the file.
    """

    def __init__(self, which: Which, path: Path, reason: str) -> None:
        super().__init__(f'"{path}" {reason}')
        self.which = which


def make_tls_context(
    certfile: Path, keyfile: Path | None, *, protocols: Sequence[str] = ("h2", "http/1.1")
) -> ssl.SSLContext:
    """TLS 1.2 and newer, offering HTTP/2. TLS 1.2 has only the cipher suites that RFC 9113 section 9.2.2 permits.

    Args:
        certfile: PEM file with the certificate chain.
        keyfile: PEM file with the key; None: the key is in `certfile`.
        protocols: what is spoken over it (ALPN, RFC 7301), best first.

    Raises:
        CertificateError: a file cannot be read, has the wrong contents, or does not match the other file.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(protocols)
    _load(context, certfile, keyfile)
    return context


def unsent_alert(stream: trio.SSLStream[trio.SocketStream]) -> bytes:
    """The alert that OpenSSL made when the handshake failed.

    Trio raises an exception and does not send it, so the client would see only the end of the connection. There is no
    public access to the buffer.
    """
    return stream._outgoing.read()  # noqa: SLF001


async def shake_hands(stream: TlsStream, memory: ByteBudget) -> bytes | None:
    """The handshake. Returns None, or if it failed the alert for the client: `BUSY_ALERT` if there is no memory."""
    if not memory.take(HANDSHAKE_COST):
        return BUSY_ALERT
    try:
        await stream.do_handshake()
    except trio.BrokenResourceError:
        return unsent_alert(stream)
    finally:
        memory.give_back(HANDSHAKE_COST)
    return None


def decrypt(stream: TlsStream, data: bytes) -> bytes:
    """What `data`, received just now, and what was received before contain; empty: no whole record.

    This uses the objects inside Trio's stream, without its locks and checkpoints. No task may use it meanwhile.

    Raises:
        EOFError: the client has sent its closing alert, and nothing before it.
        ssl.SSLError: the client broke the protocol.
    """
    stream._incoming.write(data)  # noqa: SLF001
    read, parts = stream._ssl_object.read, []  # noqa: SLF001
    with suppress(ssl.SSLWantReadError):
        while part := read(_RECORD):
            parts.append(part)
        if not parts:
            raise EOFError
    return b"".join(parts)


def encrypt(stream: TlsStream, data: bytes) -> bytes:
    """The bytes to send for `data`, and for what the protocol itself has to say. See `decrypt`."""
    if data:
        stream._ssl_object.write(data)  # noqa: SLF001
    sent = stream._outgoing.read()  # noqa: SLF001
    # Trio keeps TLS 1.3's session tickets until the first answer: a client that only connects would not read them.
    if sent and (tickets := stream._delayed_outgoing) is not None:  # noqa: SLF001
        stream._delayed_outgoing = None  # noqa: SLF001
        return tickets + sent
    return sent


def is_quiet(stream: TlsStream) -> bool:
    """Whether nothing that was encrypted earlier is on its way, or waits to be sent. Session tickets may wait."""
    return not (stream._inner_send_lock.locked() or stream._outgoing.pending)  # noqa: SLF001


def put_back(stream: TlsStream, rest: memoryview) -> None:
    """Take back encrypted bytes that could not be sent: the stream sends them before anything else."""
    stream._outgoing.write(rest)  # noqa: SLF001


async def send_buffer(stream: TlsStream) -> None:
    """Send what was put back. Raises what `send_all` raises."""
    await stream._retry(lambda: None)  # noqa: SLF001 -- does nothing, and then sends what is in the buffer


def _load(context: ssl.SSLContext, certfile: Path, keyfile: Path | None) -> None:
    certificates = _read(certfile, "certfile")
    which: Which = "certfile" if keyfile is None else "keyfile"
    key = certfile if keyfile is None else keyfile
    _read(key, which)

    def refuse_password() -> NoReturn:  # without this, OpenSSL would block and ask on the terminal
        raise CertificateError(which, key, "is encrypted; decrypt the key first, for example with openssl pkey")

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=certificates.decode("ascii", "ignore"))
    except ssl.SSLError as error:
        raise CertificateError("certfile", certfile, "does not contain a certificate in PEM format") from error
    try:
        context.load_cert_chain(certfile, keyfile, refuse_password)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise CertificateError(which, key, f'does not belong to the certificate in "{certfile}"') from error
        if error.reason:  # such as EE_KEY_TOO_SMALL: OpenSSL rejects the certificate
            reason = f"cannot be used: {error.reason.replace('_', ' ').lower()}"
            raise CertificateError("certfile", certfile, reason) from error
        raise CertificateError(which, key, "does not contain a private key in PEM format") from error


def _read(path: Path, which: Which) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CertificateError(which, path, f"cannot be read: {error.strerror}") from error
