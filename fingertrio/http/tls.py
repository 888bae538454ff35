"""The certificate of an https door: loaded with modern settings, or refused in words for the operator.

OpenSSL says "PEM lib" for most of what can be wrong and never of which file. So the files are looked at one after the
other, and what is said is which of them it is, and why.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Literal, NoReturn

Which = Literal["certfile", "keyfile"]


class CertificateError(ValueError):
    """One of the two files cannot be used.

    Attributes:
        which: the parameter of `make_tls_context` that names it.
    """

    def __init__(self, which: Which, path: Path, reason: str) -> None:
        super().__init__(f'"{path}" {reason}')
        self.which = which


def make_tls_context(certfile: Path, keyfile: Path | None) -> ssl.SSLContext:
    """TLS 1.2 and newer, with HTTP/2 offered; in 1.2 only what RFC 9113 section 9.2.2 leaves of it.

    Args:
        certfile: PEM file with the certificate chain.
        keyfile: PEM file with the key, unless it stands in `certfile`.

    Raises:
        CertificateError: one of them cannot be read, is not what it should be, or does not match the other.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["h2", "http/1.1"])
    _load(context, certfile, keyfile)
    return context


def _load(context: ssl.SSLContext, certfile: Path, keyfile: Path | None) -> None:
    certificates = _read(certfile, "certfile")
    which: Which = "certfile" if keyfile is None else "keyfile"
    key = certfile if keyfile is None else keyfile
    _read(key, which)

    def ask_nobody() -> NoReturn:  # OpenSSL would ask on the terminal, and stop the program until somebody answers
        raise CertificateError(which, key, "is encrypted, and there is nobody to ask for the password")

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=certificates.decode("ascii", "ignore"))
    except ssl.SSLError as error:
        raise CertificateError("certfile", certfile, "has no certificate in PEM form") from error
    try:
        context.load_cert_chain(certfile, keyfile, ask_nobody)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise CertificateError(which, key, f'does not belong to the certificate in "{certfile}"') from error
        if error.reason:  # such as EE_KEY_TOO_SMALL: OpenSSL thinks ill of the certificate
            reason = f"cannot be used: {error.reason.replace('_', ' ').lower()}"
            raise CertificateError("certfile", certfile, reason) from error
        raise CertificateError(which, key, "has no private key in PEM form") from error


def _read(path: Path, which: Which) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CertificateError(which, path, f"cannot be read: {error.strerror}") from error
