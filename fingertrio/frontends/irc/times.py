"""The deadlines and pauses of the IRC door."""

from __future__ import annotations

from dataclasses import dataclass

from fingertrio.wire.irc_pauses import FIRST_PAUSE, LONGEST_PAUSE, SUCCESS


@dataclass(frozen=True, slots=True, kw_only=True)
class IRCTimes:
    """Deadlines and pauses, in seconds.

    Attributes:
        connect: to connect, all addresses of the server tried, and for the TLS handshake.
        register: from the connection to the end of the registration; some servers spend 30 s on ident and DNS.
        idle: between two PINGs of ours.
        pong: after the PING, until anything arrives; a half-open connection ends here.
        send: for the server to accept what we send.
        finish: when stopping, for open replies; with `leave` it must fit into the supervisor's grace of 5.
        leave: when stopping, from QUIT until the server closes.
        first_pause: before the second attempt; see `irc_pauses`.
        longest_pause: between two attempts, unless the server's reason asks for more.
        lasted: a session registered for this long was a success: the next pause is `first_pause`.
    """

    connect: float = 30.0
    register: float = 60.0
    idle: float = 60.0
    pong: float = 30.0
    send: float = 30.0
    finish: float = 3.0
    leave: float = 1.0
    first_pause: float = FIRST_PAUSE
    longest_pause: float = LONGEST_PAUSE
    lasted: float = SUCCESS
