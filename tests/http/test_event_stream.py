"""An event stream over a memory stream: what is sent, and how it ends."""

from __future__ import annotations

import re

import pytest
import trio
import trio.testing
from trio.testing import MemoryReceiveStream, MemorySendStream, MockClock

from fingertrio.http.event_stream import EventStream, event
from fingertrio.http.pushing import Code


def test_an_event_has_one_line_of_data_and_perhaps_an_id():
    assert event(b'{"a":1}') == b'data: {"a":1}\n\n'
    assert event(b"{}", "e:7") == b"id: e:7\ndata: {}\n\n"


def pair() -> tuple[EventStream, trio.StapledStream[MemorySendStream, MemoryReceiveStream]]:
    ours, theirs = trio.testing.memory_stream_pair()
    return EventStream(ours, patience=1.0), theirs


async def test_what_is_sent_arrives_and_a_beat_is_a_comment():
    socket, client = pair()

    async def send() -> None:
        await socket.send(event(b"one"))
        await socket.beat(event(b"two", "e:2"))

    assert await socket.run(send)
    assert (await client.receive_some()).startswith(b"data: one\n\n: alive\nid: e:2\ndata: two\n\n: end\nretry: ")


async def test_the_end_of_input_is_the_end():
    socket, client = pair()
    await client.send_all(b"ignored")
    await client.send_stream.aclose()
    assert not await socket.run(trio.sleep_forever)


@pytest.mark.parametrize(
    ("code", "shortest", "longest"), [(Code.GOING_AWAY, 1000, 5000), (Code.TRY_AGAIN_LATER, 30_000, 30_000)]
)
async def test_the_last_word_says_when_to_come_back(code: Code, shortest: int, longest: int):
    socket, client = pair()
    socket.end(code, "the server stops")
    assert await socket.run(trio.sleep_forever)
    found = re.fullmatch(rb": the server stops\nretry: (\d+)\n\n", await client.receive_some())
    assert found
    assert shortest <= int(found[1]) <= longest


async def test_a_client_that_does_not_read_is_dropped(autojump_clock: MockClock):
    ours, _theirs = trio.testing.lockstep_stream_pair()
    socket = EventStream(ours, patience=10.0)
    assert not await socket.run(lambda: socket.send(event(b"x")))
    assert socket.ending == Code.TRY_AGAIN_LATER
    assert trio.current_time() == pytest.approx(11.0)
