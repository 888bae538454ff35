"""The IRC door: a client that stays connected to one server and answers private messages.

    alice> moshez                                       a private message to our nick: its whole text is the name
    fingerbot> Status of moshez: Happy and well         to the asker, one message for each line, at most five

`session` is one connection, `reconnect` keeps the door connected. `wire/irc_client` has the protocol,
`wire/irc_outbox` the order and the rate of replies, and the service the statuses.
"""

from fingertrio.frontends.irc.reconnect import IRCFrontend
from fingertrio.frontends.irc.session import IRCTimes

__all__ = ["IRCFrontend", "IRCTimes"]
