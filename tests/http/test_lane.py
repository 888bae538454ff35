"""What the lane keeps, under what, and for how long. No sockets: recordings are made by hand."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import Any

import pytest

from fingertrio.http.lane import RENEWAL, Lane, Sender
from fingertrio.http.limits import UNCOUNTED
from fingertrio.http.plain import PlainRequest
from fingertrio.http.replay import ALWAYS, RESPONSE_LIMIT, Kept

ME = Sender("192.0.2.1")
HEAD = b'HTTP/1.1 200 OK\r\netag: "1"\r\n%bdate: Mon, 30 Nov 2026 00:00:00 GMT\r\n\r\n'


class Ledger:
    """Admits everything that is not refused."""

    def __init__(self) -> None:
        self.refuses = False

    def sender(self, peer: str, forwarding: Mapping[bytes, bytes]) -> Sender:
        return Sender(peer, bool(forwarding), tuple(forwarding.items()))

    def admits(self, sender: Sender, now: float) -> bool:
        return not self.refuses

    def replayed(self, sender: Sender, note: Any, seconds: float) -> None:
        raise AssertionError("the lane sends nothing")

    def flush(self) -> None:
        raise AssertionError("the lane sends nothing")


class Source:
    def __init__(self, expires: float = inf) -> None:
        self.expires = expires


def get(target: str = "/", *lines: str, method: str = "GET") -> bytes:
    return "\r\n".join([f"{method} {target} HTTP/1.1", "Host: test", *lines, "", ""]).encode()


def read(lane: Lane, data: bytes) -> PlainRequest:
    request = lane.read(data)
    assert request is not None
    return request


def record(
    lane: Lane,
    data: bytes,
    source: Any = ALWAYS,
    *,
    fields: bytes = b"",
    body: bytes = b"hello",
    status: int = 200,
    sender: Sender = ME,
    any_query: bool = False,
    now: float = 0.0,
) -> None:
    """What the server does when the application answers `data`."""
    recording = lane.record(read(lane, data), sender, now)
    if source is not None:
        recording.replay_while(source, any_query=any_query)
    recording.status = status
    recording.add(HEAD % fields, [body])
    recording.complete()
    recording.finish()


def answer(lane: Lane, data: bytes, now: float = 0.0, sender: Sender = ME) -> Kept | None:
    return lane.answer(read(lane, data), sender, now)


def wire(lane: Lane, data: bytes) -> bytes:
    kept = answer(lane, data)
    assert kept is not None
    return kept.wire(0) + kept.body


def test_what_was_recorded_is_answered_with_the_present_date() -> None:
    lane = Lane(Ledger())
    assert answer(lane, get()) is None
    record(lane, get())
    kept = answer(lane, get())
    assert kept is not None
    for second, date in [(0, b"Thu, 01 Jan 1970 00:00:00 GMT"), (86400, b"Fri, 02 Jan 1970 00:00:00 GMT")]:
        assert kept.wire(second) == (HEAD % b"").replace(b"Mon, 30 Nov 2026 00:00:00 GMT", date) + b"hello"


def test_a_large_body_is_the_same_object_and_not_a_copy() -> None:
    lane, body = Lane(Ledger()), b"#" * (UNCOUNTED + 1)
    record(lane, get(), body=body)
    kept = answer(lane, get())
    assert kept is not None
    assert kept.body is body


def test_it_is_answered_as_long_as_its_source_holds() -> None:
    lane, source = Lane(Ledger()), Source(expires=10.0)
    record(lane, get(), source)
    assert answer(lane, get(), now=9.99) is not None
    assert answer(lane, get(), now=10.0) is None
    source.expires = inf
    assert answer(lane, get(), now=11.0) is not None
    source.expires = -inf  # a change
    assert answer(lane, get(), now=11.0) is None
    record(lane, get(), Source(), body=b"new")
    assert wire(lane, get()).endswith(b"new")
    assert len(lane) == 1


@pytest.mark.parametrize(
    "different",
    [
        get("/other"),
        get("/?"),
        get(method="HEAD"),
        get("/", "Connection: close"),
        get("/").replace(b"test", b"Test"),
        get("/", 'If-None-Match: "1"'),
        get("/", "If-Modified-Since: Mon, 30 Nov 2026 00:00:00 GMT", "X-Forwarded-Proto: https"),
    ],
)
def test_another_request_is_not_answered_with_it(different: bytes) -> None:
    lane = Lane(Ledger())
    record(lane, get())
    sender = lane.ledger.sender(ME.client, read(lane, different).forwarding)
    assert answer(lane, different, sender=sender) is None


def test_fields_that_do_not_matter_make_no_difference() -> None:
    lane = Lane(Ledger())
    record(lane, get("/", "User-Agent: a"))
    assert answer(lane, get("/", "User-Agent: b", "Accept-Language: de")) is not None


def test_the_values_of_the_fields_in_vary_make_a_difference() -> None:
    lane = Lane(Ledger(), {b"accept-encoding": lambda value: b"gzip" in value})
    for number, lines in enumerate([(), ("Accept: a",), ("Accept: b",), ("Accept: b", "Accept-Encoding: gzip")]):
        record(lane, get("/", *lines), fields=b"vary: Accept, accept-encoding\r\n", body=b"%d" % number)
    assert wire(lane, get()).endswith(b"0")
    assert wire(lane, get("/", "Accept: b", "Accept-Encoding: br")).endswith(b"2")
    assert wire(lane, get("/", "Accept: b", "Accept-Encoding: br, gzip")).endswith(b"3")
    assert answer(lane, get("/", "Accept: c")) is None


@pytest.mark.parametrize(
    "options",
    [
        {"source": None},
        {"status": 404},
        {"fields": b"Set-Cookie: a=b\r\n"},
        {"fields": b"Vary: *\r\n"},
        {"fields": b"date: Mon, 30 Nov 2026 00:00:00 GMT\r\n"},
        {"body": b"#" * (RESPONSE_LIMIT + 1)},
    ],
    ids=["not marked", "404", "Set-Cookie", "Vary: *", "two dates", "too long"],
)
def test_what_cannot_be_repeated_is_not_kept(options: dict[str, Any]) -> None:
    lane = Lane(Ledger())
    record(lane, get(), **options)
    assert len(lane) == 0


def test_a_target_with_a_query_is_kept_only_if_the_application_says_so() -> None:
    lane = Lane(Ledger())
    record(lane, get("/?a"))
    assert len(lane) == 0
    record(lane, get("/?a"), any_query=True)
    assert answer(lane, get("/?a")) is not None


def test_an_answer_that_was_not_finished_is_not_kept() -> None:
    lane = Lane(Ledger())
    recording = lane.record(read(lane, get()), ME, 0.0)
    recording.replay_while(ALWAYS)
    recording.status = 200
    recording.add(HEAD % b"", [b"hel"])
    recording.finish()
    assert len(lane) == 0


def test_a_body_is_a_part_of_the_key() -> None:
    def post(body: str, kind: str = "text/xml") -> bytes:
        head = f"POST /RPC2 HTTP/1.1\r\nHost: test\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
        return f"{head}{body}".encode()

    lane = Lane(Ledger())
    record(lane, post("a"))
    assert answer(lane, post("a")) is not None
    assert answer(lane, post("b")) is None
    assert answer(lane, post("a", "text/plain")) is None


def test_a_refused_client_is_left_to_the_application() -> None:
    ledger = Ledger()
    lane = Lane(ledger)
    record(lane, get())
    ledger.refuses = True
    assert answer(lane, get()) is None
    assert lane.find(read(lane, get()), ME, 0.0) is not None


def test_memory_is_bounded_and_what_is_used_stays() -> None:
    lane = Lane(Ledger(), limit=20_000)
    record(lane, get("/hot"), body=b"#" * 1000)
    for number in range(200):
        assert answer(lane, get("/hot")) is not None
        record(lane, get(f"/{number}"), body=b"#" * 1000)
        assert len(lane) <= 11
    assert answer(lane, get("/0")) is None
    lane.clear()
    assert len(lane) == lane._bytes == 0
    assert answer(lane, get("/hot")) is None


def test_memory_is_bounded_whatever_the_requests_contain() -> None:
    """Host, target, body and the fields in Vary are kept with a response, and can be far longer than it."""
    lane = Lane(Ledger(), limit=20_000)
    for number in range(100):
        record(lane, get("/", f"Accept: {number}{'x' * 1000}"), fields=b"vary: accept\r\n", body=b"")
        assert len(lane) <= 10
    record(lane, get(f"/{'x' * 600}"))
    assert answer(lane, get(f"/{'x' * 600}")) is None


def test_responses_of_one_target_may_have_another_vary_each() -> None:
    def post(body: str) -> bytes:
        return f"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()

    lane = Lane(Ledger())
    for _ in range(2):  # what was kept before the second Vary was known has to be kept again
        record(lane, post("list"), fields=b"vary: accept-encoding\r\n", body=b"long")
        record(lane, post("one"), body=b"short")
    assert wire(lane, post("list")).endswith(b"long")
    assert wire(lane, post("one")).endswith(b"short")


def test_what_was_being_made_when_the_application_changed_is_not_kept() -> None:
    lane = Lane(Ledger())
    recording = lane.record(read(lane, get()), ME, 0.0)
    lane.clear()
    recording.replay_while(ALWAYS)
    recording.status = 200
    recording.add(HEAD % b"", [b"old"])
    recording.complete()
    recording.finish()
    assert len(lane) == 0


def test_the_first_of_several_requests_is_read() -> None:
    lane = Lane(Ledger())
    for _ in range(2):
        assert read(lane, get("/a") + get("/b")).target == b"/a"
    assert lane.read(get()[:-2]) is None
    assert lane.read(b"") is None


def test_requests_that_are_recognized_by_their_bytes_are_bounded() -> None:
    lane = Lane(Ledger())
    for number in range(5000):
        lane.read(get(f"/{number}"))
    assert len(lane._seen._young) + len(lane._seen._old) <= 2048


def test_what_no_longer_holds_is_made_once_and_those_who_wait_are_told() -> None:
    lane, source, told = Lane(Ledger()), Source(), list[str]()
    record(lane, get(), source)
    request = read(lane, get())
    assert lane.renewal(request, ME, 0.0) is None, "it holds"
    source.expires = 1.0
    assert lane.renewal(request, ME, 1.0) is None, "it is not being made"
    lane.record(request, ME, 1.0)
    old = lane.renewal(request, ME, 1.0 + RENEWAL / 2)
    assert old is not None
    old.waiting.append(lambda: told.append(wire(lane, get())[-3:].decode()))
    assert lane.renewal(request, Sender("192.0.2.2", variant="https"), 1.0) is None, "another response"
    assert lane.renewal(request, ME, 1.0 + RENEWAL) is None, "it takes too long"
    assert told == []
    record(lane, get(), ALWAYS, body=b"new", now=1.0)
    assert told == ["new"]
