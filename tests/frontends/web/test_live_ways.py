"""The promises of the live feed, once more, in the other ways in which a change can reach a watcher.

In `test_live` changes leave from the task that serves all watchers, over TCP. Here the same tests run with each watcher
sending by itself, as over HTTP/2, and with event streams over TLS.
"""

from __future__ import annotations

import inspect
import ssl
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trustme
from trio.testing import MockClock

from fingertrio.http import pushing
from fingertrio.http.pushing import Push
from tests.frontends.web import test_live
from tests.frontends.web.kit import Site, serving
from tests.frontends.web.watching import frame, listening, watching

TABLE: dict[str, Callable[..., Awaitable[None]]] = {
    "ids": test_live.test_changes_are_told_from_now_on,
    "snapshot": test_live.test_a_snapshot_comes_first_if_it_is_asked_for,
    "named users": test_live.test_those_who_are_named_are_told_of_and_nobody_else,
    "resumption": test_live.test_who_comes_back_is_told_what_was_missed_each_user_once,
    "anything changed": partial(test_live.test_when_anything_may_have_changed_a_snapshot_follows, query=""),
    "expiry": test_live.test_an_expired_status_is_told_as_what_comes_after_it,
    "pings": test_live.test_who_is_told_nothing_is_told_that_the_server_is_alive_and_where_it_is,
    "staleness": test_live.test_who_watches_is_told_when_answers_begin_to_be_out_of_date_and_when_that_is_over,
    "one rendering": test_live.test_one_call_to_the_backend_serves_all_watchers,
    "conflation": test_live.test_a_slow_reader_is_told_the_latest_of_each_user_and_not_all_there_was,
    "slow reader": test_live.test_who_does_not_read_for_too_long_is_dropped_with_a_word,
    "no reader": test_live.test_who_never_reads_again_is_dropped_without,
    "draining": test_live.test_a_stop_is_told_at_once_and_waits_for_nobody,
    "draining beside a slow reader": test_live.test_who_does_not_read_does_not_hold_up_a_stop,
    "cancellation": test_live.test_a_door_that_is_cancelled_says_that_it_failed_and_ends_promptly,
    "flood": partial(test_live.test_a_client_that_talks_is_shown_out, data=frame(b"hi") * 60, code=1008),
}

# Their clock is trio's own: they wait for the calendar, or for nothing.
REAL_TIME = {name for name, test in TABLE.items() if "patient_clock" not in inspect.signature(test).parameters}


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What was sent to watchers without their tasks."""
    sent: list[bytes] = []
    original = Push.send_at_once

    def send_at_once(socket: Push, frames: bytes) -> bool:
        taken = original(socket, frames)
        if taken:
            sent.append(frames)
        return taken

    monkeypatch.setattr(Push, "send_at_once", send_at_once)
    return sent


@pytest.fixture(params=["by task", "tls"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, authority: trustme.CA) -> Any:
    if request.param == "by task":
        monkeypatch.setattr(pushing, "sender_of", lambda _stream: None)
    else:
        certfile = tmp_path / "localhost.pem"
        authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(certfile)
        trusting = ssl.create_default_context()
        authority.configure_trust(trusting)
        connect = Site.connect
        monkeypatch.setattr(test_live, "serving", partial(serving, certfile=certfile))
        monkeypatch.setattr(Site, "connect", lambda site: connect(site, trusting))
    return request.param


async def _play(name: str, way: str, monkeypatch: pytest.MonkeyPatch, **fixtures: Any) -> None:
    test = TABLE[name]
    wanted = inspect.signature(test).parameters
    fixtures |= {"monkeypatch": monkeypatch, "watch": listening if way == "tls" else watching}
    await test(**{name: value for name, value in fixtures.items() if name in wanted})


@pytest.mark.parametrize("name", [name for name in TABLE if name in REAL_TIME])
async def test_the_promise_holds(name: str, way: str, at_once: list[bytes], monkeypatch: pytest.MonkeyPatch):
    await _play(name, way, monkeypatch)
    if name == "ids":
        assert bool(at_once) == (way == "tls")


@pytest.mark.parametrize("name", [name for name in TABLE if name not in REAL_TIME])
async def test_the_promise_about_time_holds(
    name: str, way: str, monkeypatch: pytest.MonkeyPatch, patient_clock: MockClock
):
    await _play(name, way, monkeypatch, patient_clock=patient_clock)


@pytest.mark.parametrize("watch", [watching, listening])
async def test_over_tcp_changes_leave_without_the_watchers_tasks(at_once: list[bytes], watch: Any):
    await test_live.test_changes_are_told_from_now_on(watch)
    assert len(at_once) == 2
