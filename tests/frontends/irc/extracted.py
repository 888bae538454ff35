"""IRC servers that .ci/extract has unpacked, started on loopback: ircd-hybrid, irc2, bip, and three from PyPI.

ircd-hybrid and irc2 have the paths of their files compiled in. So a test runs a copy in which these paths lead into a
directory of its own: one of the same length, since a program's data cannot move.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
import trustme

from tests.frontends.irc.real import HOST, NGIRCD, Running, directory, free_ports, program

_EXTRACTED = Path(tempfile.gettempdir()) / f"fingertrio-extracted-{os.getuid()}"

PASSWORD = "hushhush"  # which ngircd asks for, and the others accept

_HYBRID = """
serverinfo {{
    name = "hybrid.test"; sid = "1HY"; description = "a test"; network_name = "HybridTest";
    network_description = "a test"; max_nick_length = 20; default_max_clients = 100; {certificate}
}};
admin {{ name = "a"; description = "b"; email = "c"; }};
class {{
    name = "users"; ping_time = 90 seconds; number_per_ip_local = 100; number_per_ip_global = 100; max_number = 100;
    max_sendq = 1 megabytes; max_recvq = 8000 bytes;
}};
auth {{ user = "*@*"; class = "users"; flags = exceed_limit; }};
listen {{ host = "127.0.0.1"; port = {port}; {tls} }};
general {{ disable_auth = yes; throttle_count = 1000; }};
"""

_IRC2 = """M%irc2.test%%a test%%000A
A%a%b%c%%IRC2Test
Y%1%90%%100%512000%100.100%100.100
I%*%%%0%1
P%127.0.0.1%%%{port}%
"""

_BIP = """
ip = "127.0.0.1";
port = {port};
log = true;
log_root = "{here}/logs";
pid_file = "{here}/bip.pid";
log_level = 3;
network {{ name = "net"; server {{ host = "127.0.0.1"; port = {irc}; }}; }};
user {{
    name = "bot"; password = "{digest}"; default_nick = "fingerbot"; default_user = "bot"; default_realname = "bot";
    backlog = true; backlog_lines = 0; backlog_timestamp = "time"; backlog_msg_only = true;
    connection {{ name = "net"; network = "net"; password = "{server_password}"; }};
}};
"""


def extracted(name: str) -> Path:
    """What .ci/extract has unpacked; the test is skipped where it has not run."""
    path = _EXTRACTED / name
    if not path.exists():
        pytest.skip(f"needs {name}, which .ci/extract unpacks")
    return path


def patched(source: Path, target: Path, paths: Mapping[str, str]) -> None:
    """A copy of a program in which each of `paths` is another, at most as long, for example "/etc/x/conf": "/tmp/y/c".

    A prefix of a path ends in a slash, and is lengthened by slashes.
    """
    data = source.read_bytes()
    for old, new in paths.items():
        assert len(new) <= len(old), f"{new} is longer than {old}"
        if old.endswith("/"):
            assert data.count(old.encode()), f"{source.name} does not contain {old}"
            data = data.replace(old.encode(), new.ljust(len(old), "/").encode())
        else:
            assert data.count(old.encode() + b"\0") == 1, f"{source.name} does not contain {old}"
            data = data.replace(old.encode() + b"\0", new.encode().ljust(len(old) + 1, b"\0"))
    target.write_bytes(data)
    target.chmod(0o755)


@contextmanager
def short_directory() -> Iterator[Path]:
    """A directory with a name of 14 characters, which the user irc can use too."""
    with tempfile.TemporaryDirectory(prefix="f", dir="/tmp") as name:
        here = Path(name)
        here.chmod(0o755)
        yield here


def _give_to_irc(here: Path) -> None:
    """The servers run as the user irc if we are root, which they refuse to be."""
    if os.geteuid() == 0:
        for path in (here, *here.iterdir()):
            shutil.chown(path, "irc", "irc")


def _is_listening(port: int) -> bool:
    """Without a connection: aioircd mistakes the next client for one that has left before it registered."""
    tables = [Path("/proc/net", name).read_text().splitlines()[1:] for name in ("tcp", "tcp6")]
    sockets = [line.split() for table in tables for line in table]
    return any(fields[1].endswith(f":{port:04X}") and fields[3] == "0A" for fields in sockets)


@contextmanager
def running(command: Sequence[str | Path], here: Path, port: int, **environ: str) -> Iterator[None]:
    """A server, from when it listens. Those in Python may be root, and other users may not reach our Python."""
    is_python = command[0] == sys.executable
    if not is_python:
        _give_to_irc(here)
    settings = [f"{name}={value}" for name, value in environ.items()]
    arguments = ["env", *settings, *map(str, command)]
    server = Running(arguments, here / "out", lambda: _is_listening(port), unprivileged=not is_python)
    try:
        yield
    finally:
        server.stop()


@contextmanager
def hybrid(port: int, tls: int = 0, ca: trustme.CA | None = None) -> Iterator[Path]:
    """ircd-hybrid, with a CA also over TLS, as irc.test. Yields its directory, with cert.pem."""
    root = extracted("ircd-hybrid")
    with short_directory() as here:
        files = {name: str(here / name) for name in ("log", "pid", "kline", "dline", "xline", "resv")}
        patched(root / "usr/sbin/ircd-hybrid", here / "ircd", {"/usr/lib/ircd-hybrid/": f"{here}/"})
        (here / "modules").symlink_to(root / "usr/lib/ircd-hybrid/modules")
        certificate = ""
        if ca is not None:
            issued = ca.issue_cert(HOST)
            issued.private_key_pem.write_to_path(here / "key.pem")
            issued.cert_chain_pems[0].write_to_path(here / "cert.pem")
            certificate = f'rsa_private_key_file = "{here}/key.pem"; tls_certificate_file = "{here}/cert.pem";'
        more = f"flags = tls; port = {tls};" if tls else ""
        text = _HYBRID.format(port=port, certificate=certificate, tls=more)
        (here / "conf").write_text(text)
        arguments = [word for name, path in files.items() for word in (f"-{name}file", path)]
        with running([here / "ircd", "-foreground", "-configfile", here / "conf", *arguments], here, port):
            yield here


@contextmanager
def irc2(port: int) -> Iterator[None]:
    """irc2, the server of IRCnet. It reads its configuration through m4."""
    program("m4", "m4")
    root = extracted("ircd-irc2")
    with short_directory() as here:
        paths = {"/etc/ircd/ircd.conf": "conf", "/etc/ircd/ircd.m4": "m4", "/etc/ircd/ircd.motd": "motd"}
        paths |= {f"/var/run/ircd/ircd.{name}": name for name in ("pid", "tune")}
        paths |= {f"/var/log/ircd/ircd.{name}": name for name in ("users", "rejects", "opers")}
        patched(root / "usr/sbin/ircd", here / "ircd", {old: f"{here}/{new}" for old, new in paths.items()})
        shutil.copy(root / "etc/ircd/ircd.m4", here / "m4")
        (here / "motd").write_text("hello\n")
        (here / "conf").write_text(_IRC2.format(port=port))
        with running([here / "ircd", "-s", "-t", "-q", "-p", "off"], here, port):
            yield


@contextmanager
def bip(port: int, irc: int, password: str, *, server_password: str) -> Iterator[None]:
    """The bouncer, for the server at the port `irc` with that password. Clients log in with bot:PASSWORD:net."""
    root = extracted("bip")
    with directory() as here:
        seed = b"seed"
        once = hashlib.md5(seed + password.encode()).digest()
        digest = (seed + hashlib.md5(seed + once).digest()).hex()
        (here / "bip.conf").write_text(
            _BIP.format(port=port, irc=irc, here=here, digest=digest, server_password=server_password)
        )
        (here / "bip.conf").chmod(0o600)
        (here / "logs").mkdir()
        with running([root / "usr/bin/bip", "-n", "-f", here / "bip.conf", "-s", here], here, port):
            yield


@contextmanager
def irc_server(port: int) -> Iterator[None]:
    """`irc.server` of the package irc."""
    with directory() as here:
        command = [sys.executable, "-m", "irc.server", "-a", "127.0.0.1", "-p", str(port)]
        with running(command, here, port, PYTHONPATH=str(extracted("pypi"))):
            yield


@contextmanager
def aioircd(port: int) -> Iterator[None]:
    with directory() as here:
        environ = {"PYTHONPATH": str(extracted("pypi")), "HOST": "localhost", "ADDR": "127.0.0.1", "PORT": str(port)}
        with running([sys.executable, "-W", "ignore", "-m", "aioircd"], here, port, **environ):
            yield


@contextmanager
def omgircd3(port: int) -> Iterator[None]:
    with directory() as here:
        (here / "conf").write_text(f"[server]\nbind_host=127.0.0.1\nbind_port={port}\nhostname=omg.test\n")
        command = [sys.executable, "-m", "omgircd3.ircd", "--config", str(here / "conf")]
        with running(command, here, port, PYTHONPATH=str(extracted("pypi"))):
            yield


@contextmanager
def ngircd(port: int) -> Iterator[None]:
    with directory() as here:
        (here / "conf").write_text(NGIRCD.format(port=port, password=PASSWORD))
        with running([program("ngircd", "ngircd"), "-n", "-f", here / "conf"], here, port):
            yield


@contextmanager
def miniircd(port: int) -> Iterator[None]:
    with directory() as here:
        # It insists on not being root.
        options = ["--setuid", "nobody"] if os.geteuid() == 0 else []
        script = str(Path(sys.executable).with_name("miniircd"))
        command = [sys.executable, script, "--ports", str(port), "--listen", "127.0.0.1", *options]
        with running(command, here, port):
            yield


Serve = Callable[[int], AbstractContextManager[object]]

# Each takes the port where it is to listen.
SERVERS: Mapping[str, Serve] = {
    "ircd-hybrid": hybrid,
    "irc2": irc2,
    "ngircd": ngircd,
    "miniircd": miniircd,
    "irc.server": irc_server,
    "aioircd": aioircd,
    "omgircd3": omgircd3,
}


@contextmanager
def served(serve: Serve) -> Iterator[int]:
    """A server on a free port."""
    [port] = free_ports(1)
    with serve(port):
        yield port
