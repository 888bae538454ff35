"""The IRC door: a client that stays connected to one server and answers private messages.

    alice> moshez                                       a private message to our nick: its whole text is the name
    fingerbot> Status of moshez: Happy and well         to the asker, one message for each line, at most five

`reconnect` keeps the door connected, `session` is one connection, and `questions` decides what is answered. In `wire/`,
`irc_client` has the protocol, `irc_outbox` the order and the rate of replies, and `irc_askers` who is muted.
"""

from fingertrio.frontends.irc.reconnect import IRCFrontend
from fingertrio.frontends.irc.session import IRCTimes

__all__ = ["IRCFrontend", "IRCTimes"]
