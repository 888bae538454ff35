"""What went wrong in an HTTP client, in words for people."""

from __future__ import annotations

import ssl

import httpx2

from fingertrio.wire.text import first_line


def reason(error: httpx2.HTTPError) -> str:
    """Why a request failed: the cause that httpx2 itself leaves out, if it is one that helps."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"the certificate is not trusted: {cause.verify_message}"
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        # Each attempt to connect is one of a group.
        cause = cause.exceptions[0] if isinstance(cause, BaseExceptionGroup) else cause.__cause__ or cause.__context__
    return first_line(str(error)) or type(error).__name__
