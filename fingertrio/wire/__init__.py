"""What the protocols are made of, without any I/O and with the standard library only.

A parser here is fed bytes and gives frozen dataclasses. "More is needed" is a value; bad input is ProtocolError, and
nothing else ever is raised for input.
"""


class ProtocolError(Exception):
    """The peer broke the protocol. The message is for the peer: short, printable, without anything it sent."""


class TooLongError(ProtocolError):
    """What the peer sent is over a limit of ours, whatever else might be said of it."""
