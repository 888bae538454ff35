"""The [setter] section."""

from __future__ import annotations

import socket

from fingertrio.config.doors import SetterSection
from fingertrio.config.sections import OptionError
from fingertrio.frontend import Door, Frontend
from fingertrio.frontends.setter.frontend import Proof, SetterFrontend
from fingertrio.net.address import parse_address
from fingertrio.net.listen import address_of


def open_setter(options: SetterSection, door: Door) -> Frontend:
    """Sets a status from two lines, a user name and a status."""
    listeners: dict[Proof, list[socket.socket]] = {}
    for sock in door.listeners:
        place = parse_address(address_of(sock))
        proof = options.auth_at(place)
        if reason := options.refusal_at(place, proof):  # a socket that the service manager passed
            raise OptionError("auth", f"{place}: {reason}")
        listeners.setdefault(proof, []).append(sock)
    return SetterFrontend(
        service=door.service,
        accounts=door.accounts,
        observer=door.observer,
        listeners=listeners,
        caps=door.caps,
        rate=door.writes,
    )
