"""The admin door of a real program, whose backend is a script that can be broken."""

import itertools
import shutil
import socket
import subprocess
import sys
from collections import Counter
from contextlib import contextmanager

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from fingertrio.testing.program import running

CONFIGURATION = """
[backend]
use = "command"
argv = ["{script}"]
unknown_status = [2]
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


class Monitored:
    """A running program, asked and monitored, with a switch that breaks its backend."""

    def __init__(self, program, broken):
        self.addresses = program.addresses
        self.broken = broken
        self._program = program
        self._barriers = itertools.count()

    def finger(self, query):
        with socket.create_connection(self._program.address("finger"), timeout=10) as sock:
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
        """All log records of this event so far. A query made now is logged after them."""
        barrier = f"barrier{next(self._barriers)}"
        self.finger(barrier)
        self._program.wait_for("query", asked=barrier)
        return [record for record in self._program.records() if record["event"] == event]


@contextmanager
def monitored(directory, admin="127.0.0.1:0"):
    broken = directory / "broken"
    script = directory / "status"
    script.write_text(SCRIPT.format(broken=broken))
    script.chmod(0o755)
    with running(CONFIGURATION.format(script=script, admin=admin)) as program:
        yield Monitored(program, broken)
        program.end()


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    with monitored(tmp_path_factory.mktemp("program")) as program:
        yield program


def test_the_numbers_move_when_the_doors_are_used(program):
    before = program.numbers()
    for query in ("moshez", "moshez", "nobody"):
        program.finger(query)
    assert httpx2.get(f"{program.addresses['http']}/api/users/moshez").json()["status"] == "Happy and well"

    def moved():
        return Counter({key: number - before.get(key, 0) for key, number in program.numbers().items()})

    # An answer is counted after it was sent, and a beat of the loop every 50 ms.
    while not moved()["fingertrio_queries_total", "http", "ok"] or not moved()["fingertrio_loop_late_seconds_count",]:
        pass
    found = moved()
    assert found["fingertrio_queries_total", "finger", "ok"] == 2
    assert found["fingertrio_queries_total", "finger", "unknown"] == 1
    assert found["fingertrio_queries_total", "http", "ok"] == 1
    assert found["fingertrio_query_seconds_count", "finger"] == 3
    assert found["fingertrio_query_seconds_bucket", "finger", "+Inf"] == 3
    assert found["fingertrio_sent_bytes_total", "finger"] == len("Happy and well\r\n" * 2 + "No such user\r\n")
    assert found["fingertrio_backend_calls_total", "get_user", "ok"] == 2
    assert found["fingertrio_backend_seconds_count", "get_user"] == 2
    assert found["fingertrio_cache_lookups_total", "miss"] == 2
    assert found["fingertrio_cache_lookups_total", "hit"] == 2


def test_it_is_ready_until_its_backend_fails_and_again_when_it_works(program):
    """It notices without being asked anything else: a load balancer would have stopped asking."""
    assert program.readiness() == (200, {})
    assert program.finger("moshez") == "Happy and well\r\n"
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
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_curl_through_a_unix_socket(tmp_path):
    if (curl := shutil.which("curl")) is None:
        pytest.skip("needs curl (Debian package curl)")
    path = tmp_path / "admin.sock"
    with monitored(tmp_path, f"unix:{path}"):
        done = subprocess.run(
            [curl, "-sS", "--fail", "--unix-socket", path, "http://admin/healthz"],
            capture_output=True,
            text=True,
            check=False,
            timeout=20,
        )
    assert (done.stdout, done.stderr) == ("ok\n", "")
