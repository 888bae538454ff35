"""Who takes part in the HTTP benchmark: each row of its tables, and how each server is started."""

from __future__ import annotations

import importlib.util
import shutil
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trustme

from benchmarks.harness import HERE, BenchmarkError, Server, UnavailableError, compiled_go, fingertrio_server
from benchmarks.wrk import Request
from fingertrio.testing.measure import Cores

STATUS = "Happy and well"
USERS = 1000
_PAGE_OF_USERS = 50  # statuses in one answer of /api/statuses

NAMES = {
    "fingertrio": "fingertrio",
    "twisted": "Twisted Web",
    "uvicorn": "Uvicorn + Starlette",
    "go": "Go net/http",
    "nginx": "nginx, a file",
    "asgi": "bare ASGI",
    "quart": "Quart",
}

_MODULES = {"twisted": ("twisted",), "uvicorn": ("uvicorn", "uvloop", "httptools", "starlette")}

_CALL = (
    '<?xml version="1.0"?><methodCall><methodName>getUser</methodName>'
    "<params><param><value><string>moshez</string></value></param></params></methodCall>"
)
_XML = {"Content-Type": "text/xml"}


@dataclass(frozen=True, slots=True)
class Work:
    """One row of the table.

    Attributes:
        name: of the row.
        request: what is asked.
        peers: who can do it, besides fingertrio.
        tls: over TLS, HTTP/1.1.
        like: another row, to whose peers this one is compared; its own `peers` are empty.
        is_known: the client has the answer already: the entity-tag is added, and the answer is 304.
        holds: what a right answer contains.
    """

    name: str
    request: Request
    peers: Sequence[str] = ()
    tls: bool = False
    like: str = ""
    is_known: bool = False
    holds: bytes = STATUS.encode()


_JSON, _PAGE = "/api/users/moshez", "/moshez"
_ATOM, _FEED = "/moshez/feed.atom", "/moshez/feed.json"
_WEBFINGER = "/.well-known/webfinger?resource=acct:moshez@example.org"

WORK = (
    Work("JSON", Request(_JSON), ("twisted", "uvicorn", "go", "nginx", "asgi", "quart")),
    Work("page", Request(_PAGE), ("twisted", "uvicorn", "nginx", "quart")),
    Work("304", Request(_JSON), ("twisted", "uvicorn"), is_known=True, holds=b""),
    Work("XML-RPC", Request("/RPC2", _CALL, _XML), ("twisted", "quart")),
    Work("JSON over TLS", Request(_JSON), ("twisted", "uvicorn", "go", "nginx"), tls=True),
    Work("list of 1,000", Request("/api/users"), ("twisted", "uvicorn", "nginx"), holds=b"user0998"),
    # Documents from memory, as the row JSON is, so they are compared with its peers.
    Work("WebFinger", Request(_WEBFINGER), like="JSON", holds=b"acct:moshez@example.org"),
    Work("Atom", Request(_ATOM), like="JSON"),
    Work("Atom, 304", Request(_ATOM), like="304", is_known=True, holds=b""),
    Work("JSON Feed", Request(_FEED), like="JSON"),
    Work("JSON Feed, 304", Request(_FEED), like="304", is_known=True, holds=b""),
    Work("50 statuses", Request("/api/statuses"), like="JSON"),
    Work("JSON, made anew", Request(_JSON, new=True), like="JSON"),
    Work("page, made anew", Request(_PAGE, new=True), like="page"),
    Work("XML-RPC, made anew", Request("/RPC2", _CALL, _XML, new=True), like="XML-RPC"),
)


def configuration(certfile: Path | None = None) -> dict[str, dict[str, Any]]:
    """fingertrio's, as shipped but for the limits: no address is exempt, and the numbers let the load pass."""
    users = {"moshez": STATUS, **{f"user{number:04}": "At work" for number in range(USERS - 1)}}
    tls = {} if certfile is None else {"certfile": certfile, "keyfile": certfile}
    return {
        "backend": {"use": "memory", "users": users},
        "limits": {"exempt": [], "queries": 1e9, "query_burst": 1e9},
        "setter": {"listen": ["127.0.0.1:0"], "auth": "none"},
        "webfinger": {"domains": ["example.org"]},
        "http": {
            "listen": ["127.0.0.1:0"],
            "url": "https://example.org",
            "max_connections_per_address": 10_000,
            "trusted_proxies": [],
            **tls,
        },
    }


def set_statuses(server: Server) -> None:
    """Set the statuses of a page of users, as feeds need it: those of the configuration have no time."""
    for user, status in [
        *((f"user{number:04}", "At work") for number in range(_PAGE_OF_USERS - 1)),
        ("moshez", STATUS),
    ]:
        with socket.create_connection(("127.0.0.1", server.port("setter")), timeout=5) as client:
            client.sendall(f"{user}\r\n{status}\r\n".encode())
            client.shutdown(socket.SHUT_WR)
            if not (answer := client.recv(1000)).startswith(b"OK"):
                raise BenchmarkError(f"{user} cannot be set: {answer!r}")


class Servers:
    """Makes the servers."""

    def __init__(self, directory: Path, cores: Cores) -> None:
        self._directory = directory
        self._cores = cores
        self._certfile = directory / "certificate.pem"
        authority = trustme.CA()
        authority.issue_cert("localhost", "127.0.0.1").private_key_and_cert_chain_pem.write_to_path(self._certfile)

    def make(self, name: str, *, tls: bool) -> Server:
        """A server, not yet started.

        Raises:
            UnavailableError: this machine does not have what it needs.
        """
        title = f"{name}-tls" if tls else name
        core = self._cores.server
        if name == "fingertrio":
            config = configuration(self._certfile if tls else None)
            return fingertrio_server(title, self._directory, config, core=core)
        command = [*self._command(name), str(USERS), *([str(self._certfile)] if tls else [])]
        if name == "quart":
            command.append("quart")
        elif name == "asgi":
            command.append("bare")
        environ = {"TMPDIR": str(self._directory)}
        return Server(title, command, self._directory / f"{title}.log", core=core, environ=environ)

    def _command(self, name: str) -> list[str]:
        peers = HERE / "peers"
        if name == "go":
            return [str(compiled_go(peers / "web.go"))]
        if name == "nginx" and shutil.which("nginx") is None and not Path("/usr/sbin/nginx").exists():
            raise UnavailableError("nginx is not installed (Debian package nginx)")
        for module in _MODULES.get(name, ()):
            if importlib.util.find_spec(module) is None:
                raise UnavailableError(f"{module} is not installed (pip install -r benchmarks/requirements.txt)")
        script = "web_hypercorn.py" if name in {"asgi", "quart"} else f"web_{name}.py"
        return [sys.executable, str(peers / script)]
