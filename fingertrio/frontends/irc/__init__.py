"""The IRC door: a client that stays connected to one server and answers private messages.

    alice> moshez                                       a private message to our nick: the whole of it is the name
    fingerbot> Status of moshez: Happy and well         to the asker, each line of a status a message, at most five

Two files: `session` is one connection, `reconnect` has one after the other. What lines mean is `wire/irc_client`, who
is answered when is `wire/irc_outbox`, and what is true is the service's.
"""

from fingertrio.frontends.irc.reconnect import IRCFrontend
from fingertrio.frontends.irc.session import IRCTimes

__all__ = ["IRCFrontend", "IRCTimes"]
