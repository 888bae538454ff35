"""The setter door: two lines in, one line out, and every door shows the new status.

It accepts every request without authentication. Therefore the configuration allows only loopback and unix sockets.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence

import trio

from fingertrio.accounts.writer import unproved
from fingertrio.backend import BackendError
from fingertrio.net.limits import ConnectionCaps, RateLimiter
from fingertrio.net.server import Connection, Server
from fingertrio.observe.observer import Observer
from fingertrio.service import FingerService
from fingertrio.wire import ProtocolError, TooLongError
from fingertrio.wire.setter import OK, REQUEST_LIMIT, SetRequest, encode_error, parse_request
from fingertrio.wire.text import clean_line, first_line

# Seconds for the whole request, enough to type it by hand.
READ_DEADLINE = 60.0
_SEND_DEADLINE = 10.0  # one short line

TOO_MANY = encode_error("too many requests from your address, try again later")


class SetterFrontend:
    """Serves the setter protocol on bound sockets."""

    def __init__(
        self,
        *,
        service: FingerService,
        observer: Observer,
        listeners: Sequence[socket.socket],
        caps: ConnectionCaps,
        rate: RateLimiter | None = None,
        read_deadline: float = READ_DEADLINE,
    ) -> None:
        self._service = service
        self._observer = observer
        self._read_deadline = read_deadline
        self._server = Server(
            "setter", listeners, self._handle, reports=observer, caps=caps, rate=rate, refusal=TOO_MANY
        )

    async def serve(
        self, stopping: trio.Event, *, task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Serve until `stopping` is set; see `net.server.Server.serve`."""
        await self._server.serve(stopping, task_status=task_status)

    async def _handle(self, connection: Connection) -> None:
        user, outcome = "", "bad"
        try:
            with trio.fail_after(self._read_deadline):
                request = parse_request(await _read_request(connection.stream))
            user = request.user
            answer, outcome = await self._set(request)
        except ProtocolError as error:
            if isinstance(error, TooLongError):
                self._observer.refused("setter", "line")
            answer = encode_error(str(error))
        except trio.TooSlowError:
            self._observer.refused("setter", "deadline")
            answer = encode_error(f"no complete request within {self._read_deadline:g} seconds")
        await connection.send(answer, _SEND_DEADLINE)
        took = trio.current_time() - connection.accepted
        self._observer.query("setter", connection.peer or "unix", user, outcome, took, len(answer))
        self._observer.flush()

    async def _set(self, request: SetRequest) -> tuple[bytes, str]:
        try:
            await self._service.set_user(request.user, request.status, writer=unproved("setter"))
        except ValueError as error:
            return encode_error(first_line(str(error))), "bad"
        except BackendError as error:
            return encode_error(clean_line(error.public_message)), "error"
        return OK, "ok"


async def _read_request(stream: trio.abc.ReceiveStream) -> bytes:
    """All data until the end of input, at most REQUEST_LIMIT bytes."""
    data = bytearray()
    while chunk := await stream.receive_some(4096):
        data += chunk
        if len(data) > REQUEST_LIMIT:
            raise TooLongError("line too long")
    return bytes(data)
