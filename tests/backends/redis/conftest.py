"""What the tests of the redis backend share: real servers, and quiet about what coredis leaves to the collector."""

from __future__ import annotations

import gc
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fingertrio.testing.redis_server import RedisServer, redis_installed, running_redis

# coredis 6.9 leaves the memory streams of a connection that could not be made to the garbage collector, which warns.
_LEFT = "ignore:Unclosed <MemoryObject:ResourceWarning"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.filterwarnings(_LEFT))


@pytest.fixture(autouse=True, scope="module")
def frozen() -> Iterator[None]:
    """What was there before is left out of collections, so that one costs a tenth."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """What a test leaves is collected before the next one, which would have to answer for it."""
    yield
    gc.collect()


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory with a short name, since the path of a socket may not have more than 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="redis-") as name:
        yield Path(name)


@pytest.fixture(scope="module")
def shared() -> Iterator[RedisServer]:
    """A server that stays, for tests that share it by using users of their own."""
    _require()
    with tempfile.TemporaryDirectory(prefix="redis-") as name, running_redis(Path(name)) as server:
        yield server


@pytest.fixture
def server(directory: Path) -> Iterator[RedisServer]:
    """A server of the test's own, which keeps on the disk what it was told, so that it can be killed."""
    _require()
    with running_redis(directory, "--appendonly", "yes", "--appendfsync", "always") as server:
        yield server


def _require() -> None:
    if not redis_installed():
        pytest.skip("needs redis-server (Debian package redis-server)")
