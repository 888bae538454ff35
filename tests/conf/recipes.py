"""Runs the files of conf/recipes as they are shipped: real programs, on loopback, each ended by its process id.

Only addresses and paths are replaced, and each replacement must be in the file: what is tested is what is shipped.
`listen` of a fingertrio comes from the environment (FINGERTRIO_FINGER__LISTEN), in place of sockets from systemd.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from fingertrio.testing.process import environment, run
from fingertrio.testing.program import Program, running
from fingertrio.testing.redis_server import free_port

RECIPES = Path(__file__).parents[2] / "conf/recipes"
SITE, DOMAIN = "finger.example.org", "example.org"

START = 20.0  # seconds until a proxy must listen

# Loopback counts like any other network, and one address may ask so often, then once a second.
BURST = 60
LIMITS = {
    "FINGERTRIO_LIMITS__EXEMPT": "[]",
    "FINGERTRIO_LIMITS__QUERY_BURST": str(BURST),
    "FINGERTRIO_LIMITS__QUERIES": "1",
    "FINGERTRIO_LIMITS__WRITE_BURST": "1000",
}


def recipe(name: str, directory: Path, replacements: Mapping[str, str]) -> Path:
    """A copy of a recipe in `directory`, with these texts replaced in order."""
    text = (RECIPES / name).read_text(encoding="utf-8")
    for old, new in replacements.items():
        assert old in text, f"conf/recipes/{name} has no {old!r}"
        text = text.replace(old, new)
    path = directory / name
    path.write_text(text, encoding="utf-8")
    return path


def listening(*doors: str, **others: str) -> dict[str, str]:
    """The environment that lets these doors listen on free ports of loopback, and others at an address."""
    places = {**dict.fromkeys(doors, "127.0.0.1:0"), **others}
    return {f"FINGERTRIO_{door.upper()}__LISTEN": f'["{address}"]' for door, address in places.items()}


@contextmanager
def serving(config: Path, environ: Mapping[str, str]) -> Iterator[Program]:
    """The program with a recipe. Its runtime file is beside the recipe, so that commands with `environ` find it."""
    with running(config, environ=own(config, environ)) as program:
        yield program


def own(config: Path, environ: Mapping[str, str]) -> dict[str, str]:
    return {"XDG_RUNTIME_DIR": str(config.parent), **environ}


def token(config: Path, environ: Mapping[str, str], user: str) -> str:
    """A token of `user` for every user's status."""
    done = run("token", "add", user, "--admin", "--config", config, environ={**environment(), **own(config, environ)})
    assert done.returncode == 0, done.stderr
    return next(word for word in done.stdout.split() if word.startswith("ft_"))


class Certificates:
    """Certificates of both names, for a proxy, and what trusts them."""

    def __init__(self, directory: Path) -> None:
        authority = trustme.CA()
        pair = authority.issue_cert(SITE, DOMAIN)
        self.chain, self.key, self.both = (directory / name for name in ("chain.pem", "key.pem", "both.pem"))
        for part, path in zip(pair.cert_chain_pems, (self.chain,), strict=True):
            part.write_to_path(path)
        pair.private_key_pem.write_to_path(self.key)
        pair.private_key_and_cert_chain_pem.write_to_path(self.both)
        for path in (self.chain, self.key, self.both):
            path.chmod(0o644)
        self.trusting = ssl.create_default_context()
        authority.configure_trust(self.trusting)


@dataclass(frozen=True)
class Proxy:
    """A running proxy.

    Attributes:
        port: of https, on 127.0.0.1.
        trusting: trusts its certificate.
        ports: of other protocols.
    """

    port: int
    trusting: ssl.SSLContext
    ports: Mapping[str, int]


def program_of(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if found is None:
        pytest.skip(f"needs {name} (Debian package {name})")
    return found


@contextmanager
def process(command: Sequence[object], log: Path, ports: Sequence[int], **environ: str) -> Iterator[None]:
    """A program that listens on these ports within START seconds; ended at the end."""
    environ = {"PATH": os.environ.get("PATH", ""), "HOME": str(log.parent), **environ}
    with log.open("wb") as output:
        started = subprocess.Popen(
            list(map(str, command)), stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environ, cwd=log.parent
        )
    try:
        deadline = time.monotonic() + START
        for port in ports:
            while not listens(port):
                assert started.poll() is None, f"{command[0]} ended:\n{log.read_text()}"
                assert time.monotonic() < deadline, f"{command[0]} does not listen:\n{log.read_text()}"
                time.sleep(0.02)
        yield
    finally:
        started.send_signal(signal.SIGTERM)
        try:
            started.wait(5)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def has_certificate(port: int, authority: Path, trusting: ssl.SSLContext) -> bool:
    """Whether a proxy that makes its certificate when it begins has made it: it listens before."""
    if not authority.exists():
        return False
    trusting.load_verify_locations(authority)
    with socket.create_connection(("127.0.0.1", port)) as plain:
        try:
            trusting.wrap_socket(plain, server_hostname=SITE).close()
        except ssl.SSLError:
            return False
    return True


@contextmanager
def caddy(directory: Path, upstream: tuple[str, int]) -> Iterator[Proxy]:
    """Caddy with the Caddyfile, its automatic certificates from an authority of its own instead of Let's Encrypt."""
    program, port = program_of("caddy"), free_port()
    site = recipe("Caddyfile", directory, {"127.0.0.1:8000": "{}:{}".format(*upstream)})
    main = directory / "main"
    main.write_text(f"""{{
        admin off
        local_certs
        skip_install_trust
        storage file_system {directory}/caddy
        http_port {free_port()}
        https_port {port}
    }}
    import {site}
    """)
    command = [program, "run", "--adapter", "caddyfile", "--config", main]
    with process(command, directory / "caddy.log", [port], XDG_CONFIG_HOME=str(directory), GOMAXPROCS="1"):
        trusting = ssl.create_default_context()
        deadline = time.monotonic() + START
        while not has_certificate(port, directory / "caddy/pki/authorities/local/root.crt", trusting):
            assert time.monotonic() < deadline, f"no certificate:\n{(directory / 'caddy.log').read_text()}"
            time.sleep(0.02)
        yield Proxy(port, trusting, {})


@contextmanager
def nginx(directory: Path, upstream: tuple[str, int]) -> Iterator[Proxy]:
    """nginx with nginx.conf, included as Debian includes sites."""
    program, port, plain = program_of("nginx"), free_port(), free_port()
    certificates = Certificates(directory)
    live = "/etc/letsencrypt/live/finger.example.org"
    site = recipe(
        "nginx.conf",
        directory,
        {
            "listen 443 ssl http2;": f"listen 127.0.0.1:{port} ssl http2;",
            "listen 80;": f"listen 127.0.0.1:{plain};",
            "listen [::]:443 ssl http2;": "",
            "listen [::]:80;": "",
            f"{live}/fullchain.pem": str(certificates.chain),
            f"{live}/privkey.pem": str(certificates.key),
            "127.0.0.1:8000": "{}:{}".format(*upstream),
        },
    )
    paths = "\n".join(
        f"{kind}_temp_path {directory}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = "user root root;" if os.geteuid() == 0 else ""  # a worker of another user cannot enter the directory
    main = directory / "main.conf"
    main.write_text(
        f"{user} daemon off; worker_processes 1; pid {directory}/pid; error_log stderr warn;\n"
        f"events {{ worker_connections 256; }}\nhttp {{ access_log off; gzip on;\n{paths}\ninclude {site};\n}}\n"
    )
    command = [program, "-c", main, "-p", directory, "-e", "stderr"]
    with process(command, directory / "nginx.log", [port, plain]):
        yield Proxy(port, certificates.trusting, {"http": plain})


@contextmanager
def haproxy(
    directory: Path, nodes: Sequence[Program], certificates: Certificates, replacements: Mapping[str, str]
) -> Iterator[Proxy]:
    """haproxy with haproxy.cfg, after a short "global" section in place of Debian's. It connects from 127.0.0.2."""
    program = program_of("haproxy")
    ports = {"finger": free_port(), "setter": free_port(), "https": free_port()}
    replaced = {
        "bind 192.0.2.1:79\n": f"bind 127.0.0.1:{ports['finger']}\n",
        "bind 192.0.2.1:1079\n": f"bind 127.0.0.1:{ports['setter']}\n",
        "bind 192.0.2.1:443 ": f"bind 127.0.0.1:{ports['https']} ",
        "/etc/haproxy/finger.example.org.pem": str(certificates.both),
        "source 192.0.2.1 ": "source 127.0.0.2 ",
    }
    for number, node in enumerate(nodes, 1):
        for door, port in (("finger", 7979), ("setter", 1079), ("http", 8000)):
            replaced[f"192.0.2.1{number}:{port} "] = "{}:{} ".format(*node.address(door))
    site = recipe("haproxy.cfg", directory, {**replaced, **replacements})
    main = directory / "global.cfg"
    main.write_text(
        "global\n    log stderr local0\n    maxconn 200\n    ssl-default-bind-options ssl-min-ver TLSv1.2\n"
    )
    command = [program, "-db", "-f", main, "-f", site]
    with process(command, directory / "haproxy.log", list(ports.values())):
        yield Proxy(ports["https"], certificates.trusting, ports)
