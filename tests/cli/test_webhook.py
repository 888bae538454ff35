"""`fingertrio webhook`, with a receiver of this machine."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import standardwebhooks
import trio
from click.testing import CliRunner, Result

from fingertrio.backend import UserInfo
from fingertrio.cli.webhook import webhook
from fingertrio.frontends.webhook.store import Change, WebhookStore

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


class Receiver:
    """Verifies what it gets, and answers what the path says: /204, /410."""

    def __init__(self) -> None:
        events: list[object] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                events.append(standardwebhooks.Webhook(SECRET).verify(body, dict(self.headers)))
                self.send_response(int(self.path.strip("/")))
                self.send_header("Content-Length", "21")
                self.end_headers()
                self.wfile.write(b"please \x1b[31mgo away\r\n\r\n"[:21])

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- the name of the base
                pass

        self.events = events
        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture(scope="module")
def receiving() -> Iterator[Receiver]:
    receiver = Receiver()
    thread = threading.Thread(target=receiver.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield receiver
    receiver.server.shutdown()
    thread.join()
    receiver.server.server_close()


@pytest.fixture
def receiver(receiving: Receiver) -> Receiver:
    receiving.events.clear()
    return receiving


def configured(directory: Path, *webhooks: str) -> Path:
    path = directory / "fingertrio.toml"
    tables = [f"[[webhook]]\n{table}\n" for table in webhooks]
    path.write_text(f'[backend]\nuse = "sqlite"\npath = "{directory}/f.db"\n[finger]\nlisten = []\n' + "".join(tables))
    return path


def one(name: str, url: str, *more: str) -> str:
    return "\n".join([f'name = "{name}"\nurl = "{url}"\nsecret = "{SECRET}"\ninsecure = true', *more])


def run(*arguments: object) -> Result:
    result = CliRunner().invoke(webhook, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert SECRET[6:] not in result.output
    return result


def test_a_receiver_that_accepts_the_test(tmp_path: Path, receiver: Receiver):
    path = configured(tmp_path, one("team", f"{receiver.url}/204"), one("other", f"{receiver.url}/200"))
    result = run("test", "team", "--config", path)
    assert result.exit_code == 0
    assert result.stdout.startswith(f"team: {receiver.url} accepted the test (HTTP status 204, ")
    [event] = receiver.events
    assert isinstance(event, dict)
    assert (event["type"], event["data"]) == ("status.test", {"webhook": "team"})


def test_all_are_tried_without_a_name_and_one_that_refuses_is_an_error(tmp_path: Path, receiver: Receiver):
    path = configured(tmp_path, one("good", f"{receiver.url}/204"), one("bad", f"{receiver.url}/401"))
    result = run("test", "--config", path)
    assert result.exit_code == 1
    assert result.stdout.startswith("good: ")
    assert result.stderr == (
        f'fingertrio: bad: {receiver.url} answered HTTP status 401, "please go away"; '
        "check that the receiver has the same secret\n"
    )
    assert len(receiver.events) == 2


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (301, "redirects are not followed: use the final url"),
        (404, "check the url"),
        (410, "the receiver wants no more messages"),
    ],
)
def test_what_to_do_next(tmp_path: Path, receiver: Receiver, status: int, advice: str):
    result = run("test", "--config", configured(tmp_path, one("team", f"{receiver.url}/{status}")))
    assert result.exit_code == 1
    assert result.stderr.endswith(f"; {advice}\n")


def test_a_receiver_that_cannot_be_reached(tmp_path: Path):
    path = configured(
        tmp_path,
        one("down", "http://127.0.0.1:1/"),
        one("inside", "https://127.0.0.1:1/"),
    )
    result = run("test", "--config", path)
    assert result.exit_code == 3
    assert "fingertrio: down: 127.0.0.1: Connection refused\n" in result.stderr
    refused = "connecting to this address is not allowed; if this network is yours, add it to allow"
    assert f"fingertrio: inside: 127.0.0.1: {refused}\n" in result.stderr


def test_a_certificate_of_an_unknown_authority(tmp_path: Path, receiver: Receiver):
    url = receiver.url.replace("http:", "https:")
    path = configured(tmp_path, one("team", url, 'allow = ["127.0.0.0/8"]', "timeout = 1"))
    result = run("test", "--config", path)
    assert result.exit_code == 3
    assert result.stderr.startswith("fingertrio: team: 127.0.0.1: ")


def test_json(tmp_path: Path, receiver: Receiver):
    path = configured(tmp_path, one("good", f"{receiver.url}/204"), one("down", "http://127.0.0.1:1/"))
    result = run("test", "--json", "--config", path)
    assert result.exit_code == 3
    good, down = json.loads(result.stdout)
    assert (good["accepted"], good["status"], good["error"]) == (True, 204, None)
    assert (down["accepted"], down["status"], down["error"]) == (False, None, "127.0.0.1: Connection refused")


def test_mistakes(tmp_path: Path):
    path = configured(tmp_path, one("team", "http://127.0.0.1:1/"))
    result = run("test", "teem", "--config", path)
    assert result.exit_code == 2
    assert result.stderr == "fingertrio: there is no webhook teem; did you mean team?; there are: team\n"
    result = run("test", "--config", configured(tmp_path))
    assert result.exit_code == 2
    assert "no webhooks are configured; add a [[webhook]]" in result.stderr
    result = run("list", "--config", configured(tmp_path, "name = 7"))
    assert result.exit_code == 2
    assert "[[webhook]] number 1" in result.stderr
    missing = f'name = "team"\nurl = "https://a.example/"\nsecret_file = "{tmp_path}/missing"'
    result = run("list", "--config", configured(tmp_path, missing))
    assert result.exit_code == 2
    assert "missing" in result.stderr


def test_the_list_has_what_waits_and_no_path(tmp_path: Path):
    store = WebhookStore(tmp_path / "webhooks.db")

    async def fill() -> None:
        await store.record([Change("ada", UserInfo("ada", "x"), ["team"])], datetime.now(UTC), None)
        await store.close()

    trio.run(fill)
    path = configured(tmp_path, one("team", "https://hooks.example.org/T0KEN", 'users = ["ada", "b*"]'))
    assert run("list", "--config", path).stdout == "team  https://hooks.example.org  ada b*  1  1\n"
    assert json.loads(run("list", "--json", "--config", path).stdout) == [
        {"name": "team", "receiver": "https://hooks.example.org", "users": ["ada", "b*"], "secrets": 1, "waiting": 1}
    ]
    assert run("list", "--config", configured(tmp_path)).stdout == ""
    (tmp_path / "webhooks.db").write_text("x" * 5000)
    assert run("list", "--config", path).exit_code == 1


def test_a_new_secret_is_one():
    one, other = (run("secret").stdout.strip() for _ in range(2))
    assert one != other
    standardwebhooks.Webhook(one)
    assert one.startswith("whsec_")
