"""Statuses from another XML-RPC service: a second fingertrio, Twisted's tutorial, or any server with such methods.

One method returns a string, the status; another returns a list of strings, the users. Integers and base64 in place of
strings are accepted. A server reports an unknown user by a configurable text, as in the tutorial (a status with exactly
this text cannot be distinguished from it), by nil, or by a fault with a configured code. This backend emits no changes:
every read is a call, and the service's cache limits how many there are.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from pydantic import BaseModel, ConfigDict, Field, HttpUrl

from fingertrio.backend import NO_SUCH_USER, BackendError, UserInfo
from fingertrio.clients.dial import RemoteError
from fingertrio.clients.xmlrpc import (
    ANSWER_LIMIT,
    CONNECTIONS,
    AnswerError,
    FaultError,
    XMLRPCClient,
    open_xmlrpc_client,
)
from fingertrio.names import is_user_name
from fingertrio.wire.text import clean, decode
from fingertrio.wire.xmlrpc import Value

_METHOD_NAME = r"^[A-Za-z0-9_.:/]{1,255}$"


class XMLRPCOptions(BaseModel):
    """Options of the `xmlrpc` backend."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: HttpUrl = Field(description="URL of the service, for example https://finger.example.net/RPC2")
    get_user: str = Field(
        "getUser", pattern=_METHOD_NAME, description="method that takes a user name and returns the status"
    )
    get_users: str = Field(
        "getUsers", pattern=_METHOD_NAME, description="method that returns an array of all user names"
    )
    unknown: str = Field(NO_SUCH_USER, description="the status that means that there is no such user, besides nil")
    unknown_faults: tuple[int, ...] = Field(
        (), description="codes of faults that mean that there is no such user; every other fault is a failure"
    )
    timeout: float = Field(
        4.5,
        gt=0,
        description="seconds for one answer; keep it below the service's 5, so that the log names the host",
    )
    limit: int = Field(ANSWER_LIMIT, gt=0, description="bytes of one answer; a longer one is a failure")
    connections: int = Field(CONNECTIONS, ge=1, description="calls at once; further calls wait")


class XMLRPCBackend:
    """Calls the server through `client`. Lists users, in the server's order."""

    def __init__(self, client: XMLRPCClient, options: XMLRPCOptions) -> None:
        self._client = client
        self._options = options

    async def get_user(self, user: str) -> UserInfo | None:
        """See `Backend`. The cause of a BackendError names the host and the problem; clients do not see it."""
        if not is_user_name(user):
            return None
        try:
            value = await self._client.call(self._options.get_user, user)
        except (RemoteError, FaultError) as error:
            if isinstance(error, FaultError) and error.code in self._options.unknown_faults:
                return None
            raise BackendError from error
        status = _as_text(value)
        if value is None or status == self._options.unknown:
            return None
        if status is None:
            raise BackendError from AnswerError(f"{self._options.get_user} did not return a string")
        return UserInfo(user, clean(status).rstrip("\n"))

    async def get_users(self) -> Sequence[str]:
        """See `ListsUsers`."""
        try:
            users = await self._client.call(self._options.get_users)
        except (RemoteError, FaultError) as error:
            raise BackendError from error
        if not isinstance(users, list):
            raise BackendError from AnswerError(f"{self._options.get_users} did not return an array")
        names = [name for user in users if (name := _as_text(user)) is not None]
        if len(names) < len(users):
            raise BackendError from AnswerError(f"{self._options.get_users} returned values that are not strings")
        return list(dict.fromkeys(names))


def _as_text(value: Value) -> str | None:
    """A string, also if it came as an integer or as base64; None: any other type.

    Servers in dynamic languages choose the type by the value: the user 42 becomes an integer, and "Grüße" base64.
    """
    match value:
        case str():
            return value
        case bytes():
            return decode(value)
        case bool():  # is an int
            return None
        case int():
            return str(value)
    return None


@asynccontextmanager
async def open_xmlrpc(options: XMLRPCOptions) -> AsyncIterator[XMLRPCBackend]:
    """A backend that calls another XML-RPC service. It connects at the first call."""
    async with open_xmlrpc_client(
        str(options.url), timeout=options.timeout, limit=options.limit, connections=options.connections
    ) as client:
        yield XMLRPCBackend(client, options)
