"""TLS to an IRC server: verified by a chain of certificates or by a fingerprint, before anything is sent.

A failure is described for the operator who must correct it: the server does not speak TLS, its certificate has
expired, has another name, or comes from an authority that is not trusted. With fingerprints, the one that came is in
the message.
"""

from __future__ import annotations

import hashlib
import hmac
import ssl

import trio

from fingertrio.frontends.irc.settings import TLSSettings

_ALPN = "irc"  # IANA's registry of ALPN protocol IDs

# OpenSSL's codes of a failed verification (X509_V_ERR_*), and what they mean to an operator.
_REASONS = {
    10: "the certificate has expired",
    9: "the certificate is not valid yet",
    18: "untrusted issuer: the certificate is self-signed",
    19: "untrusted issuer: the chain ends in a certificate that is not trusted",
    20: "untrusted issuer",
    21: "untrusted issuer",
    62: "wrong name",
    64: "wrong name",
}


# OpenSSL's reasons if the other end talks something else, or closes.
_NO_TLS = {None, "WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNEXPECTED_EOF_WHILE_READING", "PACKET_LENGTH_TOO_LONG"}


class TLSRefusedError(Exception):
    """There is no TLS connection. The message is for the operator."""


def make_context(settings: TLSSettings) -> ssl.SSLContext:
    """The context for a network.

    Raises:
        ValueError: a file cannot be used.
    """
    try:
        context = ssl.create_default_context(cafile=settings.ca)
    except (OSError, ssl.SSLError) as error:
        raise ValueError(f"tls_ca: {settings.ca} has no certificates that can be read: {_text(error)}") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols([_ALPN])
    if settings.fingerprints:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE  # `shake_hands` compares the fingerprint instead
    if settings.certificate is not None:
        try:
            context.load_cert_chain(settings.certificate, settings.key)
        except (OSError, ssl.SSLError) as error:
            raise ValueError(f"tls_certificate: {settings.certificate} cannot be used: {_text(error)}") from None
    return context


async def shake_hands(
    stream: trio.abc.Stream, host: str, context: ssl.SSLContext, fingerprints: tuple[str, ...]
) -> trio.SSLStream[trio.abc.Stream]:
    """A TLS stream to `host` over `stream`, verified. Nothing but the handshake has been sent.

    Raises:
        TLSRefusedError: the server is not the one that it must be, or does not speak TLS.
    """
    tls = trio.SSLStream(stream, context, server_hostname=host, https_compatible=True)
    try:
        await tls.do_handshake()
    except trio.BrokenResourceError as error:
        raise TLSRefusedError(_explain(error.__cause__, host)) from error
    if fingerprints:
        certificate = tls.getpeercert(binary_form=True) or b""
        if not any(_is_fingerprint(expected, certificate) for expected in fingerprints):
            raise TLSRefusedError(f"the certificate has another fingerprint: {fingerprint(certificate)}")
    return tls


def fingerprint(certificate: bytes) -> str:
    """The fingerprint of a DER certificate as it is configured."""
    return f"sha-256:{hashlib.sha256(certificate).hexdigest()}"


def _is_fingerprint(expected: str, certificate: bytes) -> bool:
    name, _, digest = expected.partition(":")
    made = hashlib.new(name.replace("-", ""), certificate).hexdigest()
    return hmac.compare_digest(made, digest.lower().replace(":", ""))


def _explain(cause: BaseException | None, host: str) -> str:
    if isinstance(cause, ssl.SSLCertVerificationError):
        reason = _REASONS.get(cause.verify_code, cause.verify_message)
        return f"{reason}: the certificate is not for {host}" if reason == "wrong name" else reason
    if isinstance(cause, ssl.SSLError) and cause.reason not in _NO_TLS:
        return f"the handshake failed: {cause.reason}"
    return "the server does not speak TLS on this port"


def _text(error: OSError) -> str:
    return error.strerror or str(error)
