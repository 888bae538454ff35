"""The [irc] section."""

from __future__ import annotations

from fingertrio import version
from fingertrio.config.doors import IrcSection
from fingertrio.frontend import Door, Frontend
from fingertrio.frontends.irc import IRCFrontend


def open_irc(options: IrcSection, door: Door) -> Frontend:
    """A bot that answers private messages."""
    return IRCFrontend(
        service=door.service,
        observer=door.observer,
        host=options.server.host,
        port=options.server.port,
        nick=options.nick,
        version=f"fingertrio {version}",
    )
