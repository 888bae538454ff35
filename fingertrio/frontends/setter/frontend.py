"""The setter front end: a name and a status in, one line out, and every front end shows the new status.

Each listening socket has the proof that its clients need: none (loopback and unix sockets only), a token in an AUTH
line, or the credentials that the kernel reports for the other end of a unix socket. A client that sends a token is
judged by that token, whatever the socket would have accepted. TCP sockets can have TLS (`secure`).
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Literal

import trio

from fingertrio.accounts.accounts import Accounts, ProofError
from fingertrio.accounts.tokens import TokensError
from fingertrio.accounts.writer import NotAllowedError, Writer, unproved
from fingertrio.backend import INTERNAL_ERROR, NO_SUCH_USER, BackendError
from fingertrio.frontends.setter.secure import HandshakeError, Secured, finish, secure
from fingertrio.http.tls import BUSY_ALERT
from fingertrio.net.connection import Connection
from fingertrio.net.limits import ConnectionCaps, RateLimiter
from fingertrio.net.proxies import TrustedProxies
from fingertrio.net.server import Server
from fingertrio.observe.observer import Observer
from fingertrio.service import FingerService
from fingertrio.wire import ProtocolError, TooLongError
from fingertrio.wire.setter import OK, REQUEST_LIMIT, SetRequest, encode_error, is_whole, parse_request
from fingertrio.wire.text import clean_line, first_line
from fingertrio.wire.when import parse_when

Proof = Literal["none", "token", "peer"]

# Seconds for the whole request, enough to type it by hand.
READ_DEADLINE = 60.0
_SEND_DEADLINE = 10.0  # one short line

_UNPROVED = unproved("setter")

TLS_SCHEME = "tls://"  # of an address whose clients speak TLS, where addresses are announced

TOO_MANY = encode_error("too many requests from your address, try again later")


class SetterFrontend:
    """Serves the setter protocol on bound sockets.

    Args:
        service: sets the statuses.
        accounts: turns proofs into writers.
        observer: gets the reports.
        listeners: bound, listening sockets, by the proof that their clients need.
        secured: the same, for those whose clients speak TLS.
        tls: the server's side of TLS, for `secured`; can be replaced, for connections from then on.
        caps: how many connections may be open at once, over all sockets.
        rate: how often one address may set a status.
        read_deadline: seconds for a whole request.
        proxies: see `net.server.Server.trust`. The PROXY header comes before the TLS handshake.
    """

    def __init__(
        self,
        *,
        service: FingerService,
        accounts: Accounts,
        observer: Observer,
        listeners: Mapping[Proof, Sequence[socket.socket]],
        caps: ConnectionCaps,
        secured: Mapping[Proof, Sequence[socket.socket]] | None = None,
        tls: ssl.SSLContext | None = None,
        rate: RateLimiter | None = None,
        read_deadline: float = READ_DEADLINE,
        proxies: TrustedProxies | None = None,
    ) -> None:
        self._service = service
        self._accounts = accounts
        self._observer = observer
        self._read_deadline = read_deadline
        self.tls = tls
        make = partial(Server, "setter", reports=observer, caps=caps, rate=rate, proxies=proxies)
        self._plain = [
            make(sockets, partial(self._handle, proof), refusal=TOO_MANY) for proof, sockets in listeners.items()
        ]
        self._secured = [
            make(sockets, partial(self._handle_secured, proof), refusal=BUSY_ALERT)
            for proof, sockets in (secured or {}).items()
        ]

    def trust(self, proxies: TrustedProxies | None) -> None:
        """See `net.server.Server.trust`."""
        for server in (*self._plain, *self._secured):
            server.trust(proxies)

    async def serve(
        self, stopping: trio.Event, *, task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Serve until `stopping` is set; see `net.server.Server.serve`."""
        addresses: list[str] = []
        async with trio.open_nursery() as nursery:
            for server in self._plain:
                addresses += await nursery.start(server.serve, stopping)
            for server in self._secured:
                addresses += [f"{TLS_SCHEME}{address}" for address in await nursery.start(server.serve, stopping)]
            task_status.started(addresses)

    async def _handle(self, proof: Proof, connection: Connection) -> None:
        answer = await self._converse(proof, connection, connection.stream)
        await connection.send(answer, _SEND_DEADLINE)

    async def _handle_secured(self, proof: Proof, connection: Connection) -> None:
        if (context := self.tls) is None:
            raise AssertionError("sockets with TLS need a context")
        try:
            with trio.fail_after(self._read_deadline):
                stream: Secured = await secure(connection, context)
        except HandshakeError:
            return
        except trio.TooSlowError:
            self._observer.refused("setter", "deadline")
            return
        except ProtocolError as error:
            await connection.send(encode_error(str(error)), _SEND_DEADLINE)
            return
        await finish(stream, await self._converse(proof, connection, stream), _SEND_DEADLINE)

    async def _converse(self, proof: Proof, connection: Connection, stream: trio.abc.ReceiveStream) -> bytes:
        """Read the request and carry it out; the answer."""
        user, outcome = "", "bad"
        try:
            with trio.fail_after(self._read_deadline):
                request = parse_request(await _read_request(stream))
            user = request.user
            answer, outcome = await self._answer(partial(self._write, request, proof, connection))
        except ProtocolError as error:
            if isinstance(error, TooLongError):
                self._observer.refused("setter", "line")
            answer = encode_error(str(error))
        except trio.TooSlowError:
            self._observer.refused("setter", "deadline")
            answer = encode_error(f"no complete request within {self._read_deadline:g} seconds")
        took = trio.current_time() - connection.accepted
        self._observer.query("setter", connection.peer or "unix", user, outcome, took, len(answer))
        self._observer.flush()
        return answer

    async def _answer(self, write: Callable[[], Awaitable[None]]) -> tuple[bytes, str]:
        """The answer to a write, and the outcome for the log."""
        try:
            await write()
        except ProofError as error:
            self._observer.refused("setter", error.reason)
            return encode_error(str(error)), "denied"
        except NotAllowedError as error:
            return encode_error(str(error)), "denied"
        except ValueError as error:
            return encode_error(first_line(str(error))), "bad"
        except TokensError as error:
            self._observer.error("tokens_unreadable", reason=str(error))
            return encode_error(INTERNAL_ERROR), "error"
        except BackendError as error:
            return encode_error(clean_line(error.public_message)), "error"
        return OK, "ok"

    async def _write(self, request: SetRequest, proof: Proof, connection: Connection) -> None:
        writer = await self._writer(request, proof, connection)
        until = None if request.until is None else parse_when(request.until, datetime.now(UTC))
        if request.status:
            await self._service.set_user(request.user, request.status, writer=writer, until=until)
        elif await self._service.clear_user(request.user, writer=writer) is None:
            raise ValueError(NO_SUCH_USER)

    async def _writer(self, request: SetRequest, proof: Proof, connection: Connection) -> Writer:
        if request.token is not None:
            return await self._accounts.by_token(request.token, peer=connection.peer, door="setter")
        if proof == "peer":
            return await self._accounts.by_peer(connection.socket, door="setter")
        if proof == "token":
            raise ProofError('a token is needed: send a first line "AUTH " and your token', "missing")
        return _UNPROVED


async def _read_request(stream: trio.abc.ReceiveStream) -> bytes:
    """All data until an `end:` line or the end of input, at most REQUEST_LIMIT bytes."""
    data = b""
    while chunk := await stream.receive_some(4096):
        data += chunk
        if len(data) > REQUEST_LIMIT:
            raise TooLongError("line too long")
        if is_whole(data):
            break
    return data
