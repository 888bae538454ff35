"""/-/instance: which process answered, and which client it saw."""

from __future__ import annotations

import json
from ipaddress import ip_network
from typing import Any

import pytest

from fingertrio.frontends.web.frontend import WebPolicy
from tests.frontends.web.kit import serving

LOOPBACK = (ip_network("127.0.0.1/32"),)


async def instance(site: Any, *fields: str) -> dict[str, Any]:

    head = "".join(f"{field}\r\n" for field in fields)
    answer = await site.ask(f"GET /-/instance HTTP/1.1\r\nHost: x.example\r\n{head}Connection: close\r\n\r\n".encode())
    assert b"cache-control: no-store" in answer.lower()
    found: dict[str, Any] = json.loads(answer.partition(b"\r\n\r\n")[2])
    return found


@pytest.mark.parametrize(
    ("trusted", "fields", "seen", "client", "scheme"),
    [
        ((), (), "direct", "127.0.0.1", "http"),
        ((), ("X-Forwarded-For: 192.0.2.7", "X-Forwarded-Proto: https"), "direct", "127.0.0.1", "http"),
        (LOOPBACK, (), "unnamed", "127.0.0.1", "http"),
        (LOOPBACK, ("X-Forwarded-For: 192.0.2.7", "X-Forwarded-Proto: https"), "forwarded", "192.0.2.7", "https"),
    ],
)
async def test_it_reports_the_client_that_the_server_saw(trusted, fields, seen, client, scheme):
    async with serving(policy=WebPolicy(trusted_proxies=trusted)) as site:
        found = await instance(site, *fields)
        again = await instance(site)
    assert (found["seen"], found["client"], found["scheme"]) == (seen, client, scheme)
    assert found["instance"] == again["instance"]


async def test_each_process_has_another_identifier():
    identifiers = []
    for _ in range(2):
        async with serving() as site:
            identifiers.append((await instance(site))["instance"])
    assert len({*identifiers}) == 2
    assert all(len(each) == 32 for each in identifiers)
