"""The admin door's application, without a server."""

import json
from typing import Any

import pytest
import trio

from fingertrio.frontends.admin.frontend import AdminApp
from fingertrio.observe.metrics import Condition, Metrics


class Admin:
    """The application, and one request at a time."""

    def __init__(self):
        self.metrics = Metrics()
        self.now = 100.0
        self.probes = 0
        self.app = AdminApp(self.metrics, probes=[self.probe], version="1", clock=lambda: self.now)

    async def probe(self):
        await trio.lowlevel.checkpoint()
        self.probes += 1

    async def ask(self, path, method="GET"):
        sent = []

        async def receive():
            raise AssertionError("nothing is wanted of the body")

        async def send(message):
            await trio.lowlevel.checkpoint()
            sent.append(message)

        scope: Any = {"type": "http", "method": method, "path": path}
        await self.app(scope, receive, send)
        start, body = sent
        assert (start["type"], body["type"], body["more_body"]) == ("http.response.start", "http.response.body", False)
        found = dict(start["headers"])
        assert found[b"content-length"] == b"%d" % len(body["body"])
        return start["status"], body["body"], found


@pytest.fixture
def admin():
    return Admin()


async def test_it_is_alive(admin):
    admin.metrics.conditions["backend"] = Condition("down", essential=True, since=0.0)
    status, body, headers = await admin.ask("/healthz")
    assert (status, body) == (200, b"ok\n")
    assert headers[b"cache-control"] == b"no-store"


async def test_it_is_ready_while_nothing_is_degraded(admin):
    status, body, headers = await admin.ask("/readyz")
    assert (status, json.loads(body)) == (200, {"ready": True, "degraded": []})
    assert headers[b"content-type"] == b"application/json"


async def test_what_is_degraded_is_named_and_only_what_is_essential_makes_it_unready(admin):
    conditions = admin.metrics.conditions
    conditions["irc_connection"] = Condition("refused", essential=False, since=90.0)
    status, body, _ = await admin.ask("/readyz")
    assert (status, json.loads(body)) == (
        200,
        {
            "ready": True,
            "degraded": [{"what": "irc_connection", "essential": False, "reason": "refused", "seconds": 10.0}],
        },
    )
    conditions["backend"] = Condition("down\x1b", essential=True, since=99.5)
    status, body, _ = await admin.ask("/readyz")
    document = json.loads(body)
    assert (status, document["ready"]) == (503, False)
    assert [condition["what"] for condition in document["degraded"]] == ["irc_connection", "backend"]
    assert b"\x1b" not in body


async def test_who_asks_whether_it_is_ready_has_the_backend_looked_at_first(admin):
    async def probe():
        await trio.lowlevel.checkpoint()
        admin.metrics.conditions.clear()

    admin.probe = probe
    admin.app = AdminApp(admin.metrics, probes=[probe], version="1")
    admin.metrics.conditions["backend"] = Condition("down", essential=True, since=0.0)
    assert (await admin.ask("/readyz"))[0] == 200


async def test_nobody_else_has_the_backend_looked_at(admin):
    for path in ("/healthz", "/metrics", "/"):
        await admin.ask(path)
    assert admin.probes == 0


async def test_the_numbers_come_in_the_format_that_every_prometheus_reads(admin):
    admin.metrics.queries["finger", "ok"] += 2
    status, body, headers = await admin.ask("/metrics")
    assert status == 200
    assert headers[b"content-type"] == b"text/plain; version=0.0.4; charset=utf-8"
    assert b'fingertrio_queries_total{door="finger",outcome="ok"} 2.0\n' in body


@pytest.mark.parametrize("path", ["/", "/metrics/", "/Metrics", "/moshez", "/healthz/x", "//healthz"])
async def test_there_is_nothing_else(admin, path):
    status, body, _ = await admin.ask(path)
    assert status == 404
    assert b"/metrics" in body


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE"])
async def test_nothing_can_be_done_but_look(admin, method):
    status, _, headers = await admin.ask("/healthz", method)
    assert (status, headers[b"allow"]) == (405, b"GET, HEAD")
    status, _, headers = await admin.ask("/nothing", method)
    assert status == 404
    assert b"allow" not in headers


async def test_an_unknown_method_is_not_implemented(admin):
    status, _, headers = await admin.ask("/healthz", "BREW")
    assert status == 501
    assert b"allow" not in headers


async def test_its_life_span_begins_and_ends():
    sent = []
    to_come = ["lifespan.startup", "lifespan.shutdown"]

    async def receive():
        await trio.lowlevel.checkpoint()
        return {"type": to_come.pop(0)}

    async def send(message):
        await trio.lowlevel.checkpoint()
        sent.append(message["type"])

    scope: Any = {"type": "lifespan"}
    await Admin().app(scope, receive, send)
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
