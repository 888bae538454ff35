"""Each way to reach Redis: over TCP, TLS and a socket, by sentinels, in a cluster."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trio
import trustme

from fingertrio.backend import BackendError, Change
from fingertrio.backends.redis import RedisOptions, open_redis
from fingertrio.backends.redis.keys import Keys
from fingertrio.testing import CLAUSES, check_backend
from fingertrio.testing.redis_server import RedisServer, free_port, redis_installed, redis_over_tcp, running_redis
from tests.backends.redis.kit import CONTRACT_DEADLINE, RECOVERY, set_when_possible, until

QUICK = {"heartbeat": 0.1, "timeout": 5.0}


@pytest.fixture(autouse=True)
def _needs_redis() -> None:
    if not redis_installed():
        pytest.skip("needs redis-server (Debian package redis-server)")


def options_for(url: str, **more: object) -> RedisOptions:
    return RedisOptions.model_validate({"url": url, **QUICK, **more})


async def test_over_tcp_with_a_password_in_another_database() -> None:
    with redis_over_tcp("--requirepass", "s/cret") as server:
        url = f"redis://:s%2Fcret@127.0.0.1:{server.port}/3"
        async with open_redis(options_for(url)) as backend, backend.changes() as feed:
            await backend.set_user("moshez", "Happy and well")
            assert await anext(feed) == Change("moshez")
        async with open_redis(options_for(url.removesuffix("/3"))) as elsewhere:
            assert await elsewhere.get_user("moshez") is None
        with pytest.raises(ExceptionGroup) as caught:
            async with open_redis(options_for(f"redis://:wrong@127.0.0.1:{server.port}")):
                raise AssertionError("it opened")
        assert caught.group_contains(ValueError, match="password")
        assert not caught.group_contains(ValueError, match="wrong@")


async def test_the_permissions_in_the_scaling_guide_are_enough() -> None:
    guide = (Path(__file__).parents[3] / "docs/guide/scaling.md").read_text(encoding="utf-8")
    (permissions,) = re.findall(r"`(\+@read .*? ~\{fingertrio:\*\}:\*)`", guide)
    with redis_over_tcp() as server:
        assert server.command("ACL", "SETUSER", "limited", "on", ">secret", *permissions.split()) == b"+OK"
        options = options_for(f"redis://limited:secret@127.0.0.1:{server.port}", shards=2, history_days=1.0)
        async with open_redis(options) as backend, backend.changes() as feed:
            await backend.set_details("moshez", "Moshe Zadka", {"project": "fingertrio"})
            await backend.set_user("moshez", "Happy and well")
            await backend.set_user("alice", "Back soon", until=datetime.now(UTC) + timedelta(seconds=1))
            changed: set[str | None] = set()
            with trio.fail_after(RECOVERY):
                while changed != {"alice", "moshez"} or await backend.get_users() != ["moshez"]:
                    changed.add((await anext(feed)).user)
            keys = Keys(options.prefix, options.shards)
            passing = keys.of_shard(keys.shard("alice"), "passing").decode()
            await until(lambda: server.command("EXISTS", passing) == b":0")
            assert await backend.clear_user("moshez") == await backend.get_user("moshez")
            assert len(await backend.get_history("moshez", 10)) == 2
            assert backend.stale_since() is None


async def test_a_database_that_does_not_exist_ends_the_start() -> None:
    with redis_over_tcp() as server:
        for database in ("99", "9" * 30):
            wrong = pytest.RaisesExc(ValueError, match="the database number in `url` must be lower")
            with pytest.RaisesGroup(wrong, flatten_subgroups=True):
                async with open_redis(options_for(f"{server.url}/{database}")):
                    pytest.fail("opened")


def test_the_program_ends_with_status_2_if_the_database_does_not_exist(tmp_path: Path) -> None:
    with redis_over_tcp() as server:
        config = tmp_path / "f.toml"
        config.write_text(f"""
            [backend]
            use = "redis"
            url = "{server.url}/99"
            [finger]
            listen = "127.0.0.1:0"
            [process]
            run_as_root = true
        """)
        program = [sys.executable, "-m", "fingertrio", "serve", "--config", str(config)]
        done = subprocess.run(program, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert "DB index is out of range" in done.stderr


# --- TLS --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def secured(authority: trustme.CA, directory: Path) -> Iterator[RedisServer]:
    """A server for TLS only, which wants certificates of its clients, too; named localhost, and not 127.0.0.1."""
    authority.cert_pem.write_to_path(directory / "ca.pem")
    for name in ("localhost", "client"):
        authority.issue_cert(name).private_key_and_cert_chain_pem.write_to_path(directory / f"{name}.pem")
    trustme.CA().cert_pem.write_to_path(directory / "other.pem")
    tls = ("--tls-cert-file", "localhost.pem", "--tls-key-file", "localhost.pem", "--tls-ca-cert-file", "ca.pem")
    with running_redis(directory, "--tls-port", str(free_port()), *tls) as server:
        yield server


def tls_url(server: RedisServer, host: str) -> str:
    return f"rediss://{host}:{server.option('--tls-port')}"


async def test_over_tls_both_sides_show_certificates(secured: RedisServer) -> None:
    files = {"ca_file": secured.directory / "ca.pem", "cert_file": secured.directory / "client.pem"}
    async with open_redis(options_for(tls_url(secured, "localhost"), **files)) as backend:
        assert backend.stale_since() is None
        await backend.set_user("moshez", "Happy and well")


@pytest.mark.parametrize(
    ("host", "ca_file", "reason"),
    [
        ("localhost", "other.pem", "certificate verify failed"),
        ("localhost", None, "certificate verify failed"),
        ("127.0.0.1", "ca.pem", "certificate verify failed"),
    ],
)
async def test_a_server_whose_certificate_cannot_be_verified_is_not_used(
    secured: RedisServer, host: str, ca_file: str | None, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    files = {"ca_file": ca_file and secured.directory / ca_file, "cert_file": secured.directory / "client.pem"}
    async with open_redis(options_for(tls_url(secured, host), **files)) as backend:
        with pytest.raises(BackendError):
            await backend.set_user("moshez", "Happy and well")
    assert reason in caplog.text


async def test_an_unreadable_certificate_is_an_error_at_the_start(directory: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        async with open_redis(options_for("rediss://localhost", ca_file=directory / "missing.pem")):
            raise AssertionError("it opened")


# --- sentinels --------------------------------------------------------------------------------------------------------


@pytest.fixture
def sentinel(directory: Path) -> Iterator[tuple[int, RedisServer, RedisServer]]:
    """The port of a sentinel, the primary that it watches, and its replica."""
    quickly = ("--repl-diskless-sync-delay", "0")
    with ExitStack() as stack:
        primary = stack.enter_context(redis_over_tcp(*quickly))
        replica = stack.enter_context(redis_over_tcp("--replicaof", "127.0.0.1", str(primary.port), *quickly))
        port = free_port()
        config = directory / "sentinel.conf"  # which it writes, too
        config.write_text(
            f"port {port}\nbind 127.0.0.1\ndir {directory}\nsentinel monitor mymaster 127.0.0.1 {primary.port} 1\n"
            "sentinel down-after-milliseconds mymaster 300\nsentinel failover-timeout mymaster 2000\n"
        )
        process = subprocess.Popen(["redis-server", str(config), "--sentinel"], stdout=subprocess.DEVNULL)
        stack.callback(process.wait)
        stack.callback(process.terminate)
        yield port, primary, replica


async def test_when_the_primary_dies_the_replica_takes_over(sentinel: tuple[int, RedisServer, RedisServer]) -> None:
    port, primary, replica = sentinel
    unused = free_port()
    async with open_redis(options_for(f"redis+sentinel://127.0.0.1:{unused},127.0.0.1:{port}/mymaster")) as backend:
        await set_when_possible(backend, "moshez", "Happy and well")
        assert await trio.to_thread.run_sync(primary.command, "WAIT", "1", "5000") == b":1"
        await until(lambda: replica.command("EXISTS", "{fingertrio:1}:user:moshez") == b":1")
        info = await backend.get_user("moshez")
        primary.kill()
        assert await backend.get_user("moshez") == info
        await set_when_possible(backend, "alice", "In the garden")
        assert await backend.get_users() == ["alice", "moshez"]
        assert await backend.get_user("moshez") == info


async def test_a_service_unknown_to_the_sentinels_is_unavailable(
    sentinel: tuple[int, RedisServer, RedisServer], caplog: pytest.LogCaptureFixture
) -> None:
    async with open_redis(options_for(f"redis+sentinel://127.0.0.1:{sentinel[0]}/other")) as backend:
        assert backend.stale_since() is not None
    assert "'other'" in caplog.text


# --- a cluster --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cluster() -> Iterator[Sequence[RedisServer]]:
    """Two nodes with half of the slots each."""
    if not redis_installed():
        pytest.skip("needs redis-server (Debian package redis-server)")
    with ExitStack() as stack:
        buses = [free_port(), free_port()]
        servers = [
            stack.enter_context(redis_over_tcp("--cluster-enabled", "yes", "--cluster-port", str(bus))) for bus in buses
        ]
        for server, slots in zip(servers, (("0", "8191"), ("8192", "16383")), strict=True):
            assert server.command("CLUSTER", "ADDSLOTSRANGE", *slots) == b"+OK"
        assert servers[0].command("CLUSTER", "MEET", "127.0.0.1", str(servers[1].port), str(buses[1])) == b"+OK"
        trio.run(until, lambda: not any(server.command("GET", "x").startswith(b"-CLUSTERDOWN") for server in servers))
        yield servers


@pytest.mark.slow
async def test_the_contract_holds_in_a_cluster(cluster: Sequence[RedisServer]) -> None:
    options = options_for(f"redis+cluster://127.0.0.1:{cluster[1].port}", shards=2)
    # To cancel at every step, a client is opened for each, and reads the whole layout. One node is checked for all.
    clauses = [clause for clause in CLAUSES if "cancel" not in str(clause)]
    async with open_redis(options) as other:
        checked = await check_backend(
            lambda: open_redis(options), alter=other.set_user, clauses=clauses, seconds=CONTRACT_DEADLINE
        )
    assert len(checked) == len(clauses)


@pytest.mark.slow
async def test_users_are_spread_over_the_nodes_of_a_cluster_and_all_are_followed(
    cluster: Sequence[RedisServer],
) -> None:
    url = ",".join(f"127.0.0.1:{server.port}" for server in cluster)
    options = options_for(f"redis+cluster://{url}", prefix="spread")
    users = {f"user{number}" for number in range(40)}
    async with open_redis(options) as backend, open_redis(options) as other, other.changes() as feed:
        for user in users:
            await backend.set_user(user, "Happy and well")
        with trio.fail_after(5):
            assert {(await anext(feed)).user for _ in users} == users
        assert await other.get_users() == sorted(users)
        history = await other.get_history("user7", 10)
        assert [info.status for info in history] == ["Happy and well"]
    assert all(int(server.command("DBSIZE")[1:]) > 10 for server in cluster)


async def test_an_unreachable_cluster_is_unavailable(caplog: pytest.LogCaptureFixture) -> None:
    async with open_redis(options_for(f"redis+cluster://127.0.0.1:{free_port()}")) as backend:
        with pytest.raises(BackendError):
            await backend.get_user("moshez")
    assert "is unavailable" in caplog.text
    assert not [record for record in caplog.records if record.exc_info]
