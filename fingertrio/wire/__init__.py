"""The protocols, sans-IO: parsers and serializers without sockets, with the standard library only.

A parser takes bytes and returns frozen dataclasses. "More is needed" is a value. For bad input, a parser raises
ProtocolError and no other exception.
"""

# The signature of the PROXY protocol's binary header (version 2; `wire.proxy`). It begins like an empty query.
PROXY_HEADER = b"\r\n\r\n\0\r\nQUIT\n"
PROXY_REFUSAL = "Unexpected PROXY header: set proxy_protocol and trusted_proxies here, or turn it off in the proxy"


class ProtocolError(Exception):
    """The peer broke the protocol. The message is for the peer: short, printable, without any of the peer's bytes."""


class TooLongError(ProtocolError):
    """The peer's message is longer than our limit."""
