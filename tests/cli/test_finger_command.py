"""`fingertrio finger`: its targets, several of them, and JSON."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from fingertrio.cli.finger import parse_target
from fingertrio.testing.process import environment, run
from fingertrio.testing.program import Program, running
from fingertrio.wire.finger import Query


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("finger://example.org/ada", (Query("ada"), "example.org", 79)),
        ("finger://example.org", (Query(""), "example.org", 79)),
        ("finger://example.org/", (Query(""), "example.org", 79)),
        ("FINGER://example.org:7979/ada", (Query("ada"), "example.org", 7979)),
        ("finger://ada@example.org", (Query("ada"), "example.org", 79)),
        ("finger://[::1]:7979/zo%C3%AB", (Query("zo\u00eb"), "::1", 7979)),
        ("finger://example.org/ada%20", (Query("ada"), "example.org", 79)),
    ],
)
def test_a_url_names_a_query(target: str, expected: tuple[Query, str, int]):
    assert parse_target(target, verbose=False) == expected


@pytest.mark.parametrize(
    "target",
    [
        "finger://",
        "finger:///ada",
        "finger://ada@example.org/bob",
        "finger://example.org/a%20b",
        "finger://example.org/a%0D%0AQUIT",
        "finger://example.org:99999/ada",
    ],
)
def test_a_url_that_names_none_is_refused(target: str):
    with pytest.raises(ValueError, match=r"\S"):
        parse_target(target, verbose=False)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Program, dict[str, str]]]:
    directory = tmp_path_factory.mktemp("finger")
    environ = environment() | {"XDG_RUNTIME_DIR": str(directory)}
    users = {"ada": "Weaving\non two lines", "bob": "Out"}
    config: dict[str, dict[str, object]] = {
        "backend": {"use": "memory", "users": users},
        "finger": {"listen": ["127.0.0.1:0"]},
    }
    with running(config, environ=environ) as running_program:
        yield running_program, environ


def finger(environ: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return run("finger", *arguments, environ=environ)


def test_several_targets_are_answered_in_order_by_the_server_of_this_machine(program: tuple[Program, dict[str, str]]):
    _, environ = program
    ended = finger(environ, "ada", "nobody", "bob")
    assert ended.stdout == "[ada]\nWeaving\non two lines\n\n[nobody]\nNo such user\n\n[bob]\nOut\n"
    assert ended.returncode == 1
    assert finger(environ, "bob").stdout == "Out\n"


def test_json_is_one_object_a_line(program: tuple[Program, dict[str, str]]):
    served, environ = program
    url = f"finger://{served.addresses['finger']}/ada"
    ended = finger(environ, "--json", url, "nobody", "ada@127.0.0.1:1")
    first, second, third = (json.loads(line) for line in ended.stdout.splitlines())
    assert first == {"target": url, "answer": "Weaving\non two lines\n", "status": 0, "error": None}
    assert (second["answer"], second["status"]) == ("No such user\n", 1)
    assert (third["answer"], third["status"]) == ("", 3)
    assert "Connection refused" in third["error"]
    assert ended.returncode == 3
    assert ended.stderr == ""


def test_a_wrong_target_among_others_asks_no_server(program: tuple[Program, dict[str, str]], tmp_path: Path):
    _, environ = program
    ended = finger(environ, "ada", "a b@127.0.0.1")
    assert (ended.returncode, ended.stdout) == (2, "")
