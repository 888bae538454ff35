"""What one session knows of itself and of its server, shared by the parts of the client. No I/O.

Each part (`irc_registration`, `irc_channels`, ...) reads it and adds lines to `out`; the client sends these in order.
"""

from __future__ import annotations

from fingertrio.wire import ProtocolError
from fingertrio.wire.irc import NOT_IN_CHANNEL, Source, encode, is_nick
from fingertrio.wire.irc_isupport import ISupport

# Bytes of a user and of a host; longer ones do not count. They leave 200 bytes of every message for its text.
_USER_LIMIT = 32
_HOST_LIMIT = 128


class State:
    """The state of one session.

    Attributes:
        nick: after registration, the nick that the server reports; before, the one that we asked for.
        registered: 001 has come.
        isupport: what the server supports.
        caps: the capabilities that are acknowledged.
        account: the account that we are logged in to, or None.
        login_refused: SASL was tried and did not succeed.
        user_modes: the user modes that the server knows (004).
        bot: whether we are marked as a bot.
        secure: nobody between us and the server can read along, or the operator accepts that.
        out: lines to send now, in order.
    """

    def __init__(self, nick: str, username: str, *, secure: bool = False) -> None:
        self.nick = nick
        self.registered = False
        self.isupport = ISupport()
        self.caps: set[str] = set()
        self.account: str | None = None
        self.login_refused = False
        self.user_modes = ""
        self.bot = False
        self.secure = secure
        self.out: list[bytes] = []
        self._user_bytes = len(username)  # of the longest user and host of ours that the server has shown
        self._host_bytes = 0

    def send(self, command: str, *params: str) -> None:
        """Add a line to send now."""
        self.out.append(encode(command, *params, limit=self.isupport.linelen))

    def fold(self, name: str) -> str:
        """Case-fold a nick, a channel or an account as the server does."""
        return self.isupport.fold(name)

    def is_me(self, target: str) -> bool:
        """Whether `target` is our nick."""
        return self.fold(target) == self.fold(self.nick)

    def is_own(self, source: Source | None) -> bool:
        """Whether a message comes from us."""
        return source is not None and self.is_me(source.nick)

    def is_channel(self, target: str) -> bool:
        """Whether `target` can be the name of one channel."""
        return target[:1] in set(self.isupport.chantypes) and len(target) > 1 and not NOT_IN_CHANNEL.search(target)

    def split_target(self, target: str) -> tuple[str, str]:
        """`@#c` is the people with @ in #c: the prefix, and the name."""
        if target[:1] and target[0] in self.isupport.statusmsg and self.is_channel(target[1:]):
            return target[0], target[1:]
        return "", target

    def is_target(self, target: str) -> bool:
        """Whether a message may be sent to `target`: one person or one channel."""
        return is_nick(target) or self.is_channel(self.split_target(target)[1])

    def take_nick(self, nick: str) -> None:
        """The server says that our nick is `nick`."""
        if not is_nick(nick):
            raise ProtocolError("invalid nickname")
        self.nick = nick

    def learn_mask(self, user: str, host: str) -> None:
        """The server has shown our user and host, or one of them."""
        self._user_bytes = max(self._user_bytes, min(len(user.encode()), _USER_LIMIT))
        self._host_bytes = max(self._host_bytes, min(len(host.encode()), _HOST_LIMIT))

    def learn_full_mask(self, mask: str) -> None:
        """The same for nick!user@host or user@host."""
        user, _, host = mask.rpartition("!")[2].rpartition("@")
        self.learn_mask(user, host)

    def room(self, command: str, target: str) -> int:
        """The bytes of text that reach `target` untruncated: the server relays our line with our source before it.

        The source counts with the longest user and host that the server allows or has shown: a server that hides hosts
        may show others a longer one than us.
        """
        user = max(self._user_bytes, self.isupport.userlen) + 1  # a "~" before it
        host = max(self._host_bytes, self.isupport.hostlen)
        source = 1 + len(self.nick.encode()) + 1 + user + 1 + host  # :nick!user@host
        return self.isupport.linelen - source - len(f" {command} {target} :\r\n".encode())
