"""The command line, as a stranger uses it: real processes, their output and their exit status."""

import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from math import inf

import pytest

from fingertrio.cli.commands import COMMANDS
from fingertrio.testing.measure import cpu_seconds
from fingertrio.testing.process import run
from fingertrio.testing.program import Program, running
from tests.installed import pretend_installed

ENVIRONMENT = {key: value for key, value in os.environ.items() if not key.startswith("FINGERTRIO_")}
ANY_PORTS = {f"FINGERTRIO_{door}__LISTEN": "127.0.0.1:0" for door in ("FINGER", "SETTER", "HTTP")} | {
    "FINGERTRIO_BACKEND__USE": "memory",
    "FINGERTRIO_BACKEND__USERS": '{ moshez = "Happy and well", ada = "Weaving" }',
}


def fingertrio(*arguments, environ=None):
    return run(*arguments, environ=ENVIRONMENT | (environ or {}))


def serving(environ=None, *, fresh=False):
    """The program without a configuration file, on ports of its own."""
    return running(None, environ=ANY_PORTS if environ is None else environ, fresh=fresh)


def ask(address, query):
    host, _, port = address.rpartition(":")
    with socket.create_connection((host.strip("[]"), int(port)), timeout=5) as sock:
        sock.sendall(query)
        return b"".join(iter(lambda: sock.recv(4096), b""))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_without_arguments_it_opens_the_doors_says_where_and_stops_at_a_signal(number):
    with serving() as program:
        assert set(program.addresses) == {"finger", "setter", "http"}
        assert ask(program.addresses["finger"], b"moshez\r\n") == b"Happy and well\r\n"
        program.signal(number)
        assert program.wait() == 0
        events = [
            record["event"] for record in program.records() if record["event"] != "loop_stalled"
        ]  # a busy machine
    assert events[events.index("ready") :] == ["ready", "query", "stopping", "stopped"]


def test_by_default_statuses_last_in_the_users_state_directory(tmp_path):
    environ = {f"FINGERTRIO_{door}__LISTEN": "127.0.0.1:0" for door in ("FINGER", "SETTER", "HTTP")}
    environ |= {"XDG_STATE_HOME": str(tmp_path)}
    for answer in (b"No such user\r\n", b"In the garden\r\n"):
        with serving(environ=environ) as program:
            assert ask(program.addresses["finger"], b"moshez\r\n") == answer
            assert (
                fingertrio("set", "--at", program.addresses["setter"], "--user", "moshez", "In the garden").returncode
                == 0
            )
            assert ask(program.addresses["finger"], b"moshez\r\n") == b"In the garden\r\n"
            program.kill()
    assert (tmp_path / "fingertrio/fingertrio.db").exists()


def test_a_client_that_says_nothing_and_one_that_does_not_read_do_not_hold_the_exit():
    with serving(environ=ANY_PORTS | {"FINGERTRIO_SERVICE__GRACE": "1"}) as program:
        held = []
        for door in ("finger", "setter", "http"):
            host, _, port = program.addresses[door].removeprefix("http://").rpartition(":")
            held.append(sock := socket.create_connection((host, int(port))))
            sock.sendall(b"mos")
        started = time.monotonic()
        program.signal(signal.SIGTERM)
        assert program.wait(20) == 0
        assert time.monotonic() - started < 8  # a grace of one second; the deadline of a query is ten
        for sock in held:
            sock.close()


def test_what_is_set_through_the_setter_is_shown_by_finger_at_once():
    with serving() as program:
        assert ask(program.addresses["finger"], b"moshez\r\n") == b"Happy and well\r\n"
        done = fingertrio("set", "--at", program.addresses["setter"], "--user", "moshez", "In the garden")
        assert (done.returncode, done.stdout) == (0, f"moshez: In the garden ({program.addresses['setter']})\n")
        assert ask(program.addresses["finger"], b"moshez\r\n") == b"In the garden\r\n"
        refused = fingertrio("set", "--at", "127.0.0.1:1", "--user", "moshez", "In the garden")
        assert refused.returncode == 3
        assert refused.stderr.startswith("fingertrio: 127.0.0.1:1: nothing listens there; start a server")
        refused = fingertrio("set", "--at", program.addresses["setter"], "--user=-x", "In the garden")
        assert refused.returncode == 1
        assert "a user name is made of" in refused.stderr


def test_the_finger_command_asks_filters_and_tells_how_it_went():
    with serving() as program:
        place = program.addresses["finger"]
        answered = fingertrio("finger", f"moshez@{place}")
        assert (answered.returncode, answered.stdout) == (0, "Happy and well\n")
        assert "ada" in fingertrio("finger", f"@{place}").stdout
        assert "Login: ada" in fingertrio("finger", "-l", f"ada@{place}").stdout
        denied = fingertrio("finger", f"moshez@example.org@{place}")
        assert (denied.returncode, denied.stdout) == (5, "Finger forwarding service denied\n")
        unknown = fingertrio("finger", f"nobody@{place}")
        assert (unknown.returncode, unknown.stdout) == (1, "No such user\n")
        fingertrio("set", "--at", program.addresses["setter"], "--user", "ada", "Grüße \x1b[31mrot")
        assert fingertrio("finger", f"ada@{place}").stdout == "Grüße rot\n"
        assert fingertrio("finger", "--ascii", f"ada@{place}").stdout == "Gr??e rot\n"
        program.signal(signal.SIGTERM)
        program.wait(10)
    gone = fingertrio("finger", f"moshez@{place}")
    assert gone.returncode == 3
    assert "fingertrio: 127.0.0.1" in gone.stderr


@pytest.mark.parametrize("target", ["a b@localhost", "moshez@", "x@h:port", "x@[::z]:79"])
def test_a_question_that_is_none_is_wrong_usage(target):
    done = fingertrio("finger", target)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", [("serve", "--config"), ("check-config",)])
@pytest.mark.parametrize(
    ("text", "part"),
    [
        (None, "there is no such file"),
        ("[backend", "not valid TOML"),
        ('[backend]\nuse = "memory"\n[finger]\nlisten = ["127.0.0.1:0"]\nanswr = "full"\n', 'did you mean "answer"?'),
        ('[backend]\nuse = "memory"\n[finger]\nlisten = [1]\n', "[finger] listen.0"),
        ('[backend]\nuse = "nosuch"\n', 'no backend "nosuch"; installed are:'),
        ('[backend]\nuse = "memory"\nuzers = {}\n', 'did you mean "users"?'),
        ('[backend]\nuse = "memory"\n[setter]\nlisten = ["0.0.0.0:0"]\n', "loopback"),
        ('[backend]\nuse = "memory"\n', "no section opens a door: add [finger],"),
    ],
)
def test_a_configuration_mistake_ends_it_at_once_with_one_message(tmp_path, command, text, part):
    path = tmp_path / "conf.toml"
    if text is not None:
        path.write_text(text)
    done = fingertrio(*command, path)
    assert done.returncode == 2
    assert done.stderr.startswith(f"fingertrio: {path}: ")
    assert part in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_port_that_is_taken_is_named_with_its_section(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        done = fingertrio(environ=ANY_PORTS | {"FINGERTRIO_HTTP__LISTEN": place})
    assert done.returncode == 2
    assert done.stderr.endswith(f"[http] listen: cannot listen on {place}: another program listens there already\n")
    assert done.stderr.count("\n") == 1


def test_a_setter_over_a_backend_that_cannot_set_is_a_mistake(tmp_path):
    (tmp_path / "users").write_text("moshez: Happy\n")
    path = tmp_path / "conf.toml"
    path.write_text(f'[backend]\nuse = "file"\npath = "{tmp_path}/users"\n[setter]\nlisten = ["127.0.0.1:0"]\n')
    done = fingertrio("serve", "--config", path, environ={"FINGERTRIO_PROCESS__RUN_AS_ROOT": "true"})
    assert done.returncode == 2
    assert "[setter]: the file backend cannot set a status" in done.stderr


def test_check_config_finds_no_mistake_in_the_default_file_and_opens_no_port():
    done = fingertrio("check-config", "conf/fingertrio.toml")
    assert (done.returncode, done.stdout) == (0, "conf/fingertrio.toml: no mistakes found\n")


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_of_commands_has_the_first_sentence_of_each(name):
    """The list does not import the commands, so it has a copy."""
    assert COMMANDS[name].load().get_short_help_str(200) == COMMANDS[name].help


def test_the_list_of_commands_imports_none_of_them():
    code = (
        "import sys; from fingertrio.cli.commands import cli; cli(['--help'], standalone_mode=False); "
        "print(sorted(sys.modules.keys() & {'trio', 'pydantic', 'sqlite3', 'structlog'}))"
    )
    # Coverage measurement, which child processes join by the environment, imports sqlite3.
    environ = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environ)
    assert done.stdout.endswith("\n[]\n")
    assert all(f"\n  {name} " in done.stdout for name in COMMANDS)


def test_backends_are_listed_with_their_options():
    done = fingertrio("backends")
    assert done.returncode == 0
    for name in ("memory", "file", "command", "plan", "xmlrpc", "finger"):
        assert f"{name}  (fingertrio)" in done.stdout
    assert "path" in done.stdout
    assert done.stderr == ""


def test_front_ends_are_listed_with_their_options():
    done = fingertrio("frontends")
    assert done.returncode == 0
    for name in ("finger", "setter", "http", "irc", "admin"):
        assert f"{name}  (fingertrio)" in done.stdout
    assert "listen  array of strings, required" in done.stdout
    assert done.stderr == ""


@contextmanager
def started_from(directory, *arguments):
    """A program that finds modules in `directory` first; it says by a line on standard output where it waits."""
    process = subprocess.Popen(
        [sys.executable, "-m", "fingertrio", *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT | {"PYTHONPATH": str(directory)},
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


# A sitecustomize that stops the import of one module until a line comes in.
STOPS_AT_IMPORT = """
import sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            sys.meta_path.remove(self)
            print("waiting", flush=True)
            sys.stdin.readline()
sys.meta_path.insert(0, Finder())
"""

# A backend that is a while in opening. Until then there is no supervisor.
OPENS_SLOWLY = """
import sys, trio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from fingertrio import UserInfo
@dataclass
class Options: pass
class Slow:
    async def get_user(self, user):
        return UserInfo(user, "Late")
@asynccontextmanager
async def open_slow(options: Options):
    print("waiting", flush=True)
    await trio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True)
    try:
        yield Slow()
    finally:
        print("closed", flush=True)
"""

# A backend whose library writes to standard error.
PRINTS = """
import sys, warnings
from contextlib import asynccontextmanager
from dataclasses import dataclass
@dataclass
class Options: pass
class Finalized:
    def __del__(self):
        raise ValueError("in a finalizer")
class Printing:
    async def get_user(self, user):
        warnings.warn("odd", RuntimeWarning)
        print("x" * 5000, file=sys.stderr)
        Finalized()
@asynccontextmanager
async def open_printing(options: Options):
    yield Printing()
"""


def test_what_a_library_prints_is_a_record(tmp_path, monkeypatch):
    pretend_installed(monkeypatch, tmp_path, "fingertrio.backends", printing="printing:open_printing")
    (tmp_path / "printing.py").write_text(PRINTS)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with running({"backend": {"use": "printing"}, "finger": {"listen": ["127.0.0.1:0"]}}) as program:
        assert ask(program.addresses["finger"], b"moshez\r\n") == b"No such user\r\n"
        program.end()
        lines = [record["line"] for record in program.records() if record["event"] == "stray_output"]
        assert not program.events()["stray"]
    assert any("RuntimeWarning: odd" in line for line in lines)
    assert [len(line) for line in lines if line.startswith("xx")] == [4096, 904]
    assert "ValueError: in a finalizer" in lines


SLOW = """
[backend]
use = "slow"
[process]
run_as_root = true
[finger]
listen = ["127.0.0.1:0", "unix:{path}"]
answer = "{answer}"
"""


@pytest.fixture
def slow(tmp_path, monkeypatch):
    """A configuration with that backend, as a function of `answer`; and where it has a unix socket."""
    pretend_installed(monkeypatch, tmp_path, "fingertrio.backends", slow="slow:open_slow")
    (tmp_path / "slow.py").write_text(OPENS_SLOWLY)
    path = tmp_path / "f.toml"

    def configure(answer):
        path.write_text(SLOW.format(path=tmp_path / "socket", answer=answer))
        return path

    configure("status")
    return configure


@pytest.mark.parametrize(
    "module", ["trio", "fingertrio.config.config", "fingertrio.server.app", "fingertrio.frontends.finger.door"]
)
def test_interrupted_while_it_imports_it_ends_without_a_word(tmp_path, slow, module):
    (tmp_path / "sitecustomize.py").write_text(STOPS_AT_IMPORT.format(module=module))
    with started_from(tmp_path, "serve", "--config", slow("status")) as process:
        assert process.stdout.readline() == "waiting\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
        assert process.stderr.read() == ""


def test_interrupted_while_it_is_put_together_it_closes_what_it_has_and_ends_without_a_word(tmp_path, slow):
    with started_from(tmp_path, "serve", "--config", slow("status")) as process:
        assert process.stdout.readline() == "waiting\n"
        assert (tmp_path / "socket").exists()
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
        assert process.stderr.read() == ""
        assert not (tmp_path / "socket").exists()


@pytest.mark.parametrize("module", ["trio", "fingertrio.frontends.finger.door", None])
def test_a_hangup_before_it_serves_is_obeyed_once_it_does(tmp_path, slow, module):
    """The file has been read when the backend is opened: what is written then, only the signal tells."""
    if module:
        (tmp_path / "sitecustomize.py").write_text(STOPS_AT_IMPORT.format(module=module))
    with started_from(tmp_path, "serve", "--config", slow("status")) as process:
        for stop in [module, None] if module else [None]:
            assert process.stdout.readline() == "waiting\n"
            if stop == module:
                process.send_signal(signal.SIGHUP)
            slow("full")
            process.stdin.write("\n")
            process.stdin.flush()
        events = []
        for line in process.stderr:
            events.append(json.loads(line))
            if events[-1]["event"] == "reloaded":
                break
        names = [
            event["event"] for event in events if event["event"] not in {"listening", "loop_stalled"}
        ]  # a busy machine
        assert names == ["ready", "reloaded"]
        assert events[-1]["changed"] == ([] if module == "trio" else ["finger.answer"])
        process.send_signal(signal.SIGTERM)
        assert process.stdout.read() == "closed\n"
        assert process.wait(10) == 0


# Blocks the signals, sends SIGHUP to itself, and becomes the program; both stay as they are across exec.
BLOCKS = """
import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
os.kill(os.getpid(), signal.SIGHUP)
os.execv(sys.executable, [sys.executable, "-m", "fingertrio", *sys.argv[1:]])
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_that_the_parent_blocked_arrive(tmp_path, number):
    """A SIGHUP that comes before Python runs does not end the program, and is handled once it serves."""
    command = [sys.executable, "-c", BLOCKS, "serve"]
    with Program(command, tmp_path / "log", environ=ENVIRONMENT | ANY_PORTS) as program:
        program.wait_for("reloaded")
        program.signal(number)
        assert program.wait() == 0


def test_a_hangup_ends_commands_that_do_not_serve(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(STOPS_AT_IMPORT.format(module="fingertrio.config.plugins"))
    with started_from(tmp_path, "backends") as process:
        assert process.stdout.readline() == "waiting\n"
        process.send_signal(signal.SIGHUP)
        process.stdin.close()
        assert process.wait(10) == -signal.SIGHUP


def test_on_a_terminal_it_says_where_every_door_is_and_what_to_type():
    leader, follower = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "fingertrio"], stderr=follower, env=ENVIRONMENT | ANY_PORTS | {"TERM": "xterm"}
    )
    os.close(follower)
    try:
        seen = b""
        while b"Ctrl-C stops it" not in seen:
            seen += os.read(leader, 4096)
        text = seen.decode()
        assert "is ready" in text
        for hint in ("finger @127.0.0.1:", "set --at 127.0.0.1:", "/api/users"):
            assert hint in text
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        os.close(leader)


@pytest.mark.speed
def test_its_start_costs_little_more_than_its_imports():
    """Less than 1.6 times the CPU of importing quart_trio, hypercorn.trio and pydantic; the least of each, in turns.

    It is 1.4 on a quiet machine. Another busy core makes single rounds cost up to 1.7, so a few rounds may be needed.
    """

    def imports():
        before = children_cpu()
        subprocess.run([sys.executable, "-c", "import quart_trio, hypercorn.trio, pydantic"], check=True)
        return children_cpu() - before

    def start():
        with serving(fresh=True) as program:
            return cpu_seconds(program.pid)

    least_imports = least_start = inf
    for _ in range(6):
        least_imports = min(least_imports, imports())
        least_start = min(least_start, start())
        if least_start < 1.6 * least_imports:
            return
    pytest.fail(f"{least_start / least_imports:.2f} times the imports")


def children_cpu():
    """CPU seconds of the child processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
