"""One line of the log for each question, the same fields on every door, whatever a stranger sends."""

import io
import json
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio

from fingertrio.config.config import parse_config
from fingertrio.observe.observer import Observer
from fingertrio.server.app import run

ANY = {"listen": ["127.0.0.1:0"]}
FIELDS = {"event", "door", "peer", "asked", "outcome", "ms", "bytes", "level", "timestamp"}

# A name that would steer a terminal, forge a record in either format, and end a string.
NASTY = '\x1b[2J"}\\x9b\u202e12:00:00 finger'

CALL = "<methodCall><methodName>{}</methodName><params/></methodCall>"


def request(method, target, body=b""):
    head = f"{method} {target} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"Content-Type: text/xml\r\n\r\n" + body


# What is sent, the door that logs it, what the log says was asked, and the outcome.
QUESTIONS = [
    ("finger", b"moshez\r\n", "finger", "moshez", "ok"),
    ("finger", b"\r\n", "finger", "", "list"),
    ("finger", b"nobody\r\n", "finger", "nobody", "unknown"),
    ("finger", b"a@b\r\n", "finger", "a@b", "denied"),
    ("finger", f"{NASTY}\r\n".encode(), "finger", r"\x1b[2J\"}\\x9b\u202e12:00:00 finger", None),
    ("finger", b"\xff\x00\r\n", "finger", r"\xff\x00", None),
    ("setter", b"moshez\r\nBusy\r\n", "setter", "moshez", "ok"),
    ("setter", b"no such name!\r\nBusy\r\n", "setter", "no such name!", "bad"),
    ("setter", f"{NASTY}\r\nBusy\r\n".encode(), "setter", None, "bad"),
    ("http", request("GET", "/moshez"), "http", "GET /moshez", "ok"),
    ("http", request("GET", "/api/users"), "http", "GET /api/users", "list"),
    ("http", request("GET", "/nobody?a=b"), "http", "GET /nobody?a=b", "unknown"),
    ("http", request("GET", "/%1b%0a%22\\"), "http", r"GET /%1b%0a%22\\", "unknown"),
    ("http", request("POST", "/moshez"), "http", "POST /moshez", "bad"),
    ("http", request("POST", "/RPC2", CALL.format("getUsers").encode()), "xmlrpc", "getUsers", "list"),
    ("http", request("PUT", "/RPC2", CALL.format("getUsers").encode()), "http", "PUT /RPC2", "bad"),
    ("http", request("POST", "/RPC2", CALL.format('n&#x9;"\u202e').encode()), "xmlrpc", None, "bad"),
]


@asynccontextmanager
async def program(*, human):
    """Every door but IRC open, and what is logged from when they are."""
    log = io.StringIO()
    table = {
        "backend": {"use": "memory", "users": {"moshez": "Happy and well"}},
        "process": {"run_as_root": True},
        "finger": ANY,
        "setter": ANY,
        "http": ANY,
    }
    doors = {}
    opened, stopping = trio.Event(), trio.Event()

    def ready(addresses):
        doors.update({name: places[0].removeprefix("http://") for name, places in addresses.items()})
        log.seek(0)
        log.truncate()
        opened.set()

    observer = Observer(log, human=human, anonymize=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(run, parse_config(table), observer, ready=ready, stopping=stopping))
        await opened.wait()
        yield doors, log
        stopping.set()


async def send(address, data):
    """Ask, and wait until the server has closed: by then it has logged."""
    host, _, port = address.rpartition(":")
    with trio.fail_after(10):
        async with await trio.open_tcp_stream(host, int(port)) as stream:
            await stream.send_all(data)
            await stream.send_eof()
            return b"".join([chunk async for chunk in stream])


async def test_every_door_logs_each_question_with_the_same_fields():
    async with program(human=False) as (doors, log):
        for door, data, logged_as, asked, outcome in QUESTIONS:
            log.seek(0)
            log.truncate()
            answer = await send(doors[door], data)
            records = [json.loads(line) for line in log.getvalue().splitlines()]
            [line] = [record for record in records if record["event"] != "set"]  # the audit line has a test of its own
            assert line["door"] == logged_as
            assert set(line) == FIELDS
            assert (line["event"], line["level"], line["peer"]) == ("query", "info", "127.0.0.0/24")
            assert 0 < line["bytes"] <= len(answer)
            assert 0 <= line["ms"] < 10_000
            assert asked is None or line["asked"] == asked
            assert outcome is None or line["outcome"] == outcome
            assert line["asked"].isascii()
            assert line["asked"] == "" or line["asked"].isprintable()


async def test_on_a_terminal_each_question_is_one_line_of_printable_ascii():
    async with program(human=True) as (doors, log):
        for door, data, *_ in QUESTIONS:
            await send(doors[door], data)
        lines = [line for line in log.getvalue().removesuffix("\n").split("\n") if "proof=" not in line]
    assert len(lines) == len(QUESTIONS)
    assert all(line.isascii() and line.isprintable() for line in lines)
    assert all(line.split()[1] in {"finger", "setter", "http", "xmlrpc"} for line in lines)


@pytest.mark.parametrize("door", ["finger", "http"])
async def test_who_connects_and_asks_nothing_has_no_line(door):
    async with program(human=False) as (doors, log):
        await send(doors[door], b"")
        await send(doors["finger"], b"moshez\r\n")
        lines = [json.loads(line) for line in log.getvalue().splitlines()]
    assert [line["asked"] for line in lines] == ["moshez"]
