"""examples/webhook/receiver.py, with the messages that the webhooks send."""

from __future__ import annotations

import http.client
import runpy
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest

from fingertrio.backend import UserInfo
from fingertrio.wire import webhook
from fingertrio.wire.webhook import SigningSecret

SCRIPT = Path(__file__).parents[2] / "examples/webhook/receiver.py"
GUIDE = SCRIPT.parents[2] / "docs/guide/webhooks.md"
SECRET = SigningSecret.generate()
NOW = datetime.now(UTC)


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """That of the receiver, which runs in a thread of this process."""
    servers: list[ThreadingHTTPServer] = []
    serve = ThreadingHTTPServer.serve_forever
    monkeypatch.setattr(ThreadingHTTPServer, "serve_forever", lambda server: servers.append(server))  # noqa: PLW0108 -- bound
    monkeypatch.setattr(sys, "argv", ["receiver.py", "0"])
    monkeypatch.setenv("WEBHOOK_SECRET", SECRET.reveal())
    runpy.run_path(str(SCRIPT))
    [server] = servers
    server.block_on_close = True
    thread = threading.Thread(target=serve, args=(server, 0.01))
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


def send(port: int, headers: Mapping[str, str], body: bytes) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("POST", "/", body, dict(headers))
    status = connection.getresponse().status
    connection.close()
    return status


def test_each_message_is_printed_once(port: int, capfd: pytest.CaptureFixture[str]):
    body = webhook.changed(UserInfo("ada", "\u2615 Tea"), NOW)
    headers = webhook.headers(webhook.new_id(), int(time.time()), body, [SigningSecret.generate(), SECRET])
    assert [send(port, headers, body) for _ in range(2)] == [204, 204]
    gone = webhook.removed("ada", NOW)
    assert send(port, webhook.headers(webhook.new_id(), int(time.time()), gone, [SECRET]), gone) == 204
    printed = capfd.readouterr().out
    assert printed == "status.changed ada '\u2615 Tea'\nstatus.removed ada ''\n"
    assert printed.splitlines()[0] in GUIDE.read_text()


def test_what_is_not_signed_or_old_is_refused(port: int, capfd: pytest.CaptureFixture[str]):
    body = webhook.changed(UserInfo("ada", "Tea"), NOW)
    message, now = webhook.new_id(), int(time.time())
    good = webhook.headers(message, now, body, [SECRET])
    assert send(port, webhook.headers(message, now, body, [SigningSecret.generate()]), body) == 401
    assert send(port, webhook.headers(message, now - 400, body, [SECRET]), body) == 401
    assert send(port, good, body.replace(b"Tea", b"Beer")) == 401
    assert send(port, {"webhook-id": message}, body) == 401
    assert send(port, {**good, "webhook-id": webhook.new_id()}, body) == 401
    assert capfd.readouterr().out == ""
    assert send(port, good, body) == 204


def test_it_has_at_most_40_lines():
    assert len(SCRIPT.read_text().splitlines()) <= 40
