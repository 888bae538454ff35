"""The real program and a receiver with TLS: a crash, a restart, and a reload."""

from __future__ import annotations

import queue
import signal
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import standardwebhooks
import trustme

from fingertrio.frontends.webhook.store import count_waiting
from fingertrio.testing.program import Program, running
from fingertrio.wire.webhook import SigningSecret

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
NEW_SECRET = SigningSecret.generate().reveal()


class Receiver:
    """Verifies each message and queues it; answers with `status`."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.status = 204
        self.secret = SECRET
        self.messages: queue.Queue[tuple[str, dict[str, Any]]] = queue.Queue()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                event = standardwebhooks.Webhook(receiver.secret).verify(body, dict(self.headers))
                self.send_response(receiver.status)
                self.end_headers()
                receiver.messages.put((self.headers["webhook-id"], event["data"]))

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- the name of the base
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)

    def next(self) -> tuple[str, dict[str, Any]]:
        return self.messages.get(timeout=20)


@contextmanager
def receiving(authority: trustme.CA) -> Iterator[Receiver]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    receiver = Receiver(context)
    thread = threading.Thread(target=receiver.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield receiver
    finally:
        receiver.server.shutdown()
        thread.join()
        receiver.server.server_close()


def set_status(program: Program, user: str, status: str) -> None:
    with socket.create_connection(program.address("setter"), timeout=10) as sock:
        sock.sendall(f"{user}\r\n{status}\r\n".encode())
        sock.shutdown(socket.SHUT_WR)
        assert b"".join(iter(lambda: sock.recv(100), b"")) == b"OK\r\n"


@pytest.fixture
def configuration(tmp_path: Path) -> str:
    return f"""
[backend]
use = "sqlite"
path = "{tmp_path}/fingertrio.db"
[setter]
listen = ["127.0.0.1:0"]
[[webhook]]
name = "team"
url = "https://localhost:PORT/hook"
secret_file = "{tmp_path}/secret"
allow = ["127.0.0.0/8", "::1"]
ca_file = "{tmp_path}/ca.pem"
"""


def test_a_crash_loses_no_message_and_a_reload_reads_the_secrets_again(configuration: str, tmp_path: Path):
    authority = trustme.CA()
    (tmp_path / "secret").write_text(SECRET)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    with receiving(authority) as receiver:
        configuration = configuration.replace("PORT", str(receiver.server.server_port))
        with running(configuration) as program:
            receiver.status = 503
            set_status(program, "ada", "first")
            first_id, data = receiver.next()
            assert (data["user"], data["status"]) == ("ada", "first")
            program.wait_for("degraded", what="webhook:team")
            set_status(program, "bob", "second")
            program.kill()

            receiver.status = 204
            program.addresses.clear()
            program.start()
            program.wait_ready()
            found = dict([receiver.next(), receiver.next()])
            assert found[first_id]["status"] == "first", "the same id"
            assert {data["user"]: data["status"] for data in found.values()} == {"ada": "first", "bob": "second"}

            set_status(program, "ada", "third")
            assert receiver.next()[1]["status"] == "third"

            receiver.secret = NEW_SECRET
            (tmp_path / "secret").write_text(f"{NEW_SECRET}\n{SECRET}\n")
            program.signal(signal.SIGHUP)
            program.wait_for("reloaded")
            set_status(program, "ada", "fourth")
            assert receiver.next()[1]["status"] == "fourth", "verified by the new secret"
            program.end()
            assert receiver.messages.empty()
            log = program.log.read_text()
    assert "/hook" not in log
    assert SECRET[6:] not in log
    assert NEW_SECRET[6:] not in log
    assert count_waiting(tmp_path / "webhooks.db") == {}
