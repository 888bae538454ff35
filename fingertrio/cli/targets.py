"""Where `fingertrio set` sends a status: a server's web front end, or a setter of this machine."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any, Protocol
from urllib.parse import quote

import click

from fingertrio.cli import api, discover
from fingertrio.cli.errors import MISTAKE, REFUSED, UNREACHABLE, failure
from fingertrio.server.runtime import RunningServer
from fingertrio.wire.text import clean_line

TLS_SCHEME = "tls://"  # of a setter whose clients speak TLS


@dataclass(frozen=True, slots=True)
class Write:
    """A status to be set, or one that is shown. `status` empty: none, or take the present one back."""

    user: str
    status: str
    until: datetime | None


class Target(Protocol):
    """A place that takes statuses.

    Attributes:
        name: for messages.
        user: whose status it is by default; None: that of the login name.
        presets: statuses with a name.
    """

    name: str
    user: str | None
    presets: Mapping[str, Mapping[str, str]]

    def present(self, user: str) -> str:
        """The present status of `user`, as far as it can be asked for; otherwise empty."""
        ...

    def send(self, write: Write) -> Write:
        """Set a status; what is shown now. Ends the program if that fails."""
        ...


class WebTarget:
    """A web front end, with a token."""

    def __init__(self, url: str, token: str, presets: Mapping[str, Mapping[str, str]] | None = None) -> None:
        self.name = url
        self._token = token
        self.user: str | None = self._request("GET", "/api/whoami").get("user")
        self.presets = presets or {}

    def present(self, user: str) -> str:
        return _present(self.name, user)

    def send(self, write: Write) -> Write:
        path = f"/api/users/{quote(write.user, safe='')}/status"
        if not write.status:
            self._request("DELETE", path)
            return write
        document = {"status": write.status} | ({} if write.until is None else {"until": write.until.isoformat()})
        shown = self._request("PUT", path, document)
        until = shown.get("until")
        return replace(write, status=shown["status"], until=None if until is None else datetime.fromisoformat(until))

    def _request(self, method: str, path: str, document: object = None) -> Mapping[str, Any]:
        try:
            found: Mapping[str, Any] = api.request(method, self.name, path, token=self._token, document=document)
        except api.APIError as error:
            if not error.status:
                raise failure(str(error), UNREACHABLE) from None
            raise failure(f"{self.name}: {error}", REFUSED) from None
        return found


class SetterTarget:
    """A setter, by TCP or by its unix socket."""

    user: str | None = None

    def __init__(
        self, address: str, presets: Mapping[str, Mapping[str, str]], token: str | None, url: str | None = None
    ) -> None:
        self.name = address
        self._url = url
        self.presets = presets
        self._token = token

    def present(self, user: str) -> str:
        return "" if self._url is None else _present(self._url, user)

    def send(self, write: Write) -> Write:
        import ssl  # noqa: PLC0415 -- a status that goes by HTTP needs neither this nor Trio

        import trio  # noqa: PLC0415 -- as above

        from fingertrio.clients.dial import RemoteError  # noqa: PLC0415 -- as above
        from fingertrio.clients.setter import SetterError, set_status  # noqa: PLC0415 -- as above
        from fingertrio.net.address import parse_address  # noqa: PLC0415 -- as above

        try:
            address = parse_address(self.name.removeprefix(TLS_SCHEME))
            send = partial(
                set_status,
                write.user,
                write.status,
                until=None if write.until is None else write.until.isoformat(),
                token=self._token,
                host=address.host,
                port=address.port,
                path=address.path or "",
                # It accepts what the system's certificate authorities signed, or those of SSL_CERT_FILE.
                tls=ssl.create_default_context() if self.name.startswith(TLS_SCHEME) else None,
            )
            trio.run(send)
        except ValueError as error:
            raise click.UsageError(str(error)) from None
        except SetterError as error:
            raise failure(f"{self.name}: {clean_line(str(error))}", REFUSED) from None
        except (RemoteError, OSError) as error:
            reason = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
            what = f"{self.name}: {clean_line(reason)}. Is a server running, and does it have [setter]?"
            raise failure(what, UNREACHABLE) from None
        return write


def _present(url: str, user: str) -> str:
    try:
        found: Mapping[str, Any] = api.request("GET", url, f"/api/users/{quote(user, safe='')}")
    except api.APIError:
        return ""
    return str(found.get("status", ""))


def find_target(url: str | None, place: str | None) -> Target:
    """The target that the options name, or the first source in the order that `discover` describes."""
    token = os.environ.get("FINGERTRIO_TOKEN")
    url = (url or os.environ.get("FINGERTRIO_URL") or "").rstrip("/")
    if place is None and url.startswith(TLS_SCHEME):
        place = url
    if place is not None:
        return SetterTarget(place, {}, token)
    login = discover.read_login()
    if url:
        token = token or (login.token if login is not None and login.url == url else None)
        if token is None:
            raise failure(f"{url}: there is no token for this server: run fingertrio login {url}", MISTAKE)
        return WebTarget(url, token)
    if login is not None:
        return WebTarget(login.url, login.token)
    server = discover.running_server()
    return SetterTarget(discover.DEFAULT_SETTER, {}, token) if server is None else _of_server(server, token)


def _of_server(server: RunningServer, token: str | None) -> Target:
    if token is not None and server.url is not None:
        return WebTarget(server.url, token, server.presets)
    for proof in ("peer", "none", "token"):
        for address, needed in server.setters.items():
            if needed == proof and (needed != "token" or token is not None):
                return SetterTarget(address, server.presets, token, server.url)
    if server.setters or server.url is not None:
        raise failure(
            f"the server that runs here (pid {server.pid}) wants a token: its operator makes one with "
            f"fingertrio token add; then run fingertrio login {server.url or ''}".rstrip(),
            MISTAKE,
        )
    raise failure(f"the server that runs here (pid {server.pid}) has neither [setter] nor [http]", UNREACHABLE)
