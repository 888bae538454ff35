"""The IRC door: a client that stays connected to networks and answers questions.

    alice> moshez                                       a private message to our nick: its whole text is the name
    fingerbot> Status of moshez: Happy and well         to the asker, one message for each line, at most five

`frontend` has the networks, `network` keeps one connected, `session` is one connection, `hearing` decides what is for
us, `questions` answers, `setting` sets statuses, `announcing` follows changes, `standing` reports. The protocol is in
`wire/irc_*.py`, without I/O: `irc_client` is its door.
"""

from fingertrio.frontends.irc.frontend import IRCFrontend
from fingertrio.frontends.irc.settings import ChannelSettings, NetworkSettings, ServerAddress, TLSSettings
from fingertrio.frontends.irc.sts_store import STSStore
from fingertrio.frontends.irc.times import IRCTimes

__all__ = [
    "ChannelSettings",
    "IRCFrontend",
    "IRCTimes",
    "NetworkSettings",
    "STSStore",
    "ServerAddress",
    "TLSSettings",
]
