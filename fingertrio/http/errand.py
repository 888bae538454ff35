"""A connection without a task, and what its task begins with once it needs one."""

from __future__ import annotations

from math import inf

from fingertrio.http.lane import Sender
from fingertrio.http.replay import Recording
from fingertrio.http.tls import TlsStream
from fingertrio.net.connection import Connection


class Errand:
    """What the task of a connection begins with.

    Attributes:
        tls: the encryption; None: there is none, or it has not begun.
        is_new: the connection was just accepted.
        is_first: no request of the connection was answered yet. Only then it can become an HTTP/2 connection.
        data: bytes already received; None: nothing was; b"": the end of the client's input.
        recording: of the response to the request that `data` begins with.
        raw: bytes to be sent first, below the encryption.
        answer: then to be sent, through the encryption.
        held: the body that is counted for the budget of answers until all is sent.
        ends: whether the connection ends when all is sent.
    """

    __slots__ = ("answer", "data", "ends", "held", "is_first", "is_new", "raw", "recording", "tls")

    def __init__(self, tls: TlsStream | None = None, data: bytes | None = None, *, is_new: bool = False) -> None:
        self.tls = tls
        self.is_new = self.is_first = is_new
        self.data = data
        self.recording: Recording | None = None
        self.raw = b""
        self.answer: tuple[bytes | memoryview, ...] = ()
        self.held = b""
        self.ends = False


class IdleConnection:
    """A connection without a task.

    Attributes:
        tls: its encryption.
        sender: who sends its requests, unless a proxy says otherwise.
        data: received, and not answered yet.
        idle_since: Trio's time of the last answer.
        is_first: no request was answered yet.
        listed: the deadlines among which it is; see `idle.IdlePool`.
        has_waited: its present request has waited for a response to another one.
    """

    __slots__ = ("connection", "data", "has_waited", "idle_since", "is_first", "listed", "sender", "tls")

    def __init__(self, connection: Connection, tls: TlsStream | None, sender: Sender) -> None:
        self.connection = connection
        self.tls = tls
        self.sender = sender
        self.data = b""
        self.idle_since = inf
        self.is_first = True
        self.has_waited = False
        self.listed: Deadlines | None = None


class Deadlines(dict[IdleConnection, float]):
    """Connections with the time since when each is here, the oldest first; all stay for the same `limit` of seconds."""

    def __init__(self, limit: float) -> None:
        super().__init__()
        self.limit = limit
