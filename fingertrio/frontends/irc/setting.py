"""Setting a status from IRC: `/msg fingerbot set TEXT`, for people whom the network's services vouch for.

The proof is the account that the server attaches to that very message (account-tag), or that it tells when asked
(WHOX); never a nick, and never what was known before. The connection must be one that nobody else can write to:
verified TLS, a unix socket, or loopback. The operator's mapping says which account may set which user.
"""

from __future__ import annotations

from typing import Protocol

import trio

from fingertrio.accounts.writer import NotAllowedError, Writer
from fingertrio.backend import NO_SUCH_USER, BackendError
from fingertrio.frontends.irc.reports import NetworkReports
from fingertrio.frontends.irc.settings import NetworkSettings
from fingertrio.names import is_user_name
from fingertrio.service import FingerService
from fingertrio.wire.irc_client import IRCClient
from fingertrio.wire.irc_events import AccountProved, PrivateMessage
from fingertrio.wire.irc_format import strip_formatting
from fingertrio.wire.text import clean_line, first_line

SAME = "same"

_NOT_LOGGED_IN = "Log in to services first."
_TOO_MANY = "Too many changes, try again later."

# Answers to WHO come within ten seconds, or the client gives up; this is for a client that has ended.
_PROOF_SECONDS = 15.0


class Rate(Protocol):
    """How often one account may set a status."""

    def allow(self, peer: str, now: float) -> bool:
        """Take one token; False: none is left."""
        ...


class Setting:
    """Sets statuses for one session.

    Args:
        client: asks the server for accounts.
        settings: of the network.
        service: sets the statuses.
        reports: gets the audit line.
        trusted: whether nobody between the server and us can change messages.
        rate: limits each account; None: no limit.
    """

    def __init__(
        self,
        client: IRCClient,
        settings: NetworkSettings,
        service: FingerService,
        reports: NetworkReports,
        *,
        trusted: bool,
        rate: Rate | None = None,
    ) -> None:
        self.settings = settings
        self._client = client
        self._service = service
        self._reports = reports
        self._trusted = trusted
        self._rate = rate
        self._proofs: dict[int, tuple[trio.Event, list[str | None]]] = {}

    @property
    def is_configured(self) -> bool:
        """Whether anybody may set a status."""
        return self.settings.set_by is not None

    def obstacle(self) -> str | None:
        """Why nobody can set a status on this connection, although it is configured; None: somebody can."""
        if not self.is_configured:
            return None
        if not self._service.can_set:
            return "the backend cannot set a status"
        if not self._trusted:
            return "the connection is neither verified by TLS nor local"
        state = self._client.state
        if "account-tag" not in state.caps and not state.isupport.has_whox:
            return "the server tells no accounts: it has neither account-tag nor WHOX"
        return None

    def begin(self, message: PrivateMessage) -> int | None:
        """Ask the server for the account behind `message`, if the message does not tell; the token of the question."""
        if self.obstacle() is not None or "account-tag" in self._client.state.caps:
            return None
        token = self._client.ask_account(message.source, trio.current_time())
        if token is not None:
            self._proofs[token] = trio.Event(), [None]
        return token

    def proved(self, event: AccountProved) -> None:
        """The server has answered."""
        if (proof := self._proofs.get(event.token)) is not None:
            proof[1][0] = event.account
            proof[0].set()

    async def answer(self, message: PrivateMessage, status: str, token: int | None) -> tuple[str, str]:
        """Set or clear a status; the text for the sender, and the outcome for the log."""
        if (obstacle := self.obstacle()) is not None:
            return f"No status can be set here: {obstacle}.", "denied"
        account = message.account if token is None else await self._proof(token)
        if account is None:
            return _NOT_LOGGED_IN, "denied"
        user = self._user_of(account)
        if user is None:
            return f"{clean_line(account)} may not set a status here.", "denied"
        if self._rate is not None and not self._rate.allow(
            f"irc {self._reports.network} {self._client.fold(account)}", trio.current_time()
        ):
            self._reports.refused("rate")
            return _TOO_MANY, "denied"
        if self.settings.dry_run:
            self._reports.info("irc_would_send", what="set", user=user, account=account)
            return f"{user}: this is a dry run, nothing was set.", "ok"
        return await self._write(message, user, account, clean_line(strip_formatting(status)))

    async def _write(self, message: PrivateMessage, user: str, account: str, status: str) -> tuple[str, str]:
        proof = f"irc:{self._reports.network}:{account}"
        writer = Writer(user=user, admin=False, door="irc", proof=proof)
        try:
            if status:
                await self._service.set_user(user, status, writer=writer)
            elif await self._service.clear_user(user, writer=writer) is None:
                return NO_SUCH_USER, "unknown"
        except NotAllowedError as error:
            return str(error), "denied"
        except ValueError as error:
            return first_line(str(error)), "bad"
        except BackendError as error:
            return clean_line(error.public_message), "error"
        self._reports.info("irc_set", account=account, peer=str(message.source), user=user)
        return f"OK: {user}: {status or 'no status'}", "ok"

    async def _proof(self, token: int) -> str | None:
        event, account = self._proofs[token]
        try:
            with trio.move_on_after(_PROOF_SECONDS):
                await event.wait()
        finally:
            del self._proofs[token]
        return account[0]

    def _user_of(self, account: str) -> str | None:
        mapping = self.settings.set_by
        if mapping == SAME:
            name = self._client.fold(account)
            return name if is_user_name(name) else None
        if mapping is None or isinstance(mapping, str):
            return None
        folded = self._client.fold(account)
        return next((user for name, user in mapping.items() if self._client.fold(name) == folded), None)
