"""Where `fingertrio set` sends a status: a server's web front end, or a setter of this machine."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote

import click

from fingertrio.cli import api, discover
from fingertrio.cli.errors import MISTAKE, REFUSED, UNREACHABLE, failure, nearest
from fingertrio.net.address import parse_address
from fingertrio.server.runtime import RunningServer
from fingertrio.wire.presets import preset_name
from fingertrio.wire.text import clean_line

TLS_SCHEME = "tls://"  # of a setter whose clients speak TLS

if TYPE_CHECKING:
    import ssl


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
    """

    name: str

    def owner(self) -> str:
        """Whose status it is by default."""
        ...

    def present(self, user: str) -> str:
        """The present status of `user`, as far as it can be asked for; otherwise empty."""
        ...

    def similar(self, user: str) -> str:
        """For a user who does not exist yet, those with similar names, as the end of a message; otherwise empty."""
        ...

    def send(self, write: Write) -> Write:
        """Set a status; what is shown now. Ends the program if that fails."""
        ...


class WebTarget:
    """A web front end, with a token."""

    def __init__(self, url: str, token: str, user: str | None = None) -> None:
        self.name = url
        self._token = token
        self._user = user

    def owner(self) -> str:
        return self._user or str(self._request("GET", "/api/whoami").get("user"))

    def present(self, user: str) -> str:
        found = _shown(self.name, user)
        return "" if found is None else found.status

    def similar(self, user: str) -> str:
        return _similar(self.name, user)

    def send(self, write: Write) -> Write:
        path = f"/api/users/{quote(write.user, safe='')}/status"
        if not write.status:
            self._request("DELETE", path)
            return write
        document = {"status": write.status} | ({} if write.until is None else {"until": write.until.isoformat()})
        return _write_of(self._request("PUT", path, document))

    def _request(self, method: str, path: str, document: object = None) -> Mapping[str, Any]:
        try:
            found: Mapping[str, Any] = api.request(method, self.name, path, token=self._token, document=document)
        except api.APIError as error:
            if not error.status:
                raise failure(str(error), UNREACHABLE) from None
            raise failure(f"{self.name}: {error}", REFUSED) from None
        return found


class SetterTarget:
    """A setter, by TCP or by its unix socket; and the server that it belongs to, if that is known."""

    def __init__(self, address: str, token: str | None, server: RunningServer | None = None) -> None:
        self.name = address
        self._token = token
        self._url = None if server is None else server.url
        self._has_default = server is not None and server.default_for is not None

    def owner(self) -> str:
        return discover.login_name()

    def present(self, user: str) -> str:
        found = None if self._url is None else _shown(self._url, user)
        return "" if found is None else found.status

    def similar(self, user: str) -> str:
        return "" if self._url is None else _similar(self._url, user)

    def send(self, write: Write) -> Write:
        from fingertrio.clients.setter_blocking import SetterError, set_status  # noqa: PLC0415 -- not for HTTP

        try:
            address = parse_address(self.name.removeprefix(TLS_SCHEME))
            set_status(
                write.user,
                write.status,
                until=None if write.until is None else write.until.isoformat(),
                token=self._token,
                host=address.host,
                port=address.port,
                path=address.path or "",
                tls=_accepted() if self.name.startswith(TLS_SCHEME) else None,
            )
        except ValueError as error:
            raise click.UsageError(str(error)) from None
        except SetterError as error:
            lacks_token = self._token is None and str(error).startswith("a token is needed")
            reason = "a token is needed; put one into FINGERTRIO_TOKEN" if lacks_token else clean_line(str(error))
            raise failure(f"{self.name}: {reason}", REFUSED) from None
        except OSError as error:
            raise failure(f"{self.name}: {_unreachable(error)}", UNREACHABLE) from None
        return self._shown(write)

    def _shown(self, write: Write) -> Write:
        """What is shown now. Only the server knows what a preset is, and when a status without an end ends."""
        decided_there = preset_name(write.status) is not None or (write.until is None and self._has_default)
        if not write.status or not decided_there or self._url is None:
            return write
        return _shown(self._url, write.user) or write


def _accepted() -> ssl.SSLContext:
    """What the system's certificate authorities signed, or those of SSL_CERT_FILE."""
    import ssl  # noqa: PLC0415 -- only for a setter with TLS

    return ssl.create_default_context()


def _unreachable(error: OSError) -> str:
    """Why a setter could not be asked, and what to do next."""
    if isinstance(error, PermissionError):
        return 'you may not connect to it; its operator can allow that with socket_mode = "0666" in [setter]'
    if isinstance(error, ConnectionRefusedError | FileNotFoundError):
        return "nothing listens there; start a server with fingertrio serve, or name its setter with --at"
    return clean_line(error.strerror or str(error))


def _shown(url: str, user: str) -> Write | None:
    """What a web front end shows of `user`; None: nothing, or it cannot be asked."""
    try:
        return _write_of(api.request("GET", url, f"/api/users/{quote(user, safe='')}"))
    except (api.APIError, KeyError, ValueError):
        return None


def _similar(url: str, user: str) -> str:
    try:
        api.request("GET", url, f"/api/users/{quote(user, safe='')}")
    except api.APIError as error:
        if error.status != 404:
            return ""
    else:
        return ""
    try:
        names = [str(entry["user"]) for entry in api.request("GET", url, "/api/users")["users"]]
    except (api.APIError, KeyError, TypeError):
        return ""
    return nearest(user, names)


def _write_of(document: Mapping[str, Any]) -> Write:
    until = document.get("until")
    return Write(document["user"], document["status"], None if until is None else datetime.fromisoformat(until))


def find_target(url: str | None, place: str | None) -> Target:
    """The target that the options name, or the first source in the order that `discover` describes."""
    token = os.environ.get("FINGERTRIO_TOKEN")
    url = (url or os.environ.get("FINGERTRIO_URL") or "").rstrip("/")
    if place is None and url.startswith(TLS_SCHEME):
        place = url
    if place is not None:
        return SetterTarget(place, token)
    login = discover.read_login()
    if url:
        if token is None and login is not None and login.url == url:
            return WebTarget(url, login.token, login.user)
        if token is None:
            raise failure(f"{url}: there is no token for this server: run fingertrio login {url}", MISTAKE)
        return WebTarget(url, token)
    if login is not None:
        return WebTarget(login.url, token or login.token, None if token else login.user)
    server = discover.running_server()
    return SetterTarget(discover.DEFAULT_SETTER, token) if server is None else _of_server(server, token)


def _of_server(server: RunningServer, token: str | None) -> Target:
    if token is not None and server.url is not None:
        return WebTarget(server.url, token)
    for proof in ("peer", "none", "token"):
        for address, needed in server.setters.items():
            if needed == proof and (needed != "token" or token is not None):
                return SetterTarget(address, token, server)
    if server.setters or server.url is not None:
        raise failure(
            f"the server that runs here (pid {server.pid}) wants a token: its operator makes one with "
            f"fingertrio token add; then run fingertrio login {server.url or ''}".rstrip(),
            MISTAKE,
        )
    raise failure(f"the server that runs here (pid {server.pid}) has neither [setter] nor [http]", UNREACHABLE)
