"""Forwards a {Q2} to another host, if the administrator allows it (RFC 1288 sections 2.4 and 3.2.1).

Forwarding lets a stranger make this server connect to other hosts, so it is denied unless configured: the host must be
listed; a query with a second host is refused, which prevents loops and `u@h@h@h` chains (CVE-1999-0105); and after name
resolution, an address that is not on the public internet is refused unless that address itself is listed.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address

import trio

from fingertrio.clients.dial import Address, HostNotFoundError, RemoteError, is_public
from fingertrio.clients.finger import ANSWER_LIMIT, FINGER_PORT, answer_text, finger
from fingertrio.frontends.finger.text import FORWARDING_DENIED
from fingertrio.net.targets import ForwardTarget
from fingertrio.wire import ProtocolError
from fingertrio.wire.finger import Query
from fingertrio.wire.text import clean_line, to_wire

# Seconds for a whole forwarded query, while the client waits.
DEADLINE = 5.0

# Concurrent forwarded queries; each uses a connection, a task and up to 64 KiB.
FORWARD_LIMIT = 32


class Forwarder:
    """Forwards queries to the listed hosts. Call it with the result of `Query.forward`."""

    def __init__(self, targets: Sequence[ForwardTarget], *, deadline: float = DEADLINE) -> None:
        self._names = {target.host: target.port or FINGER_PORT for target in targets if target.network is None}
        self._networks = [
            (target.network, target.port or FINGER_PORT) for target in targets if target.network is not None
        ]
        self._deadline = deadline
        self._places = trio.Semaphore(FORWARD_LIMIT, max_value=FORWARD_LIMIT)

    async def __call__(self, host: str, query: Query) -> bytes:
        """The other server's answer, ready to send: clean, with CRLF line ends, at most 64 KiB.

        Raises:
            ProtocolError: forwarding is denied, or busy.
        """
        if query.hosts:
            raise ProtocolError(f"{FORWARDING_DENIED}: one host at a time")
        host = host.removeprefix("[").removesuffix("]").rstrip(".").lower()
        port = self._port(host)
        if port is None:
            raise ProtocolError(FORWARDING_DENIED)
        try:
            self._places.acquire_nowait()
        except trio.WouldBlock:
            raise ProtocolError("Too many forwarded queries, please try again later") from None
        try:
            answer = await finger(
                query, host, port, timeout=self._deadline, limit=ANSWER_LIMIT, allow=self._may_connect
            )
        except HostNotFoundError:  # the resolver's message is for administrators only
            return to_wire("Unknown host")
        except RemoteError as error:
            note = f"[{clean_line(str(error))}]"
            return to_wire(f"{answer_text(error.received)}\n{note}" if error.received else note)
        finally:
            self._places.release()
        return to_wire(answer_text(answer)) if answer else b""

    def _port(self, host: str) -> int | None:
        if (port := self._names.get(host)) is not None:
            return port
        try:
            address = ip_address(host)
        except ValueError:
            return None
        return next((port for network, port in self._networks if address in network), None)

    def _may_connect(self, address: Address) -> bool:
        return is_public(address) or any(address in network for network, _ in self._networks)
