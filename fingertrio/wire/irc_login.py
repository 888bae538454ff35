"""How a client introduces itself to an IRC network: names, password, account. No state, no I/O."""

from __future__ import annotations

from dataclasses import dataclass

from fingertrio.wire.irc import encode, is_nick
from fingertrio.wire.irc_secrets import Secret

# Servers truncate the user at about ten characters.
_USERNAME_LIMIT = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """Who we are on a network.

    Attributes:
        nick: the nick that we want.
        alternates: the nicks to try first if it is taken.
        username: the user in our source: one word of ASCII, at most 16 bytes.
        realname: shown by WHOIS.
        password: for PASS, the password of the server or of a bouncer.
        account: the name of our account with the network's services.
        account_password: its password.
        sasl: mechanisms in the order in which to try them: "external", "scram-sha-256", "plain". Empty: no SASL.
        sasl_required: without a login there is no session.
        services: whom to ask for IDENTIFY, REGAIN and RELEASE, "NickServ"; empty: nobody.
        bot_mode: set the user mode that marks a bot.
        ask_chanserv: ask ChanServ for help with a channel that rejects us.

    Raises:
        ValueError: a name cannot be sent to a server.
    """

    nick: str
    alternates: tuple[str, ...] = ()
    username: str = "fingertrio"
    realname: str = "Send me a user's name to learn their status"
    password: Secret | None = None
    account: str | None = None
    account_password: Secret | None = None
    sasl: tuple[str, ...] = ()
    sasl_required: bool = False
    services: str = ""
    bot_mode: bool = True
    ask_chanserv: bool = False

    def __post_init__(self) -> None:
        if not all(is_nick(nick) for nick in (self.nick, *self.alternates)):
            raise ValueError("not a valid IRC nickname")
        if not (is_nick(self.username) and self.username.isascii() and len(self.username) <= _USERNAME_LIMIT):
            raise ValueError(f"an IRC user name must be one word of at most {_USERNAME_LIMIT} ASCII characters")
        encode("USER", self.username, "0", "*", self.realname)
        if self.password is not None and (reason := pass_mistake(self.password.reveal())) is not None:
            raise ValueError(f"the server password {reason}")


def pass_mistake(password: str) -> str | None:
    """Why `password` cannot be sent by PASS; None: it can. The text does not contain it."""
    if not password:
        return "is empty"
    if any(char in password for char in "\0\r\n"):
        return "contains NUL, CR or LF"
    if password.startswith(":"):
        return 'starts with ":", which IRC servers remove'
    if " " in password:
        return "contains a space, which IRC servers do not accept in PASS"
    return None
