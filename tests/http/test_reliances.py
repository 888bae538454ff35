"""Parts of dependencies that their projects do not document as public. One test for each, for the day of an upgrade."""

from __future__ import annotations

import inspect
import ssl

import trio
import trio.testing
from hypercorn.protocol.http_stream import HTTPStream
from hypercorn.trio.lifespan import Lifespan
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.worker_context import WorkerContext


def parameters(function: object) -> list[str]:
    assert callable(function)
    return [name for name in inspect.signature(function).parameters if name != "self"]


def test_hypercorn_runs_the_application_as_exchange_py_expects():
    advice = "adapt fingertrio/http/exchange.py to this version of Hypercorn"
    expected = ["app", "config", "context", "task_group", "ssl", "client", "server", "send", "stream_id"]
    assert parameters(HTTPStream.__init__) == expected, advice
    assert parameters(HTTPStream.handle) == ["event"], advice
    assert parameters(TaskGroup.spawn_app) == ["app", "config", "scope", "send"], advice
    assert parameters(TaskGroup.spawn)[0] == "func", advice


def test_hypercorn_has_the_life_span_and_the_context_that_server_py_and_connection_py_use():
    advice = "adapt fingertrio/http/server.py and connection.py to this version of Hypercorn"
    assert parameters(Lifespan.__init__) == ["app", "config", "state"], advice
    for name in ("handle_lifespan", "wait_for_startup", "wait_for_shutdown"):
        assert hasattr(Lifespan, name), advice
    assert hasattr(WorkerContext(None), "terminated"), advice


async def test_a_trio_tls_stream_still_has_what_sending_at_once_needs():
    advice = "adapt is_quiet, put_back and send_buffer in fingertrio/http/tls.py to this version of Trio"
    one, _other = trio.testing.memory_stream_pair()
    stream = trio.SSLStream(one, ssl.create_default_context(), server_hostname="localhost")
    assert isinstance(getattr(stream, "_outgoing", None), ssl.MemoryBIO), advice
    assert isinstance(getattr(stream, "_ssl_object", None), ssl.SSLObject), advice
    assert hasattr(getattr(stream, "_inner_send_lock", None), "locked"), advice
    assert parameters(stream._retry)[0] == "fn", advice


async def test_a_trio_tls_stream_still_has_the_objects_that_tls_py_uses():
    advice = "adapt unsent_alert, decrypt and encrypt in fingertrio/http/tls.py to this version of Trio"
    one, other = trio.testing.memory_stream_pair()
    stream = trio.SSLStream(one, ssl.create_default_context(), server_hostname="localhost")
    assert isinstance(getattr(stream, "_outgoing", None), ssl.MemoryBIO), advice
    assert isinstance(getattr(stream, "_incoming", None), ssl.MemoryBIO), advice
    assert isinstance(getattr(stream, "_ssl_object", None), ssl.SSLObject), advice
    assert getattr(stream, "_delayed_outgoing", "") is None, advice
    await other.aclose()
