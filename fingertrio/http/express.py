"""One turn of a connection without a task: receive, ask the lane, send. Nothing here waits.

What needs to wait, or an answer that the lane does not have, becomes an `Errand` for a task.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from enum import Enum, auto
from functools import partial
from socket import MSG_DONTWAIT

import trio

from fingertrio.http.errand import Errand, IdleConnection
from fingertrio.http.lane import Lane, Sender
from fingertrio.http.plain import PlainRequest
from fingertrio.http.replay import Kept, Recording, this_second
from fingertrio.http.tls import TlsStream, decrypt, encrypt
from fingertrio.http.traffic import Traffic

# Bytes of one receive. A request that the lane knows has at most three thousand.
_RECEIVE = 16384


class Turn(Enum):
    """How a turn ended."""

    NOTHING = auto()  # nothing has arrived
    ANSWERED = auto()  # there may be another request in `IdleConnection.data`
    PARTIAL = auto()  # the rest of a request is missing
    WAITS = auto()  # for the response to another request, which answers this one as well
    LAST = auto()  # answered, and the client wants the connection closed
    GONE = auto()  # the client has ended the connection


class Express:
    """Serves connections without a task.

    Args:
        traffic: of the door.
        lane: None: every request becomes an errand.
        go_on: called with a connection that need not wait any longer.
    """

    def __init__(self, traffic: Traffic, lane: Lane | None, go_on: Callable[[IdleConnection], None]) -> None:
        self._traffic = traffic
        self._lane = lane
        self._go_on = go_on

    def sender_of(self, peer: str) -> Sender:
        """Who sends the requests of a new connection, unless a proxy says otherwise."""
        return Sender(peer) if self._lane is None else self._lane.ledger.sender(peer, {})

    def receive(self, idle: IdleConnection) -> Turn | Errand:
        """Receive once, and answer one request."""
        try:
            data = idle.connection.socket.recv(_RECEIVE, MSG_DONTWAIT)
        except BlockingIOError:
            if idle.tls is None:
                return Turn.NOTHING
            return self._decrypted(idle, idle.tls, b"")  # there may be more in the decryption
        except OSError:
            return Turn.GONE
        if not data:
            # The task sees the end of input, too.
            return Errand(idle.tls, idle.data) if idle.data else Turn.GONE
        if idle.tls is not None:
            return self._decrypted(idle, idle.tls, data)
        idle.data += data
        return self.answer(idle)

    def _decrypted(self, idle: IdleConnection, tls: TlsStream, data: bytes) -> Turn | Errand:
        try:
            plain = decrypt(tls, data)
        except EOFError:
            return Errand(tls, idle.data)
        except ssl.SSLError:
            return Turn.GONE
        if not plain:
            return self._send_raw(idle, encrypt(tls, b"")) or Turn.NOTHING
        idle.data += plain
        return self.answer(idle)

    def answer(self, idle: IdleConnection) -> Turn | Errand:
        """Answer the request at the beginning of `idle.data`."""
        lane, data = self._lane, idle.data
        if lane is None or self._traffic.context.terminated.is_set():
            return Errand(idle.tls, data)
        request = lane.read(data)
        if request is None:
            return Errand(idle.tls, data)
        if request.size > len(data):
            return Turn.PARTIAL
        if request.close and request.size < len(data):
            return Errand(idle.tls, data)  # more, although the client wants no further answer: h11's to judge
        sender = lane.ledger.sender(idle.connection.peer, request.forwarding) if request.forwarding else idle.sender
        began = trio.current_time()
        answers = self._traffic.budgets.answers
        kept = lane.answer(request, sender, began, answers.has_room)
        if kept is None or (kept.body and not answers.hold(kept.body)):
            return self._made(idle, lane, request, sender)
        idle.data = data[request.size :]
        done = self._send_large(idle, kept) if kept.body else self._send(idle, kept)
        lane.ledger.replayed(sender, kept.note, trio.current_time() - began)
        return done

    def _made(self, idle: IdleConnection, lane: Lane, request: PlainRequest, sender: Sender) -> Turn | Errand:
        """The application makes the response, or does so already for another client."""
        now = trio.current_time()
        if not idle.has_waited and (old := lane.renewal(request, sender, now)) is not None:
            idle.has_waited = True
            old.waiting.append(partial(self._go_on, idle))
            return Turn.WAITS
        errand = Errand(idle.tls, idle.data)
        errand.recording = lane.record(request, sender, now)
        return errand

    def offer(self, peer: str, data: bytes) -> tuple[bool, Recording | None]:
        """Whether the lane has the response to the request in `data`, or will have it at once.

        If not, a recording of it, if it is plain.
        """
        if self._lane is None or (request := self._lane.read(data)) is None or request.size > len(data):
            return False, None
        sender = self._lane.ledger.sender(peer, request.forwarding)
        now = trio.current_time()
        if self._lane.find(request, sender, now) or self._lane.renewal(request, sender, now):
            return True, None
        return False, self._lane.record(request, sender, now)

    def _send(self, idle: IdleConnection, kept: Kept) -> Turn | Errand:
        wire = kept.wire(this_second())
        errand = self._send_raw(idle, wire if idle.tls is None else encrypt(idle.tls, wire))
        if errand is None:
            if not kept.close:
                return Turn.ANSWERED
            if idle.tls is None:
                return Turn.LAST
            errand = Errand(idle.tls)  # it sends the closing alert
        if isinstance(errand, Errand):
            errand.ends = kept.close
        return errand

    def _send_raw(self, idle: IdleConnection, data: bytes) -> Turn | Errand | None:
        """Send bytes as they are. None: the kernel has taken all."""
        if not data:
            return None
        try:
            sent = idle.connection.socket.send(data, MSG_DONTWAIT)
        except BlockingIOError:
            sent = 0
        except OSError:
            return Turn.GONE
        if sent == len(data):
            return None
        errand = Errand(idle.tls, idle.data or None)
        errand.raw = data[sent:]
        return errand

    def _send_large(self, idle: IdleConnection, kept: Kept) -> Turn | Errand:
        """Send a response whose body is counted for the budget."""
        parts: list[bytes | memoryview] = [kept.wire(this_second()), kept.body]
        answers = self._traffic.budgets.answers
        if idle.tls is None:  # else a task encrypts one slice after the other
            try:
                sent = idle.connection.socket.sendmsg(parts, [], MSG_DONTWAIT)
            except BlockingIOError:
                sent = 0
            except OSError:
                answers.release(kept.body)
                return Turn.GONE
            if sent == sum(map(len, parts)):
                answers.release(kept.body)
                return Turn.LAST if kept.close else Turn.ANSWERED
            skipped = min(sent, len(parts[0]))
            parts = [memoryview(parts[0])[skipped:], memoryview(parts[1])[sent - skipped :]]
        errand = Errand(idle.tls, idle.data or None)
        errand.answer, errand.held, errand.ends = tuple(parts), kept.body, kept.close
        return errand
