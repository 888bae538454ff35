"""One question on IRC, from its admission until its answer is sent or dropped."""

from __future__ import annotations

import trio

from fingertrio.frontends.irc.hearing import Heard
from fingertrio.wire.irc_events import PrivateMessage
from fingertrio.wire.irc_outbox import Reply


class Question(Reply):
    """A question, with the data for its log line."""

    def __init__(self, message: PrivateMessage, heard: Heard) -> None:
        nick = message.source.nick
        super().__init__(heard.asker, message.channel or nick, trio.current_time(), nick=nick)
        self.message = message
        self.name = heard.text  # to look up
        self.outcome = "error"
        self.size = 0  # bytes sent
        self.proof: int | None = None  # of an account that the server is asked for
