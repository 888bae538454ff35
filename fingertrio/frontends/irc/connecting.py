"""Opening a stream to an IRC server: TCP, TLS or a unix socket, with one deadline for all of it."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import trio

from fingertrio.clients import dial
from fingertrio.frontends.irc.settings import NetworkSettings, ServerAddress
from fingertrio.frontends.irc.tls import TLSRefusedError, shake_hands
from fingertrio.wire.irc_ends import MINUTE, Ended, Verdict

Connect = Callable[[str, int], Awaitable[trio.abc.Stream]]

_TLS_PAUSE = 5 * MINUTE


class UnreachableError(Exception):
    """There is no connection. `end` says why; `outcome` is for metrics."""

    def __init__(self, end: Ended, outcome: str) -> None:
        super().__init__(end.reason)
        self.end = end
        self.outcome = outcome


@dataclass(frozen=True, slots=True)
class Link:
    """An open stream, and what is true of it.

    Attributes:
        secure: nobody can read or change what passes.
    """

    stream: trio.abc.Stream
    secure: bool


async def open_link(
    server: ServerAddress,
    settings: NetworkSettings,
    context: ssl.SSLContext | None,
    *,
    connect: Connect,
    timeout: float,
) -> Link:
    """Connect to `server`.

    Args:
        server: where.
        settings: how the server proves who it is.
        context: for TLS.
        connect: opens a TCP stream to host and port, or raises OSError or RemoteError.
        timeout: seconds for all of it.

    Raises:
        UnreachableError: there is no connection.
    """
    try:
        with trio.fail_after(timeout):
            if server.path is not None:
                return Link(await trio.open_unix_socket(server.path), secure=True)
            stream = await connect(server.host, server.port)
            if not server.tls:
                return Link(stream, secure=server.is_local)
            if context is None:
                raise AssertionError("TLS has a context")
            try:
                tls = await shake_hands(stream, server.host, context, settings.tls.fingerprints)
            except BaseException:
                await trio.aclose_forcefully(stream)
                raise
            return Link(tls, secure=True)
    except TLSRefusedError as error:
        raise UnreachableError(Ended(str(error), Verdict.LATER, _TLS_PAUSE, "tls"), "tls") from error
    except trio.TooSlowError:
        raise UnreachableError(Ended("connect timed out"), "unreachable") from None
    except OSError as error:
        raise UnreachableError(Ended(error.strerror or str(error)), "unreachable") from error
    except dial.RemoteError as error:
        raise UnreachableError(Ended(str(error)), "unreachable") from error
