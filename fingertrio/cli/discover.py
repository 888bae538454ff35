"""Which server a command talks to, and as whom.

The first of these that is there:

1. the command's own options;
2. FINGERTRIO_URL (with FINGERTRIO_TOKEN), or FINGERTRIO_CONFIG for commands that work on files;
3. what `fingertrio login` stored;
4. the server that runs on this machine (`server.runtime`);
5. for commands that work on files, the configuration that `fingertrio init` wrote (`config.places`);
6. the default: the addresses of `make run`, or the built-in configuration's files.
"""

from __future__ import annotations

import json
import os
import pwd
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fingertrio.cli.errors import stop
from fingertrio.config.places import config_directory, default_config
from fingertrio.server.runtime import RunningServer, running_servers

# Where `make run` and `python -m fingertrio` listen.
DEFAULT_SETTER = "127.0.0.1:1079"
DEFAULT_URL = "http://127.0.0.1:8000"


@dataclass(frozen=True, slots=True)
class Login:
    """A server and a token for it, as `fingertrio login` stores them.

    Attributes:
        url: the base URL of its web front end.
        token: not in `repr`.
        user: whose token it is.
    """

    url: str
    token: str
    user: str

    def __repr__(self) -> str:
        return f"Login({self.url!r}, user={self.user!r})"


def login_path(environ: Mapping[str, str] = os.environ) -> Path:
    """The file with the stored login, in the user's configuration directory (XDG)."""
    return config_directory(environ) / "login.json"


def read_login(environ: Mapping[str, str] = os.environ) -> Login | None:
    """The stored login; None: there is none. Ends the program if it cannot be used."""
    path = login_path(environ)
    try:
        found = json.loads(path.read_text("utf-8"))
        return Login(found["url"], found["token"], found["user"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        stop(f"{path} cannot be used: {error}; run fingertrio login again")


def write_login(login: Login) -> Path:
    """Store a login, readable for this user alone."""
    path = login_path()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump({"url": login.url, "token": login.token, "user": login.user}, file)
        temporary.replace(path)
    except OSError:
        with suppress(OSError):
            temporary.unlink()
        raise
    return path


def running_server() -> RunningServer | None:
    """The server that runs on this machine; None: none does. Ends the program if there are several."""
    servers = running_servers()
    if len(servers) > 1:
        names = "; ".join(f"pid {server.pid}, {server.config or 'built-in configuration'}" for server in servers)
        stop(f"several servers run here ({names}); name one by an option or in the environment")
    return servers[0] if servers else None


def named_config() -> Path | None:
    """The configuration of FINGERTRIO_CONFIG, or the one that `fingertrio init` wrote; None: there is neither."""
    named = os.environ.get("FINGERTRIO_CONFIG")
    return Path(named) if named else default_config()


def serving_config() -> Path | None:
    """The configuration of FINGERTRIO_CONFIG, of the server of this machine, or the usual one; None: the built-in."""
    if "FINGERTRIO_CONFIG" not in os.environ and (server := running_server()) is not None:
        return None if server.config is None else Path(server.config)
    return named_config()


def web_url() -> str:
    """The web front end to read from, in the order above; reading needs no token."""
    if url := os.environ.get("FINGERTRIO_URL"):
        return url.rstrip("/")
    if (login := read_login()) is not None:
        return login.url
    server = running_server()
    return DEFAULT_URL if server is None or server.url is None else server.url


def login_name() -> str:
    """The login name of this user id, which is what a server learns, whatever LOGNAME says."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        stop("this user id has no login name; name the user with --user")
