"""Mistakes in the configuration, and the whole program over a directory."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from fingertrio.testing.program import Configuration, running
from fingertrio_ldap import LDAPOptions

TABLE: dict[str, object] = {"servers": ["ldaps://ldap.example.org"], "base": "dc=example,dc=org"}
BIND: dict[str, object] = {"bind_dn": "cn=reader,dc=example,dc=org", "password_file": "password"}


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"servers": []}, "at least 1 item"),
        ({"servers": ["ldap.example.org"]}, "expected ldap://HOST"),
        ({"servers": ["ldapi:///run/ldapi"]}, "expected ldap://HOST"),
        ({"servers": ["ldap://h/dc=example"]}, "expected ldap://HOST"),
        ({"servers": ["ldap://reader:secret@h"]}, "keys of their own"),
        ({"servers": ["ldap://h:99999"]}, "Port out of range"),
        ({"base": "example.org"}, "not a distinguished name"),
        ({"filter": "(uid=moshez)"}, "must contain {user}"),
        ({"filter": "(uid={user}"}, "not a filter"),
        ({"bind_dn": "cn=reader,dc=example"}, "belong together"),
        ({**BIND, "servers": ["ldap://h"], "start_tls": False}, "in the clear"),
        ({**BIND, "servers": ["ldaps://h", "ldap://10.0.0.1"], "start_tls": False}, "sent to ldap://10.0.0.1"),
        ({"create": {"dn": "uid={user}", "attributes": {}}}, "needs write = true"),
        ({"write": True, "create": {"dn": "uid=x", "attributes": {}}}, "must contain {user}"),
        ({"timeout": 0}, "greater than 0"),
    ],
)
def test_a_mistake_has_a_message(more: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        LDAPOptions.model_validate(TABLE | more)
    assert words in str(caught.value)


@pytest.mark.parametrize("server", ["ldap://localhost", "ldap://[::1]:389", "ldap://127.0.0.1", "ldaps://h"])
def test_a_password_may_be_sent_to(server: str) -> None:
    LDAPOptions.model_validate(TABLE | BIND | {"servers": [server], "start_tls": False})


def ask(address: tuple[str, int], name: bytes) -> bytes:
    with socket.create_connection(address, timeout=10) as connection:
        connection.sendall(name + b"\r\n")
        with connection.makefile("rb") as answer:
            return answer.read()


def test_the_program_serves_a_directory(slapd: Any, tmp_path: Path) -> None:
    config: Configuration = {
        "backend": {"use": "ldap", "servers": [slapd.url], "start_tls": False, "base": "dc=example,dc=org"},
        "service": {"cache_ttl": 0.0},
        "finger": {"listen": ["127.0.0.1:0"]},
    }
    with running(config) as program:
        address = program.address("finger")
        assert ask(address, b"moshez") == b"Happy and well\r\n"
        slapd.stop()
        assert ask(address, b"moshez") == b"Internal error in server\r\n"
        degraded = program.wait_for("degraded", what="backend")
        assert "refused" in degraded["reason"]
        slapd.start()
        until = time.monotonic() + 30
        while ask(address, b"moshez") != b"Happy and well\r\n":  # as soon as the pause between two attempts is over
            assert time.monotonic() < until
            time.sleep(0.02)
        program.wait_for("recovered", what="backend")
        program.end()
