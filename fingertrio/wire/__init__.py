"""The protocols, sans-IO: parsers and serializers without sockets, with the standard library only.

A parser takes bytes and returns frozen dataclasses. "More is needed" is a value. For bad input, a parser raises
ProtocolError and no other exception.
"""

# The signature of the PROXY protocol's binary header (version 2). Its first line looks like an empty query, so nothing
# shorter will do: a client may send other data after an empty query.
PROXY_HEADER = b"\r\n\r\n\0\r\nQUIT\n"
PROXY_REFUSAL = "The PROXY protocol is not supported here: turn it off in the proxy"


class ProtocolError(Exception):
    """The peer broke the protocol. The message is for the peer: short, printable, without any of the peer's bytes."""


class TooLongError(ProtocolError):
    """The peer's message is longer than our limit."""
