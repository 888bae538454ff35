"""A real Redis, well and badly set up."""

from __future__ import annotations

import gc
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from fingertrio.cli.doctor.redis import CHECK, redis_time, targets
from fingertrio.testing.redis_server import redis_installed, running_redis
from tests.cli.doctor.kit import faults, installation, look, only

pytestmark = [
    pytest.mark.skipif(not redis_installed(), reason="needs redis-server (Debian package redis-server)"),
    # coredis 6.9 does not close the memory streams of a connection that could not be opened.
    pytest.mark.filterwarnings("ignore:Unclosed <MemoryObject:ResourceWarning"),
]


@pytest.fixture(scope="module", autouse=True)
def collected() -> Iterator[None]:
    """Collect what the tests leave, so that the warnings belong to them and not to the next file."""
    yield
    gc.collect()


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory with a short name, because the path of a socket may have at most 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="redis-") as name:
        yield Path(name)


def table(socket: Path, **options: object) -> dict[str, dict[str, object]]:
    return {"backend": {"use": "redis", "url": f"unix://{socket}", "timeout": 1.0, **options}}


async def test_what_redis_is_and_how_it_is_set_up(directory: Path):
    with running_redis(directory / "r", "--maxmemory", "50mb", "--maxmemory-policy", "allkeys-lru") as server:
        place = installation(table(server.socket_path))
        results = await look(CHECK, place)
        assert [result.level for result in results] == ["ok", "problem", "warning"]
        assert "primary" in results[0].what
        assert "maxmemory-policy is allkeys-lru" in results[1].what
        assert "no append-only file" in results[2].what
        server.command("CONFIG", "SET", "maxmemory-policy", "noeviction")
        server.command("CONFIG", "SET", "appendonly", "yes")
        server.command("REPLICAOF", "127.0.0.1", "1")
        assert [each.partition(":")[0] for each in await faults(CHECK, place)] == ["problem"]
        assert "is a replica" in (await only(CHECK, place, "problem")).what
        server.command("REPLICAOF", "NO", "ONE")
        assert await faults(CHECK, place) == []
        (options,) = targets(place)
        assert (await redis_time(options) or 0) > 1_700_000_000
        server.command("CONFIG", "SET", "requirepass", "geheim-7")
        found = await only(CHECK, place, "problem")
        assert "it wants a password" in found.what
        assert "geheim" not in found.what + found.why + found.next


def test_a_password_is_in_no_message():
    url = "redis://ada:geheim-7@127.0.0.1:1"
    place = installation({"backend": {"use": "redis", "url": url, "timeout": 1.0}})
    found = trio.run(only, CHECK, place, "problem")
    assert "geheim" not in found.what + found.why + found.next


async def test_no_redis_is_there(directory: Path):
    found = await only(CHECK, installation(table(directory / "none")), "problem")
    assert f"Redis at {directory / 'none'}" in found.what


async def test_a_redis_in_a_layer_is_looked_at(directory: Path):
    layers = [{"use": "memory"}, {"use": "redis", "url": f"unix://{directory / 'none'}", "on_failure": "skip"}]
    found = await only(CHECK, installation({"backend": {"use": "layers", "layers": layers}}), "problem")
    assert str(directory / "none") in found.what


def test_it_does_not_apply_to_other_backends():
    assert CHECK.skip(installation()) == "no backend is redis"
