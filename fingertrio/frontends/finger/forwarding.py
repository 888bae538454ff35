"""Passing a {Q2} on to another host, for administrators who want to (RFC 1288 sections 2.4 and 3.2.1).

Forwarding makes this server knock on other people's doors at a stranger's word, so everything is closed unless listed:
the host must be on the list; one hop only (a query that names a second host is refused, which ends every loop and every
`u@h@h@h` chain, CVE-1999-0105); and an address that is not on the public internet is refused after resolution unless
it is listed as an address, whatever name it hides behind.
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

# Seconds for a whole forwarded query: the asker is waiting, with a client's patience.
DEADLINE = 5.0

# Forwarded queries under way at once; each holds a connection, a task and up to 64 KiB.
AT_ONCE = 32


class Forwarder:
    """Asks listed hosts on behalf of strangers. Call it with what `Query.forward` gave."""

    def __init__(self, targets: Sequence[ForwardTarget], *, deadline: float = DEADLINE) -> None:
        self._names = {target.host: target.port or FINGER_PORT for target in targets if target.network is None}
        self._networks = [
            (target.network, target.port or FINGER_PORT) for target in targets if target.network is not None
        ]
        self._deadline = deadline
        self._places = trio.Semaphore(AT_ONCE, max_value=AT_ONCE)

    async def __call__(self, host: str, query: Query) -> bytes:
        """The other server's answer as it goes out: filtered, its lines ended by CRLF, 64 KiB at most.

        Raises:
            ProtocolError: the forwarding service is denied, or busy.
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
            raise ProtocolError("Too many queries are being forwarded, please try again later") from None
        try:
            answer = await finger(
                query, host, port, timeout=self._deadline, limit=ANSWER_LIMIT, allow=self._may_connect
            )
        except HostNotFoundError:  # the resolver's words are for administrators
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
