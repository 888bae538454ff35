"""The [setter] section."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable

from fingertrio.config.doors import SetterSection
from fingertrio.config.sections import OptionError
from fingertrio.frontend import Door, Frontend
from fingertrio.frontends.setter.frontend import Proof, SetterFrontend
from fingertrio.http.tls import CertificateError, make_tls_context
from fingertrio.net.address import parse_address
from fingertrio.net.listen import address_of

Sockets = dict[Proof, list[socket.socket]]


class _Setter:
    reloadable = frozenset({"certfile", "keyfile", "proxy_protocol", "trusted_proxies"})

    def __init__(self, options: SetterSection, door: Door) -> None:
        plain, secured = _sorted(options, door)
        self._frontend = SetterFrontend(
            service=door.service,
            accounts=door.accounts,
            observer=door.observer,
            listeners=plain,
            secured=secured,
            tls=_tls(options),
            caps=door.caps,
            rate=door.writes,
            proxies=options.header_senders,
        )
        self.serve = self._frontend.serve

    def prepare(self, options: SetterSection) -> Callable[[], None]:
        tls = _tls(options)
        if (tls is None) != (self._frontend.tls is None):
            raise OptionError("certfile", "TLS is switched on or off at a restart; a reload renews the certificate")

        def change() -> None:
            self._frontend.tls = tls
            self._frontend.trust(options.header_senders)

        return change


def open_setter(options: SetterSection, door: Door) -> Frontend:
    """Sets a status from two lines, a user name and a status."""
    return _Setter(options, door)


def _sorted(options: SetterSection, door: Door) -> tuple[Sockets, Sockets]:
    """The door's sockets by the proof that their clients need: those in plain text, and those with TLS."""
    plain: Sockets = {}
    secured: Sockets = {}
    for sock in door.listeners:
        place = parse_address(address_of(sock))
        proof = options.auth_at(place)
        if reason := options.refusal_at(place, proof):  # a socket that the service manager passed
            raise OptionError("auth", f"{place}: {reason}")
        (secured if options.tls_at(place) else plain).setdefault(proof, []).append(sock)
    return plain, secured


def _tls(options: SetterSection) -> ssl.SSLContext | None:
    if options.certfile is None:
        return None
    try:
        return make_tls_context(options.certfile, options.keyfile, protocols=())
    except CertificateError as error:
        raise OptionError(error.which, str(error)) from error
