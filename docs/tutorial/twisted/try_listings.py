"""Tries the listings of Twisted's finger tutorial under a release of Twisted, and writes results.json beside this file.

`python try_listings.py 26.10.0` fetches the sdist of that release from the package index, installs it into a virtual
environment in a temporary folder, and runs each listing there with this Python. Only addresses, accounts and paths in
the listings are replaced: ports by others, uid 1 by the user who runs this, /etc/users by a file, the IRC server by
loopback. A listing runs if it starts and gives the answers that the tutorial's text promises.
"""

from __future__ import annotations

import json
import os
import platform
import re
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
import venv
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

TUTORIAL = "docs/core/howto/tutorial/listings/finger"
PORTS = {79: 17079, 1079: 11079, 8000: 18000, 443: 17443, 8889: 18889, 7779: 17779, 6667: 16667}
USERS = "moshez: Happy and well\nalice: Sleeping\n"
START = 8.0  # seconds that a listing has to listen
ANSWER = 5.0  # seconds that it has to answer


@dataclass(frozen=True)
class Question:
    """What is sent to a port, and what must be in the answer. None: it is enough that the connection is accepted."""

    port: int
    query: bytes
    answer: bytes | None


def finger(port: int, answer: bytes | None, user: bytes = b"moshez") -> Question:
    return Question(port, user + b"\r\n", answer)


PAGE = Question(8000, b"GET /moshez HTTP/1.0\r\n\r\n", b"Happy and well")
CALL = b"<methodCall><methodName>getUser</methodName><params><param><value>moshez</value></param></params></methodCall>"
XMLRPC = Question(
    8000,
    b"POST /RPC2 HTTP/1.0\r\nContent-Type: text/xml\r\nContent-Length: %d\r\n\r\n%s" % (len(CALL), CALL),
    b"Happy and well",
)
HAPPY = finger(79, b"Happy and well")
WEB = [HAPPY, PAGE]
QUESTIONS: dict[str, list[Question]] = {
    "finger01.py": [],
    "finger02.py": [finger(1079, None)],
    "finger03.py": [finger(1079, b"")],
    "finger04.py": [finger(1079, b"")],
    "finger05.py": [finger(1079, b"No such user")],
    "finger06.py": [finger(1079, b"No such user")],
    "finger07.py": [finger(1079, b"Happy and well")],
    "finger08.py": [finger(1079, b"Happy and well")],
    "finger09.py": [finger(1079, b"Login", b"root")],
    "finger10.py": [finger(1079, b"livejournal")],
    "finger11.tac": [HAPPY],
    "finger12.tac": [HAPPY, Question(1079, b"moshez\r\nGiving a tutorial\r\n", b""), finger(79, b"Giving a tutorial")],
    "finger13.tac": [HAPPY, Question(1079, b"moshez\r\nGiving a tutorial\r\n", b""), finger(79, b"Giving a tutorial")],
    "finger14.tac": [HAPPY],
    "finger15.tac": WEB,
    "finger16.tac": [HAPPY],
    "finger17.tac": [*WEB, XMLRPC],
    "finger18.tac": [*WEB, XMLRPC],
    "finger19.tac": [*WEB, XMLRPC],
    "finger19a.tac": [*WEB, XMLRPC],
    "finger19b.tac": [finger(79, b"Login", b"root")],
    "finger19c.tac": [finger(79, b"plan", b"root")],
    "finger20.tac": [*WEB, XMLRPC],
    "finger21.tac": [*WEB, XMLRPC],
    "finger22.py": [*WEB, XMLRPC],
    "fingerproxy.tac": [finger(7779, b"Could not connect to remote host", b"moshez@127.0.0.1")],
    "organized-finger.tac": WEB,
    "simple-finger.tac": [finger(1079, b"Happy and well"), PAGE],  # makeService has this port
}


def adapt(text: str, users: Path) -> str:
    """Replace what a listing may not use here: privileged ports, another account, /etc/users, other servers."""
    for port, free in PORTS.items():
        text = re.sub(rf"(?<![\d.]){port}(?!\d)", str(free), text)
    text = re.sub(r"uid=1, gid=1", f"uid={os.getuid()}, gid={os.getgid()}", text)
    text = text.replace("/etc/users", str(users)).replace("irc.freenode.org", "127.0.0.1")
    return text.replace("irc.freenode.net", "127.0.0.1")


def ask(question: Question, deadline: float) -> str | None:
    """Put a question. Return None if the answer is right, otherwise what is wrong with it."""
    while True:
        try:
            connection = socket.create_connection(("127.0.0.1", PORTS[question.port]), timeout=ANSWER)
            break
        except OSError:
            if time.monotonic() > deadline:
                return f"does not listen on port {question.port}"
            time.sleep(0.1)
    answer = b""
    with connection:
        if question.answer is None:
            return None
        try:
            connection.sendall(question.query)
            if question.answer == b"":  # the setter waits for the end, as Ctrl-D sends it
                connection.shutdown(socket.SHUT_WR)
            while data := connection.recv(65536):
                answer += data
        except TimeoutError:
            return f"port {question.port} does not answer within {ANSWER:g} s"
        except ConnectionError:
            pass  # it was closed with the query unread: what arrived before counts
    if question.answer in answer:
        return None
    said = answer.split(b"\r\n\r\n")[-1][-90:].decode(errors="replace").strip()
    return f"port {question.port} answers {said!r}" if said else f"port {question.port} closes without an answer"


def try_listing(name: str, folder: Path, python: Path, users: Path) -> str | None:
    """Run one listing. Return None if it runs as the tutorial says, otherwise why not."""
    for port in PORTS.values():
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                sys.exit(f"port {port} is in use: the answers would be those of another program")
    path = folder / name
    path.write_text(adapt(path.read_text(), users))
    command: list[Path | str] = [python, path]
    if name.endswith(".tac") or name == "finger22.py":
        command = [python.parent / "twistd", "-ny", path, "--pidfile="]
    with tempfile.TemporaryFile() as output:
        # The last two listings import finger.py, which is in a folder of its own.
        environment = {**os.environ, "PYTHONPATH": str(folder / "finger")}
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT)
        try:
            if not QUESTIONS[name]:
                time.sleep(2)
            deadline = time.monotonic() + START
            wrong = next((said for each in QUESTIONS[name] if (said := ask(each, deadline))), None)
            if process.poll() is not None:
                output.seek(0)
                lines = [line for line in output.read().decode(errors="replace").splitlines() if line.strip()]
                errors = [line.strip() for line in lines if re.match(r"\S*(Error|Exception|NotFound)\b", line.strip())]
                return "does not start: " + (errors or lines or ["no output"])[-1][:150]
            return wrong
        finally:
            process.kill()
            process.wait()


def main() -> None:
    release = sys.argv[1]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
        source = ["--no-deps", "--no-binary=:all:", f"--dest={folder}", f"twisted=={release}"]
        subprocess.run([*pip, "download", *source], check=True)
        [sdist] = folder.glob("*.tar.gz")
        with tarfile.open(sdist) as archive:
            archive.extractall(folder, filter="data")
        venv.create(folder / "venv", with_pip=True)
        python = folder / "venv/bin/python"
        subprocess.run([python, *pip[1:], "install", f"twisted[tls]=={release}"], check=True)
        [listings] = folder.glob(f"*/{TUTORIAL}")
        users = folder / "users"
        users.write_text(USERS)
        module = listings / "finger/finger.py"
        module.write_text(adapt(module.read_text(), users))
        subject: list[str | Path] = [
            "-subj",
            "/CN=localhost",
            "-keyout",
            listings / "key.pem",
            "-out",
            listings / "cert.pem",
        ]
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", *subject], check=True)
        results = {}
        for name in QUESTIONS:
            results[name] = try_listing(name, listings, python, users)
            print(f"{name:22} {results[name] or 'runs'}", flush=True)
    found = {
        "twisted": release,
        "python": platform.python_version(),
        "date": datetime.now(UTC).date().isoformat(),
        "listings": {name: said.replace(place, "") if said else "runs" for name, said in results.items()},
    }
    Path(__file__).with_name("results.json").write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
