"""What the tests of the redis backend share: real servers, and a filter for warnings about what coredis leaks."""

from __future__ import annotations

import gc
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fingertrio.backends.redis import RedisOptions
from fingertrio.testing.redis_server import RedisServer, redis_installed, running_redis

# coredis 6.9 does not close the memory streams of a connection that could not be opened; Python warns about them.
_LEFT = "ignore:Unclosed <MemoryObject:ResourceWarning"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.filterwarnings(_LEFT))


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


@pytest.fixture(scope="module")
def shared() -> Iterator[RedisServer]:
    """A server for a whole file of tests; each uses a prefix of its own."""
    _require()
    with tempfile.TemporaryDirectory(prefix="redis-") as name, running_redis(Path(name)) as server:
        yield server


@pytest.fixture
def server(directory: Path) -> Iterator[RedisServer]:
    """A server for one test. It writes to disk at once, so it can be killed."""
    _require()
    with running_redis(directory, "--appendonly", "yes", "--appendfsync", "always") as server:
        yield server


def _require() -> None:
    if not redis_installed():
        pytest.skip("needs redis-server (Debian package redis-server)")


@pytest.fixture
def options(shared: RedisServer, request: pytest.FixtureRequest) -> RedisOptions:
    """Options with a prefix of the test's own."""
    return RedisOptions(url=shared.url, prefix=f"test-{abs(hash(request.node.nodeid))}")
