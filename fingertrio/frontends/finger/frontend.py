"""The finger door: RFC 1288 over TCP, by an express lane and a handler task that give the same bytes.

The lane runs inside the accept loop and answers from memory. The handler reads the rest of the query, fetches the
answer and sends it. The answers come from `answers`; this file has the connections, the deadlines and the refusals.
"""

from __future__ import annotations

import math
import socket
from collections.abc import Sequence
from functools import partial

import trio

from fingertrio.frontends.finger.answers import FingerAnswers, FingerPolicy, Rendered
from fingertrio.net.connection import Connection
from fingertrio.net.limits import ConnectionCaps, RateLimiter
from fingertrio.net.proxies import TrustedProxies
from fingertrio.net.server import SEND_DEADLINE, Server
from fingertrio.observe.observer import Observer
from fingertrio.service import FingerService
from fingertrio.wire import ProtocolError
from fingertrio.wire.finger import may_be_proxy_header, query_line
from fingertrio.wire.text import to_wire

# Seconds for one query line, enough to type a name in telnet.
READ_DEADLINE = 10.0

# Seconds for the rest of what may be a PROXY header. It comes in one packet; a client that sent two empty lines waits.
_HEADER_REST = 0.2

TOO_MANY = to_wire("Too many queries from your address, please try again later")


class FingerFrontend:
    """Serves RFC 1288 on bound sockets. `proxies`: see `net.server.Server.trust`."""

    def __init__(
        self,
        *,
        service: FingerService,
        observer: Observer,
        listeners: Sequence[socket.socket],
        caps: ConnectionCaps,
        rate: RateLimiter | None = None,
        policy: FingerPolicy | None = None,
        read_deadline: float = READ_DEADLINE,
        proxies: TrustedProxies | None = None,
    ) -> None:
        self._observer = observer
        self._service = service
        self._answers = self._answers_by(policy or FingerPolicy())
        self._read_deadline = read_deadline
        self._now = trio.current_time
        self._server = Server(
            "finger",
            listeners,
            self._handle,
            lane=self._lane,
            reports=observer,
            caps=caps,
            rate=rate,
            refusal=TOO_MANY,
            proxies=proxies,
        )

    def adopt(self, policy: FingerPolicy, proxies: TrustedProxies | None = None) -> None:
        """Use another policy from the next query on, and other proxies from the next connection on."""
        self._answers = self._answers_by(policy)
        self._server.trust(proxies)

    def _answers_by(self, policy: FingerPolicy) -> FingerAnswers:
        return FingerAnswers(self._service, policy, partial(self._observer.refused, "finger"))

    async def serve(
        self, stopping: trio.Event, *, task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Serve until `stopping` is set; see `net.server.Server.serve`."""
        # What `trio.current_time` calls, at a quarter of its cost.
        self._now = trio.lowlevel.current_clock().current_time
        await self._server.serve(stopping, task_status=task_status)

    def _lane(self, received: bytes, peer: str) -> bytes | None:
        now = self._now()
        rendered = self._answers.at_once(received, now)
        if rendered is None:
            return None
        payload = rendered.payload
        took = self._now() - now
        self._observer.query("finger", peer or "unix", rendered.asked, rendered.outcome, took, len(payload))
        return payload

    async def _handle(self, connection: Connection) -> None:
        line = await self._read(connection)
        if line is None:
            return
        rendered = line if isinstance(line, Rendered) else await self._answers.fetch(line)
        if not await connection.send(rendered.payload, SEND_DEADLINE):
            self._observer.refused("finger", "slow_reader")
        took = trio.current_time() - connection.accepted
        size = len(rendered.payload)
        self._observer.query("finger", connection.peer or "unix", rendered.asked, rendered.outcome, took, size)
        self._observer.flush()

    async def _read(self, connection: Connection) -> bytes | Rendered | None:
        """The query line, or the answer to an invalid one; None: the client sent nothing before its end of input."""
        try:
            # A complete line needs no deadline and no stream.
            if (line := query_line(connection.data)) is not None:
                return line
            with trio.fail_after(self._read_deadline):
                return await _read_query(connection)
        except ProtocolError as error:
            return self._answers.refuse(connection.data, error)
        except trio.TooSlowError:
            self._observer.refused("finger", "deadline")
            return self._answers.refuse(connection.data, ProtocolError("The query took too long"))


async def _read_query(connection: Connection) -> bytes | None:
    while (line := query_line(connection.data)) is None:
        chunk = b""
        with trio.move_on_after(_HEADER_REST if may_be_proxy_header(connection.data) else math.inf):
            chunk = await connection.stream.receive_some(1024)
        if not chunk:
            return query_line(connection.data, ended=True) if connection.data else None
        connection.data += chunk
    return line
