"""The admin door of a real program, whose backend is a script that can be broken."""

import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

CONFIGURATION = """
[backend]
use = "command"
argv = ["{script}"]
unknown_status = [2]
[process]
run_as_root = true
[service]
cache_ttl = 1000.0
[finger]
listen = ["127.0.0.1:0"]
[http]
listen = ["127.0.0.1:0"]
[admin]
listen = ["{admin}"]
[log]
anonymize_addresses = true
"""

SCRIPT = """#!/bin/sh
[ -e {broken} ] && exit 1
[ "$2" = nobody ] && exit 2
echo "Happy and well"
"""


class Program:
    """A running program: its doors' addresses, what it logs, and a switch for its backend."""

    def __init__(self, process, broken):
        self.process = process
        self.broken = broken
        self.events = []
        self._barriers = itertools.count()
        self._said_something = threading.Condition()
        threading.Thread(target=self._read).start()  # until the program ends
        self._wait_for(event="ready")
        self.addresses = {event["door"]: event["address"] for event in self._found(event="listening")}

    def _read(self):
        with self.process.stderr as lines:
            for line in lines:
                with self._said_something:
                    self.events.append(json.loads(line))
                    self._said_something.notify_all()

    def _found(self, **fields):
        return [event for event in self.events if fields.items() <= event.items()]

    def _wait_for(self, **fields):
        with self._said_something:
            assert self._said_something.wait_for(lambda: self._found(**fields), 20)

    def finger(self, query):
        host, _, port = self.addresses["finger"].rpartition(":")
        with socket.create_connection((host, int(port)), timeout=10) as sock:
            sock.sendall(f"{query}\r\n".encode())
            return b"".join(iter(lambda: sock.recv(4096), b"")).decode()

    def numbers(self):
        text = httpx2.get(f"{self.addresses['admin']}/metrics").text
        return {
            (sample.name, *sample.labels.values()): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def readiness(self):
        answer = httpx2.get(f"{self.addresses['admin']}/readyz", timeout=20)
        return answer.status_code, {found["what"]: found["reason"] for found in answer.json()["degraded"]}

    def logged(self, event):
        """All such events until now: whatever is asked now is logged after them."""
        barrier = f"barrier{next(self._barriers)}"
        self.finger(barrier)
        self._wait_for(asked=barrier)
        return self._found(event=event)


@contextmanager
def running(directory, admin="127.0.0.1:0"):
    broken = directory / "broken"
    script = directory / "status"
    script.write_text(SCRIPT.format(broken=broken))
    script.chmod(0o755)
    path = directory / "fingertrio.toml"
    path.write_text(CONFIGURATION.format(script=script, admin=admin))
    environment = {key: value for key, value in os.environ.items() if not key.startswith("FINGERTRIO_")}
    command = [sys.executable, "-m", "fingertrio", "serve", "--config", str(path)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    try:
        yield Program(process, broken)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    with running(tmp_path_factory.mktemp("program")) as program:
        yield program


def test_the_numbers_move_when_the_doors_are_used(program):
    before = program.numbers()
    for query in ("moshez", "moshez", "nobody"):
        program.finger(query)
    assert httpx2.get(f"{program.addresses['http']}/api/users/moshez").json()["status"] == "Happy and well"
    moved = {key: number - before.get(key, 0) for key, number in program.numbers().items()}
    assert moved["fingertrio_queries_total", "finger", "ok"] == 2
    assert moved["fingertrio_queries_total", "finger", "unknown"] == 1
    assert moved["fingertrio_queries_total", "http", "ok"] == 1
    assert moved["fingertrio_query_seconds_count", "finger"] == 3
    assert moved["fingertrio_query_seconds_bucket", "finger", "+Inf"] == 3
    assert moved["fingertrio_sent_bytes_total", "finger"] == len("Happy and well\r\n" * 2 + "No such user\r\n")
    assert moved["fingertrio_backend_calls_total", "get_user", "ok"] == 2
    assert moved["fingertrio_backend_seconds_count", "get_user"] == 2
    assert moved["fingertrio_cache_lookups_total", "miss"] == 2
    assert moved["fingertrio_cache_lookups_total", "hit"] == 2
    assert moved["fingertrio_loop_late_seconds_count",] > 0


def test_it_is_ready_until_its_backend_fails_and_again_when_it_works(program):
    """It notices without being asked anything else: a load balancer would have stopped asking."""
    assert program.readiness() == (200, {})
    program.broken.touch()
    try:
        for user in ("ada", "grace", "ada"):
            assert program.finger(user) == "Internal error in server\r\n"
        assert program.finger("moshez") == "Happy and well\r\n", "what is in memory is answered still"
        status, degraded = program.readiness()
        assert status == 503
        assert set(degraded) == {"backend"}
        assert "status 1" in degraded["backend"]
        numbers = program.numbers()
        assert (numbers["fingertrio_ready",], numbers["fingertrio_degraded", "backend"]) == (0, 1)
        assert numbers["fingertrio_backend_calls_total", "get_user", "error"] == 3
    finally:
        program.broken.unlink()
    assert program.readiness() == (200, {})
    assert program.numbers()["fingertrio_ready",] == 1
    [begun], [ended] = program.logged("degraded"), program.logged("recovered")
    assert (begun["what"], ended["what"]) == ("backend", "backend")


def test_the_log_has_a_line_for_each_question_with_the_address_cut_and_none_for_monitoring(program):
    program.numbers()
    lines = program.logged("query")
    assert {line["peer"] for line in lines} == {"127.0.0.0/24"}
    assert {line["door"] for line in lines} <= {"finger", "http"}


@pytest.mark.parametrize("path", ["metrics", "healthz", "readyz"])
def test_the_web_door_has_none_of_it(program, path):
    answer = httpx2.get(f"{program.addresses['http']}/{path}")
    assert "fingertrio_" not in answer.text
    assert "<p>Happy and well</p>" in answer.text, "here these are names of users"


def test_who_does_not_use_it_need_not_load_it():
    program = (
        "import sys; from fingertrio.config.plugins import find_frontends; "
        "find_frontends(['finger', 'setter', 'http', 'irc']); "
        "sys.exit('prometheus_client' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=20)


def test_curl_through_a_unix_socket(tmp_path):
    if (curl := shutil.which("curl")) is None:
        pytest.skip("needs curl (Debian package curl)")
    path = tmp_path / "admin.sock"
    with running(tmp_path, f"unix:{path}"):
        done = subprocess.run(
            [curl, "-sS", "--fail", "--unix-socket", path, "http://admin/healthz"],
            capture_output=True,
            text=True,
            check=False,
            timeout=20,
        )
    assert (done.stdout, done.stderr) == ("ok\n", "")
