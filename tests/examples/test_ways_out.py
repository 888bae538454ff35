"""The scripts in examples/ways-out, each against a fake of its service: the fake checks what the service documents.

A script runs in this process, with the change on its standard input, and speaks TLS to a server on loopback.
"""

from __future__ import annotations

import io
import json
import os
import re
import runpy
import shutil
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import trio
import trustme

from fingertrio.backends.memory import MemoryBackend
from fingertrio.cli.watch_exec import Execution, State, parse_command
from fingertrio.cli.watch_output import change_line
from fingertrio.wire.live import Changed, LiveUser, Removed
from tests.cli.test_watch_exec import Silent, until
from tests.frontends.web.kit import serving

SCRIPTS = Path(__file__).parents[2] / "examples/ways-out"
GUIDE = SCRIPTS.parents[1] / "docs/guide/ways-out.md"
NAMES = sorted(path.stem for path in SCRIPTS.glob("*.py"))
NOW = datetime.now(UTC)
ENDS = (NOW + timedelta(hours=1)).replace(microsecond=0)


@dataclass
class Request:
    """What a service received; header names are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        assert self.headers["content-type"].startswith("application/json")
        return json.loads(self.body)


# Status, header fields, body.
Answer = tuple[int, dict[str, str], bytes]


def as_json(code: int, /, **members: object) -> Answer:
    return code, {"Content-Type": "application/json"}, json.dumps(members).encode()


def slack(request: Request) -> Answer:
    """https://docs.slack.dev/reference/methods/users.profile.set: errors are 200 with `ok: false`."""
    assert (request.method, request.path) == ("POST", "/api/users.profile.set")
    if request.headers["authorization"] != "Bearer good":
        return as_json(200, ok=False, error="invalid_auth")
    profile = request.json()["profile"]
    assert set(profile) == {"status_text", "status_emoji", "status_expiration"}
    assert len(profile["status_text"]) <= 100
    assert re.fullmatch(r"(:[a-z_]+:)?", profile["status_emoji"])
    assert isinstance(profile["status_expiration"], int)
    return as_json(200, ok=True, profile=profile)


def mattermost(request: Request) -> Answer:
    """/api/v4/users/{user_id}/status/custom; `me` is the user of the token."""
    assert request.path == "/api/v4/users/me/status/custom"
    if request.headers["authorization"] != "Bearer good":
        return as_json(401, id="api.context.session_expired.app_error", message="Invalid session", status_code=401)
    if request.method == "DELETE":
        return as_json(200, status="OK")
    status = request.json()
    assert request.method == "PUT"
    assert set(status) - {"duration", "expires_at"} == {"emoji", "text"}
    assert re.fullmatch("[a-z_]+", status["emoji"])  # a name, without colons
    assert ("duration" in status) == ("expires_at" in status)
    assert status.get("duration", "date_and_time") == "date_and_time"
    datetime.fromisoformat(status.get("expires_at", ENDS.isoformat()))
    return as_json(200, status="OK")


def mastodon(request: Request) -> Answer:
    """https://docs.joinmastodon.org/methods/statuses/#create."""
    assert (request.method, request.path) == ("POST", "/api/v1/statuses")
    assert request.headers["idempotency-key"]
    if request.headers["authorization"] != "Bearer good":
        return as_json(401, error="The access token is invalid")
    post = request.json()
    assert post["visibility"] in {"public", "unlisted", "private", "direct"}
    if not 1 <= len(post["status"]) <= 500:
        return as_json(422, error="Validation failed: Text character limit of 500 exceeded")
    return as_json(200, id="1", content=post["status"])


def matrix(request: Request) -> Answer:
    """PUT /_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}: the client-server API, v1.18."""
    _, first, second, version, rooms, room, send, kind, once = request.path.split("/")
    assert (request.method, first, second, version) == ("PUT", "_matrix", "client", "v3")
    assert (rooms, unquote(room), send, kind) == ("rooms", "!abc:matrix.example", "send", "m.room.message")
    assert once
    if request.headers["authorization"] != "Bearer good":
        return as_json(401, errcode="M_UNKNOWN_TOKEN", error="Unknown token")
    event = request.json()
    assert event["msgtype"] == "m.notice"
    assert isinstance(event["body"], str)
    assert event["m.mentions"] == {}, "without it, clients look for @room and display names in the text"
    return as_json(200, event_id="$1")


def github(request: Request) -> Answer:
    """https://docs.github.com/en/graphql/reference/mutations#changeuserstatus: a wrong input is 200 with `errors`."""
    assert (request.method, request.path) == ("POST", "/graphql")
    assert request.headers["user-agent"]  # GitHub refuses requests without one
    if request.headers["authorization"] != "Bearer good":
        return as_json(401, message="Bad credentials")
    asked = request.json()
    assert re.search(r"mutation *\(\$input: ChangeUserStatusInput!\)", asked["query"])
    given = asked["variables"]["input"]
    assert set(given) <= {"clientMutationId", "emoji", "expiresAt", "limitedAvailability", "message", "organizationId"}
    if given.get("message") == "refused":
        return as_json(200, data={"changeUserStatus": None}, errors=[{"message": "is too long"}])
    return as_json(200, data={"changeUserStatus": {"status": given or None}})


def caldav(request: Request) -> Answer:
    """RFC 4791: a calendar object is one component with a UID, and has a name of its own in the collection."""
    assert re.fullmatch(r"/ada/status/fingertrio-[^/]+\.ics", request.path)
    if request.headers["authorization"] != "Basic YWRhOmdvb2Q=":
        return 401, {"WWW-Authenticate": 'Basic realm="x"'}, b"Access denied"
    if request.method == "DELETE":
        return 404, {}, b"Not found"  # there was none
    assert request.method == "PUT"
    assert request.headers["content-type"].startswith("text/calendar")
    assert all(len(line) <= 75 for line in request.body.split(b"\r\n")), "RFC 5545 section 3.1"
    event = unfolded(request)
    assert set(event) >= {"UID", "DTSTAMP", "DTSTART", "DTEND"}
    assert event["DTSTART"] < event["DTEND"]
    return 201, {}, b""


def unfolded(request: Request) -> dict[str, str]:
    """The properties of a calendar object (RFC 5545 section 3.1)."""
    lines = request.body.decode().replace("\r\n ", "").split("\r\n")
    assert lines[:2] == ["BEGIN:VCALENDAR", "VERSION:2.0"]
    assert lines[-3:] == ["END:VEVENT", "END:VCALENDAR", ""]
    return {name: value for name, _, value in (line.partition(":") for line in lines)}


FAKES: dict[str, Callable[[Request], Answer]] = {
    "caldav": caldav,
    "github": github,
    "mastodon": mastodon,
    "matrix": matrix,
    "mattermost": mattermost,
    "slack": slack,
}
SETTINGS = {
    "caldav": {"CALDAV_PATH": "/ada/status/", "CALDAV_LOGIN": "ada:good"},
    "matrix": {"MATRIX_TOKEN": "good", "MATRIX_ROOM": "!abc:matrix.example"},
}


@dataclass
class Service:
    """The server: what answers, and what was asked. What `answers` holds is sent first."""

    host: str = ""
    answer: Callable[[Request], Answer] = slack
    answers: list[Answer] = field(default_factory=list)
    asked: list[Request] = field(default_factory=list)
    wrong: list[AssertionError] = field(default_factory=list)

    def handle(self, request: Request) -> Answer:
        self.asked.append(request)
        try:
            answer = self.answer(request)
        except AssertionError as error:
            self.wrong.append(error)
            return 400, {}, b"not as documented"
        return self.answers.pop(0) if self.answers else answer


class Handler(BaseHTTPRequestHandler):
    service = Service()

    def _answer(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(int(headers.get("content-length", 0)))
        status, fields, sent = self.service.handle(Request(self.command, self.path, headers, body))
        self.send_response(status)
        for name, value in {**fields, "Content-Length": str(len(sent))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(sent)

    do_PUT = do_POST = do_DELETE = _answer  # noqa: N815 -- as BaseHTTPRequestHandler names them

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, Path]]:
    """A server for all of them, and the certificate of who vouches for it."""
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    trusted = tmp_path_factory.mktemp("ways-out") / "ca.pem"
    authority.cert_pem.write_to_path(trusted)
    service = Service()
    with HTTPServer(("127.0.0.1", 0), type("Ours", (Handler,), {"service": service})) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        service.host = f"localhost:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield service, trusted
        server.shutdown()
        thread.join()


@dataclass
class Way:
    """One script and its service.

    Attributes:
        pauses: seconds that the script waited.
        said: what it wrote to standard error, when it failed.
    """

    name: str
    service: Service
    patch: pytest.MonkeyPatch
    pauses: list[float] = field(default_factory=list)
    said: str = ""

    def run(self, change: bytes) -> int:
        """Its exit status."""
        self.patch.setattr("sys.stdin", io.StringIO(change.decode()))
        try:
            runpy.run_path(str(SCRIPTS / f"{self.name}.py"), run_name="__main__")
        except SystemExit as end:
            self.said = end.code if isinstance(end.code, str) else ""
            return 1 if isinstance(end.code, str) else end.code or 0
        finally:
            assert self.service.wrong == []
        return 0


@pytest.fixture
def way(request: pytest.FixtureRequest, certified: tuple[Service, Path], monkeypatch: pytest.MonkeyPatch) -> Way:
    name, (service, trusted) = request.param, certified
    service.answer = FAKES[name]
    service.answers, service.asked, service.wrong = [], [], []
    way = Way(name, service, monkeypatch)
    settings = {f"{name.upper()}_TOKEN": "good"} if name not in SETTINGS else SETTINGS[name]
    for key, value in {**settings, f"{name.upper()}_HOST": service.host, "SSL_CERT_FILE": str(trusted)}.items():
        monkeypatch.setenv(key, value)
    monkeypatch.setattr(time, "sleep", way.pauses.append)
    return way


def every(names: list[str] = NAMES) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("way", names, indirect=True)


def change(
    status: str = "☕ Tea; cake, \\ and Grüße\nback at two",
    *,
    ends: datetime | None = ENDS,
    since: datetime | None = NOW,
    user: str = "zoë",
) -> bytes:
    return change_line(Changed("e:7", LiveUser(user, status, "Zoë", since=since, until=ends)))


def test_each_script_is_short_and_has_a_fake():
    assert set(FAKES) == set(NAMES)
    for name in NAMES:
        path = SCRIPTS / f"{name}.py"
        assert len(path.read_text().splitlines()) <= 40
        assert path.stat().st_mode & 0o111, f"{name}.py: --exec runs it as a program"


@every()
def test_a_status_is_sent_as_the_service_documents(way: Way):
    assert way.run(change()) == 0
    [request] = way.service.asked
    if way.name == "slack":
        assert request.json()["profile"] == {
            "status_text": "☕ Tea; cake, \\ and Grüße",
            "status_emoji": ":speech_balloon:",
            "status_expiration": int(ENDS.timestamp()),
        }
    elif way.name == "mattermost":
        assert request.json()["text"] == "☕ Tea; cake, \\ and Grüße"
        assert datetime.fromisoformat(request.json()["expires_at"]) == ENDS
    elif way.name == "mastodon":
        assert request.json()["status"] == "☕ Tea; cake, \\ and Grüße\nback at two"
    elif way.name == "matrix":
        assert request.json()["body"] == "Zoë: ☕ Tea; cake, \\ and Grüße\nback at two"
    elif way.name == "github":
        expected = {"emoji": "☕", "message": "Tea; cake, \\ and Grüße", "expiresAt": f"{ENDS:%Y-%m-%dT%H:%M:%SZ}"}
        assert request.json()["variables"]["input"] == expected
    else:
        event = unfolded(request)
        assert event["SUMMARY"] == "☕ Tea\\; cake\\, \\\\ and Grüße"
        assert (event["DTSTART"], event["DTEND"]) == (f"{NOW:%Y%m%dT%H%M%SZ}", f"{ENDS:%Y%m%dT%H%M%SZ}")
        assert request.path == "/ada/status/fingertrio-zo%C3%AB.ics"


@every()
def test_a_status_that_was_taken_back_is_taken_back_there_where_it_can_be(way: Way):
    for gone in (change("", ends=None), change_line(Removed("e:8", "zoë"))):
        assert way.run(gone) == 0
    if way.name in {"mastodon", "matrix"}:
        assert way.service.asked == []  # what was said stays said
        return
    first, second = way.service.asked
    assert (first.method, first.path, first.body) == (second.method, second.path, second.body)
    if way.name == "slack":
        assert first.json()["profile"] == {"status_text": "", "status_emoji": "", "status_expiration": 0}
    elif way.name == "github":
        assert first.json()["variables"]["input"] == {}
    else:
        assert (first.method, first.body) == ("DELETE", b"")


@every()
def test_a_long_status_without_an_end_fits(way: Way):
    assert way.run(change("Ж" * 2000, ends=None, since=None)) == 0
    assert len(way.service.asked) == 1


@every(["mastodon", "matrix"])
def test_the_same_status_again_is_not_said_again(way: Way):
    assert way.run(change()) == way.run(change()) == 0
    first, second = way.service.asked
    marks = [(each.path, each.headers.get("idempotency-key")) for each in (first, second)]
    assert marks[0] == marks[1], "the service recognises it"
    assert way.run(change(since=NOW - timedelta(hours=2))) == 0  # such as when a name changes
    assert len(way.service.asked) == 2
    assert way.run(change("new", since=NOW - timedelta(seconds=1))) == 0
    assert (way.service.asked[2].path, way.service.asked[2].headers.get("idempotency-key")) != marks[0]


@every()
def test_a_wrong_token_is_an_error_that_shows_what_the_service_says_and_not_the_token(way: Way):
    secret = "LOGIN" if way.name == "caldav" else "TOKEN"
    way.patch.setenv(f"{way.name.upper()}_{secret}", "ada:secret")
    assert way.run(change()) == 1
    expected = {"slack": "200", "caldav": "401 Access denied"}.get(way.name, "401")
    assert way.said.startswith(f"{way.name}: {expected}")
    assert "secret" not in way.said


@every()
def test_a_line_end_after_a_setting_does_no_harm(way: Way):
    """Secrets come from files, which end in one; in a header it would be an error that shows the secret."""
    for name in os.environ:
        if name.startswith(f"{way.name.upper()}_") and not name.endswith("HOST"):
            way.patch.setenv(name, f"{os.environ[name]}\n")
    assert way.run(change()) == 0


@every()
def test_a_service_that_fails_or_redirects_is_an_error(way: Way):
    # The token must not follow a redirect to another host.
    way.service.answers = [(500, {}, b"Oops"), (302, {"Location": "https://evil.example/"}, b"")]
    for status in ("500 Oops", "302 "):
        assert way.run(change()) == 1
        assert way.said == f"{way.name}: {status}"
    assert len(way.service.asked) == 2


@every([name for name in NAMES if name != "caldav"])
def test_a_service_that_asks_for_a_pause_gets_it(way: Way):
    slow = as_json(429, errcode="M_LIMIT_EXCEEDED")
    slow[1]["Retry-After"] = "7"
    way.service.answers = [slow]
    assert way.run(change()) == 0
    assert (way.pauses, len(way.service.asked)) == ([7], 2)
    way.service.answers = [slow, slow]
    assert way.run(change()) == 1
    assert way.said.startswith(f"{way.name}: 429")
    slow[1]["Retry-After"] = "3600"  # watch --exec would end the script after a minute
    way.service.answers = [slow]
    assert way.run(change()) == 1
    assert way.pauses == [7, 7]


@every(["caldav"])
def test_a_calendar_that_asks_for_a_pause_is_an_error(way: Way):
    way.service.answers = [(429, {"Retry-After": "7"}, b"Slow down")]
    assert (way.run(change()), way.said) == (1, "caldav: 429 Slow down")


@every(["github"])
def test_an_error_of_graphql_has_status_200(way: Way):
    assert way.run(change("refused")) == 1
    assert "is too long" in way.said


@every()
def test_nothing_listens(way: Way):
    way.patch.setenv(f"{way.name.upper()}_HOST", "localhost:1")
    assert way.run(change()) == 1
    assert "refused" in way.said.lower()


@every()
def test_a_certificate_that_is_not_trusted_gets_no_token(way: Way):
    way.patch.setenv("SSL_CERT_FILE", "/dev/null")
    assert way.run(change()) == 1
    assert "certificate" in way.said.lower()
    assert way.service.asked == []


@every()
def test_a_setting_that_is_missing_is_named(way: Way):
    way.patch.delenv(f"{way.name.upper()}_{'LOGIN' if way.name == 'caldav' else 'TOKEN'}")
    assert way.run(change()) == 1
    assert re.search(rf"{way.name.upper()}_\w+ (is not set|or )", way.said)
    assert "docs/guide/ways-out.md" in way.said


def test_the_guide_names_every_script_and_every_setting():
    guide = GUIDE.read_text()
    for name in NAMES:
        script = (SCRIPTS / f"{name}.py").read_text()
        assert f"(../../examples/ways-out/{name}.py)" in guide
        named = re.findall(rf"\b{name.upper()}_[A-Z]+\b", guide)
        assert set(named) == set(re.findall(rf"\b{name.upper()}_[A-Z]+\b", script))


def test_the_unit_in_the_guide_is_one(tmp_path: Path):
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("needs systemd-analyze (Debian package systemd)")
    [unit] = re.findall(r"```ini\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    path = tmp_path / "fingertrio-slack.service"
    path.write_text(unit.replace("%h/.local/bin/fingertrio", "/bin/true"))
    done = subprocess.run(
        [program, "verify", "--man=no", path], capture_output=True, text=True, check=False, timeout=30
    )
    assert (done.returncode, done.stderr) == (0, "")


@every(["slack"])
async def test_watch_runs_it(way: Way) -> None:
    """As `fingertrio watch --exec` does: a process of its own."""
    backend = MemoryBackend({"ada": "Weaving"})
    messages, notices = Silent(), list[str]()
    async with serving(backend) as site, trio.open_nursery() as nursery:
        command = parse_command(str(SCRIPTS / "slack.py"))
        execution = Execution(site.url, ["ada"], command, State(None), messages, notices.append)
        nursery.start_soon(execution.read)
        await messages.open.wait()
        await backend.set_user("ada", "☕ Tea")
        await until(lambda: bool(way.service.asked or notices))
        nursery.cancel_scope.cancel()
    assert notices == []
    assert way.service.asked[0].json()["profile"]["status_text"] == "☕ Tea"
