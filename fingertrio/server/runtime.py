"""The runtime file: how the command line finds the running servers of this machine. Standard library only.

A server holds a file `server-PID.json` in the first of these directories that it can use, locked (flock) for as long as
it runs; the kernel releases the lock however the server ends, so a file without a lock is stale. Commands use the first
directory in which a server runs, so a user's own server comes before the machine's:

    $RUNTIME_DIRECTORY                  systemd's RuntimeDirectory=
    $XDG_RUNTIME_DIR/fingertrio         a user's own server
    /run/fingertrio                     a server that is started as root without systemd
    /run/fingertrio/running             for commands: RuntimeDirectory= of the units in conf/
    ~/.local/state/fingertrio/run       none of these
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

_VERSION = 1
_SIZE_LIMIT = 1024 * 1024  # bytes
SYSTEM = Path("/run/fingertrio")


@dataclass(frozen=True, slots=True)
class RunningServer:
    """What a running server says of itself.

    Attributes:
        pid: of its process.
        config: the configuration file; None: the built-in default.
        backend: the name of its backend.
        database: the SQLite database, if it has one.
        history, history_days: how much history is kept there, see `SQLiteOptions`.
        tokens: the tokens file, unless the backend keeps the tokens.
        doors: the addresses of each front end, as it reports them: "127.0.0.1:7979", "http://127.0.0.1:8000".
        setters: the addresses of the setter with the proof that each asks for: none, token or peer.
        default_for: how long a status lasts that is set without an end.
    """

    pid: int
    config: str | None = None
    backend: str = ""
    database: str | None = None
    history: int | None = None
    history_days: float | None = None
    tokens: str | None = None
    doors: Mapping[str, Sequence[str]] = field(default_factory=dict)
    setters: Mapping[str, str] = field(default_factory=dict)
    default_for: str | None = None

    @property
    def url(self) -> str | None:
        """The base URL of its web front end, if that listens on TCP."""
        url = next((url for url in self.doors.get("http", ()) if url.startswith("http")), None)
        return None if url is None else url.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")


def directories(environ: Mapping[str, str], *, to_serve: bool = False) -> list[Path]:
    """Where runtime files may be, in the order of the table above; `to_serve`: where this process may put one."""
    found = [Path(part) for part in environ.get("RUNTIME_DIRECTORY", "").split(":") if part.startswith("/")]
    if (user := environ.get("XDG_RUNTIME_DIR", "")).startswith("/"):
        found.append(Path(user) / "fingertrio")
    if not to_serve or os.geteuid() == 0:
        found.append(SYSTEM)
    if not to_serve:
        found.append(SYSTEM / "running")
    state = environ.get("XDG_STATE_HOME", "")
    with suppress(RuntimeError):  # no home directory
        found.append((Path(state) if state.startswith("/") else Path("~/.local/state").expanduser()) / "fingertrio/run")
    return list(dict.fromkeys(found))


class RuntimeFile:
    """The runtime file of this process.

    Opened before privileges are dropped, so that a directory of root's can be used; written when the server is ready.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor

    @classmethod
    def open(cls, environ: Mapping[str, str] = os.environ) -> RuntimeFile | None:
        """Make the file in the first directory that this process can use; None: it can use none of them."""
        for directory in directories(environ, to_serve=True):
            path = directory / f"server-{os.getpid()}.json"
            try:
                directory.mkdir(mode=0o755, parents=True, exist_ok=True)
                flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
                descriptor = os.open(path, flags, 0o644)
            except OSError:
                continue
            os.fchmod(descriptor, 0o644)  # whatever the umask: the commands of all users read it
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            return cls(path, descriptor)
        return None

    def publish(self, server: RunningServer) -> None:
        """Write what `server` says. Raises OSError."""
        document = json.dumps({"version": _VERSION, **asdict(server)}, ensure_ascii=False).encode()
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, document, 0)

    def close(self) -> None:
        """Remove the file and release the lock."""
        with suppress(OSError):
            self.path.unlink()
        os.close(self._descriptor)


def running_servers(environ: Mapping[str, str] = os.environ) -> list[RunningServer]:
    """The servers in the first directory in which one runs. More than one: the caller has to choose."""
    for directory in directories(environ):
        if servers := list(_servers_in(directory)):
            return servers
    return []


def _servers_in(directory: Path) -> Iterator[RunningServer]:
    try:
        paths = sorted(directory.glob("server-*.json"))
    except OSError:
        return
    for path in paths:
        with suppress(OSError, ValueError, TypeError):
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                if _is_locked(descriptor) and (server := _parse(os.read(descriptor, _SIZE_LIMIT))) is not None:
                    yield server
            finally:
                os.close(descriptor)


def _is_locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


def _parse(document: bytes) -> RunningServer | None:
    """The server that wrote this; None: it is not ready yet, or of another version."""
    if not document:
        return None
    found: Any = json.loads(document)
    if not isinstance(found, dict) or found.pop("version", None) != _VERSION:
        return None
    return RunningServer(**found)
