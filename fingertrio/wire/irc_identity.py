"""What the server tells a client about itself: limits, its own user and host, its account. No I/O.

The own source decides how much text fits into a message, so every line that shows it counts: 302, 396, CHGHOST, 900,
our own JOIN and NICK.
"""

from __future__ import annotations

from fingertrio.wire.irc import Message
from fingertrio.wire.irc_numerics import Numeric
from fingertrio.wire.irc_state import State


def learn_identity(state: State, message: Message) -> None:
    """Take from `message` what it tells of us."""
    params = message.params
    match message.command:
        case Numeric.RPL_MYINFO if len(params) > 3:
            state.user_modes = params[3]
        case Numeric.RPL_ISUPPORT if len(params) > 2:
            state.isupport.update(params)
        case Numeric.RPL_USERHOST if len(params) > 1:
            _learn_userhost(state, params[1])
        case Numeric.RPL_VISIBLEHOST if len(params) > 1:
            state.learn_full_mask(params[1])
        case Numeric.RPL_LOGGEDIN if len(params) > 2:
            state.account = params[2]
            state.learn_full_mask(params[1])
        case Numeric.RPL_LOGGEDOUT:
            state.account = None
        case "CHGHOST" if len(params) > 1 and state.is_own(message.source):
            state.learn_mask(params[0], params[1])
        case "ACCOUNT" if params and state.is_own(message.source):
            state.account = None if params[0] == "*" else params[0]
        case "JOIN" | "NICK" if message.source is not None and state.is_own(message.source):
            state.learn_mask(message.source.user or "", message.source.host or "")


def _learn_userhost(state: State, replies: str) -> None:
    """302: `nick[*]=(+|-)user@host`, separated by spaces."""
    for reply in replies.split():
        nick, _, mask = reply.partition("=")
        if state.is_me(nick.removesuffix("*")):
            user, _, host = mask[1:].partition("@")
            state.learn_mask(user, host)
