"""`fingertrio healthcheck`: what it asks, what it makes of each answer, and that it leaves nothing in the log."""

from __future__ import annotations

import fcntl
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme
from click.testing import CliRunner

from fingertrio.cli.healthcheck import healthcheck
from fingertrio.server.runtime import RunningServer, RuntimeFile
from fingertrio.testing.program import Configuration, Program, running, to_toml

DEGRADED = {"what": "backend", "essential": True, "reason": "get_user: \x1b[31mno\nroute", "seconds": 1.0}


def check(*arguments: object) -> tuple[int, str]:
    """The exit status, and the one line."""
    result = CliRunner().invoke(healthcheck, [*map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert result.output.count("\n") == 1
    assert bool(result.stdout) == (result.exit_code == 0)
    return result.exit_code, result.output.rstrip("\n")


@pytest.fixture(autouse=True)
def no_servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No server of this machine but those of the test; its runtime directory."""
    for name in ("RUNTIME_DIRECTORY", "FINGERTRIO_URL", "FINGERTRIO_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr("fingertrio.server.runtime.SYSTEM", tmp_path / "none")
    return tmp_path / "fingertrio"


@contextmanager
def answering(answer: Callable[[bytes], bytes | None]) -> Iterator[str]:
    """A server that answers each connection's first bytes; None: never. Its host and port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        held = []

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                reply = answer(connection.recv(4096))
                if reply is None:
                    held.append(connection)
                    continue
                connection.sendall(reply)
                connection.close()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            for connection in held:
                connection.close()


def http(status: str, body: object = "", **headers: str) -> bytes:
    text = body if isinstance(body, str) else json.dumps(body)
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in headers.items()), "", text]
    return "\r\n".join(lines).encode()


@pytest.mark.parametrize(
    ("path", "reply", "status", "line"),
    [
        ("/readyz", http("200 OK", {"ready": True, "degraded": []}), 0, "ready ("),
        (
            "/readyz",
            http("200 OK", {"ready": True, "degraded": [DEGRADED]}),
            0,
            "ready, but degraded: backend: get_user: no route (",
        ),
        ("/readyz", http("503 No", {"ready": False, "degraded": [DEGRADED]}), 1, "not ready: backend: get_user: no"),
        ("/readyz", http("200 OK", "hello"), 1, "the answer is not that of [admin] (HTTP status 200)"),
        ("/readyz", http("200 OK", ["ready"]), 1, "the answer is not that of [admin]"),
        ("/readyz", http("503 No", {"ready": False, "degraded": 5}), 1, "not ready: HTTP status 503"),
        ("/healthz", http("200 OK", "ok\n"), 0, "alive ("),
        ("/healthz", http("404 No"), 1, "HTTP status 404"),
        ("/readyz", http("302 Found", location="https://x/"), 1, "it answers with a redirect (HTTP status 302)"),
        ("", http("301 Moved", location="/x"), 1, "it answers with a redirect (HTTP status 301)"),
        ("", http("404 Not Found", {"detail": "No such user"}), 0, "ready ("),
        ("", http("503 No", {"detail": "The database is closed"}), 1, "not ready: The database is closed"),
        ("", http("404 Not Found", "<html>"), 1, "the answer is not that of a fingertrio (HTTP status 404)"),
        ("", b"SSH-2.0-x\r\n", 1, "what answers there is not a web server"),
        ("", b"HTTP/1.1\r\n\r\n", 1, "what answers there is not a web server"),
        ("", b"HTTP/1.1 abc\r\n\r\n", 1, "what answers there is not a web server"),
        ("", b"", 1, "what answers there is not a web server"),
    ],
)  # fmt: skip
def test_each_answer_over_http_has_its_line(path: str, reply: bytes, status: int, line: str):
    with answering(lambda _: reply) as place:
        found = check("--url", f"http://{place}{path}")
    assert found[0] == status
    assert line in found[1]
    assert place in found[1] or status == 1


@pytest.mark.parametrize(
    ("reply", "ready", "live"),
    [
        (b"No such user\r\n", 0, 0),
        (b"Coffee, tea and cola\r\n", 0, 0),
        (b"Internal error in server\r\n", 1, 0),
        (b"Too many queries from your address, please try again later\r\n", 1, 0),
        (b"The database is not in its place\r\n", 1, 0),
        (b"", 1, 1),
    ],
)
def test_a_finger_server_that_says_it_fails_is_alive_but_not_ready(reply: bytes, ready: int, live: int):
    with answering(lambda _: reply) as place:
        assert check("--url", f"finger://{place}")[0] == ready
        assert check("--url", f"finger://{place}", "--live")[0] == live


@pytest.mark.parametrize("door", ["finger", "setter", "http"])
def test_a_door_that_answers_neither_a_client_nor_a_proxy_is_unhealthy(door: str, tmp_path: Path):
    with answering(lambda _: b"") as place:
        (tmp_path / "f.toml").write_text(to_toml({door: {"listen": place}}))
        status, line = check("--config", tmp_path / "f.toml")
    assert status == 1
    assert line.endswith(("the connection was closed without an answer", "what answers there is not a web server"))


def test_a_server_that_does_not_answer_is_given_up_in_time():
    with answering(lambda _: None) as place:
        status, line = check("--url", f"http://{place}", "--timeout", "0.1")
    assert status == 1
    assert line.endswith("no answer within 0.1 s")


@pytest.mark.parametrize("url", ["ftp://x", "x", "http://", "http://x:99999", "http://x/a b", "https://[::z]/"])
def test_what_is_no_url_is_unhealthy_too(url: str):
    """Docker reserves every status but 0 and 1."""
    status, line = check("--url", url)
    assert status == 1
    assert "is not the URL of a server" in line


def test_where_nothing_listens_or_runs_it_says_so(tmp_path: Path):
    assert check() == (1, "fingertrio: no server runs here; name one with --config or --url")
    assert check("--url", "http://127.0.0.1:1") == (1, "fingertrio: http://127.0.0.1:1: nothing listens there")
    status, line = check("--config", tmp_path / "x.toml")
    assert (status, "there is no such file" in line) == (1, True)
    (tmp_path / "x.toml").write_text('[backend]\nuse = "memory"\n[finger]\nlisten = ["127.0.0.1:0"]\n')
    assert check("--config", tmp_path / "x.toml")[1].endswith("no server with it runs here")


def test_of_several_servers_one_must_be_named(no_servers: Path, monkeypatch: pytest.MonkeyPatch):
    no_servers.mkdir()
    with (no_servers / "server-1.json").open("w") as one, (no_servers / "server-2.json").open("w") as two:
        for number, file in enumerate((one, two), 1):
            fcntl.flock(file, fcntl.LOCK_EX)
            json.dump({"version": 1, "pid": number, "config": f"/etc/{number}.toml"}, file)
            file.flush()
        assert "several servers run here (pid 1, /etc/1.toml; pid 2, /etc/2.toml)" in check()[1]
        assert check("--live", "--config", "/etc/2.toml") == (0, "alive: pid 2 (its runtime file is locked)")
        monkeypatch.setenv("FINGERTRIO_CONFIG", "/etc/1.toml")
        assert check("--live")[1].startswith("alive: pid 1")


def test_a_server_without_a_door_is_alive_but_its_readiness_cannot_be_known():
    file = RuntimeFile.open()
    assert file is not None
    try:
        file.publish(RunningServer(7, doors={"irc": ["irc.example.net:6667 fingerbot"]}))
        assert check("--live")[0] == 0
        assert check() == (
            1,
            "fingertrio: the server (pid 7) has no door that can be asked; add [admin] to its configuration",
        )
    finally:
        file.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Program, Path]]:
    """The real program with every kind of door, and its directory, which is its runtime directory too."""
    directory = tmp_path_factory.mktemp("healthcheck")
    trustme.CA().issue_cert("finger.example.org").private_key_and_cert_chain_pem.write_to_path(directory / "pem")
    # The check comes from the proxy's address; on the unix socket it comes as a client.
    proxied = {"proxy_protocol": True, "trusted_proxies": ["127.0.0.1"]}
    listen = {"listen": ["127.0.0.1:0", f"unix:{directory}/finger"], **proxied}
    secured = {"certfile": directory / "pem", "keyfile": directory / "pem"}
    config: Configuration = {
        "backend": {"use": "memory"},
        "admin": {"listen": ["127.0.0.1:0", f"unix:{directory}/admin"]},
        "finger": listen,
        "http": {"listen": ["127.0.0.1:0", f"unix:{directory}/http"], "trusted_proxies": [], **secured},
        "setter": {"listen": ["127.0.0.1:0", f"unix:{directory}/setter"], "auth": "token", **secured, **proxied},
    }
    (directory / "server.toml").write_text(to_toml(config))
    with running(directory / "server.toml", environ={"XDG_RUNTIME_DIR": str(directory)}) as program:
        yield program, directory


def test_the_server_of_this_machine_is_asked_by_its_admin_door_and_logs_nothing(
    server: tuple[Program, Path], monkeypatch: pytest.MonkeyPatch
):
    program, directory = server
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(directory))
    before = program.events()
    place = program.addresses["admin"].removeprefix("http://")
    assert check() == (0, f"ready (admin at {place})")
    assert check("--live", "--config", directory / "server.toml") == (0, f"alive (admin at {place})")
    after = program.events()
    after.pop("loop_stalled", None)  # a busy machine
    assert after <= before


@pytest.mark.parametrize("kind", ["tcp", "unix"])
@pytest.mark.parametrize("door", ["admin", "http", "finger", "setter"])
def test_each_door_can_be_asked_by_its_configured_address(
    server: tuple[Program, Path], tmp_path: Path, door: str, kind: str
):
    """As in a container whose server could write no runtime file; of https, the certificate is for another name."""
    program, directory = server
    address = f"unix:{directory}/{door}" if kind == "unix" else program.addresses[door].rpartition("/")[2]
    section = {"listen": address} | ({"certfile": "x"} if door in {"http", "setter"} else {})
    (tmp_path / "f.toml").write_text(to_toml({door: section}))
    word = "alive" if door == "setter" else "ready"
    assert check("--config", tmp_path / "f.toml") == (0, f"{word} ({door} at {address})")
    assert check("--live", "--config", tmp_path / "f.toml")[0] == 0


def test_a_url_by_https_needs_a_valid_certificate(server: tuple[Program, Path]):
    program, _ = server
    status, line = check("--url", program.addresses["http"])
    assert status == 1
    assert "certificate verify failed" in line.lower().replace("_", " ")
