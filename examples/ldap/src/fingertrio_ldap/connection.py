"""One connection through ldap3: opened, secured, bound, and closed. Blocking, so for threads.

The directory is trusted with its answers and no more: no referral is followed, the schema is not read, and TLS is
verified by OpenSSL against the configured name. Nothing is sent over a connection before its certificate is verified,
except StartTLS itself.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import ldap3
from ldap3.core.exceptions import LDAPExceptionError

from fingertrio_ldap.errors import DirectoryError
from fingertrio_ldap.options import LDAPOptions, is_ldaps


class VerifiedTLS(ldap3.Tls):  # type: ignore[misc] # ldap3 has no types
    """TLS as Python's own context does it. ldap3 switches its check of the name off, and sends no server name (SNI)."""

    def __init__(self, options: LDAPOptions) -> None:
        super().__init__(validate=ssl.CERT_REQUIRED)
        self._context = ssl.create_default_context(cafile=options.ca_file)
        self._context.minimum_version = ssl.TLSVersion.TLSv1_2

    def wrap_socket(self, connection: Any, do_handshake: bool = False) -> None:
        """Replace the socket of `connection`, after the handshake. Raises ssl.SSLError or OSError."""
        del do_handshake  # always: nothing may be sent before the certificate is verified
        host = connection.server.host
        connection.socket = self._context.wrap_socket(connection.socket, server_hostname=host)


def prepare(options: LDAPOptions, url: str, tls: VerifiedTLS | None) -> Any:
    """A connection to one server, not yet open. Raises OSError or DirectoryError if the password cannot be read."""
    parts = urlsplit(url)
    server = ldap3.Server(
        parts.hostname,
        port=parts.port or (636 if is_ldaps(url) else 389),
        use_ssl=is_ldaps(url),
        tls=tls,
        get_info=ldap3.NONE,
        allowed_referral_hosts=[],
        connect_timeout=options.timeout / len(options.servers),  # ldap3 leaves it as the time-out of the socket
    )
    # Read anew, so that the password can be changed in the file.
    credentials = {} if options.bind_dn is None else {"user": options.bind_dn, "password": read_password(options)}
    return ldap3.Connection(
        server,
        **credentials,
        client_strategy=ldap3.SAFE_SYNC,
        auto_referrals=False,
        auto_range=False,
        auto_escape=False,
        check_names=False,
    )


def begin(options: LDAPOptions, connection: Any) -> None:
    """Connect, secure and bind. Raises DirectoryError, or whatever ldap3 does."""
    connection.open(read_server_info=False)
    if options.start_tls and not connection.server.ssl and not connection.start_tls(read_server_info=False):
        raise DirectoryError("StartTLS was refused")
    bound, result, *_ = connection.bind(read_server_info=False)
    if not bound:
        raise failure("bind", result)
    connection.socket.settimeout(options.timeout)


def discard(connection: Any) -> None:
    """Close a connection in any state."""
    with suppress(LDAPExceptionError, OSError):
        connection.unbind()
    if connection.socket is not None:
        with suppress(OSError):
            connection.socket.close()


def read_password(options: LDAPOptions) -> str:
    """The content of `password_file`.

    Raises:
        OSError: it cannot be read.
        DirectoryError: it is empty. A bind with a name and no password succeeds as an anonymous one (RFC 4513 section
            5.1.2), which would look as if the password were right.
    """
    if options.password_file is None:
        raise AssertionError("bind_dn and password_file belong together")
    password = options.password_file.read_text(encoding="utf-8").removesuffix("\n").removesuffix("\r")
    if not password:
        raise DirectoryError(f"{options.password_file} is empty")
    return password


def failure(what: str, result: Mapping[str, Any], kind: type[DirectoryError] = DirectoryError) -> DirectoryError:
    """The error for a result of the directory, in its own words (RFC 4511 section 4.1.9)."""
    return kind(f"{what}: {result['description']} ({result['result']}) {result['message'] or ''}".strip())
