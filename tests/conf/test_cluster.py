"""The recipe for a cluster: three nodes on Redis behind a real haproxy, with both versions of the PROXY protocol."""

from __future__ import annotations

import json
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from fingertrio.testing.program import Program
from fingertrio.testing.redis_server import redis_installed, running_redis
from tests.conf.behind import CHECKS, PATIENCE, Behind, finger
from tests.conf.recipes import LIMITS, Certificates, haproxy, listening, recipe, serving, token

pytestmark = pytest.mark.slow

VERSIONS: dict[int, dict[str, str]] = {1: {"send-proxy-v2": "send-proxy"}, 2: {}}


@dataclass(frozen=True)
class Cluster(Behind):
    """Three running nodes behind a haproxy that sends the PROXY header of version 2, and what starts another one."""

    directory: Path
    certificates: Certificates


@pytest.fixture(scope="module")
def site() -> Iterator[Cluster]:
    if not redis_installed():
        pytest.skip("needs redis-server (Debian package redis-server)")
    with tempfile.TemporaryDirectory(prefix="ft-") as name, ExitStack() as stack:
        directory = Path(name)
        redis = stack.enter_context(running_redis(directory / "redis"))
        certificates = Certificates(directory)
        replaced = {
            "redis://192.0.2.20:6379/0": redis.url,
            "/etc/fingertrio/finger.example.org.pem": str(certificates.chain),
            "/etc/fingertrio/finger.example.org.key": str(certificates.key),
            "192.0.2.1": "127.0.0.2",
        }
        nodes = []
        for number in range(3):
            (home := directory / str(number)).mkdir()
            config = recipe("cluster.toml", home, replaced)
            environ = {**LIMITS, **listening("finger", "setter", "http", "admin")}
            nodes.append(stack.enter_context(serving(config, environ)))
        secret = token(config, environ, "ada")
        with haproxy(directory, nodes, certificates, {}) as proxy:
            found = Cluster(proxy, tuple(nodes), secret, directory, certificates)
            found.set("Weaving patterns")
            yield found


def set_by_the_setter(site: Cluster, status: str) -> str:
    """Set ada's status through haproxy's setter, over TLS to the node behind it, from an address of its own."""
    request = f"AUTH {site.token}\r\nada\r\n{status}\r\nend:\r\n".encode()
    place, source = ("127.0.0.1", site.proxy.ports["setter"]), ("127.0.0.44", 0)
    plain = socket.create_connection(place, timeout=PATIENCE, source_address=source)
    with site.certificates.trusting.wrap_socket(plain, server_hostname="finger.example.org") as connection:
        connection.sendall(request)
        return connection.recv(1024).decode()


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_behind_haproxy(site: Cluster, check: Callable[[Behind], None]):
    check(site)


def records(node: Program, **fields: str) -> int:
    return sum(fields.items() <= record.items() for record in node.records())


@pytest.mark.parametrize("version", VERSIONS)
def test_every_node_learns_the_client_of_finger(site: Cluster, version: int):
    source = f"127.0.0.{30 + version}"
    with ExitStack() as stack:
        other = haproxy(site.directory, site.nodes, site.certificates, VERSIONS[version])
        proxy = stack.enter_context(other) if VERSIONS[version] else site.proxy
        for _ in range(12):  # in turn, but a node that is checked just then may be left out once
            assert "ada" in finger(("127.0.0.1", proxy.ports["finger"]), "ada", source=source)
    for node in site.nodes:
        node.wait_for("query", door="finger", peer=source)


def test_a_client_that_is_not_haproxy_is_not_believed(site: Cluster):
    for node in site.nodes:
        with socket.create_connection(node.address("finger"), timeout=PATIENCE) as connection:
            connection.sendall(b"PROXY TCP4 203.0.113.7 192.0.2.1 1 79\r\nada\r\n")
            with connection.makefile("rb") as answer:
                assert b"Unexpected PROXY header" in answer.read()
        assert "ada" in finger(node.address("finger"), "ada")  # without a header it is asked as always
        assert not records(node, peer="203.0.113.7")


def test_a_token_works_on_every_node_and_each_shows_what_another_set(site: Cluster):
    for status in ("First", "Second", "Third"):
        assert set_by_the_setter(site, status) == "OK\r\n"
        for node in site.nodes:
            # Every node follows the changes: a moment later it has this one.
            for _ in range(1000):
                if status in (answer := finger(node.address("finger"), "ada")):
                    break
            assert status in answer
    for node in site.nodes:
        node.wait_for("query", door="setter", peer="127.0.0.44", outcome="ok")
        node.wait_for("set", user="ada", by="ada", door="setter")


def test_health_checks_are_no_clients(site: Cluster):
    """haproxy has checked each door of each node several times by now, with a LOCAL header where it sends one."""
    for node in site.nodes:
        assert not records(node, peer="127.0.0.2")
        assert not records(node, event="proxy_header_rejected")
        assert not records(node, level="error")


def test_one_node_is_killed_and_the_others_go_on(site: Cluster):
    """The last test: haproxy finds another node at the first connection that fails."""
    site.nodes[0].kill()
    place = ("127.0.0.1", site.proxy.ports["finger"])
    for number in range(6):
        assert set_by_the_setter(site, f"After the loss {number}") == "OK\r\n"
        assert "After the loss" in finger(place, "ada", source="127.0.0.45")
        assert "After the loss" in json.loads(site.ask("/api/users/ada", source="127.0.0.46").body)["status"]
