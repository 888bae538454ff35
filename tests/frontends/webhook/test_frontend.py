"""What receivers get, when, and what becomes of it when they do not take it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import standardwebhooks
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from fingertrio.backend import BackendError, Change, UserInfo
from fingertrio.backends.memory import MemoryBackend
from fingertrio.changes import ChangeHub
from fingertrio.clients.dial import RemoteError
from fingertrio.clients.post import PostAnswer
from fingertrio.frontends.webhook.sender import GONE
from fingertrio.frontends.webhook.store import StoreError
from fingertrio.observe.observer import Observer
from fingertrio.service import FingerService
from fingertrio.testing import FakeBackend
from fingertrio.testing.fakes import FakeReader
from fingertrio.wire.webhook import SigningSecret
from tests.frontends.webhook.kit import SECRET, InlineStore, Request, Stage, hook, stage

DAY = 86_400.0


@pytest.fixture
async def made(tmp_path: Path) -> AsyncIterator[Stage]:
    async with stage(tmp_path, {"old": "was there before"}) as made:
        yield made


async def test_each_change_is_sent_once_and_signed(autojump_clock: MockClock, made: Stage) -> None:
    other = SigningSecret.generate()
    async with made.serving(hook(secrets=(SECRET, other))):
        await made.set("ada", "At home")
        await made.set("ada", "Away")
    assert made.receivers.said() == [("ada", "At home"), ("ada", "Away")]
    for request in made.receivers.requests:
        assert set(request.headers) == {"webhook-id", "webhook-timestamp", "webhook-signature"}
        for secret in (SECRET, other):
            standardwebhooks.Webhook(secret.reveal()).verify(request.body, dict(request.headers))
    assert len({request.id for request in made.receivers.requests}) == 2
    assert made.numbers["team"].attempts == {"delivered": 2}
    assert made.numbers["team"].pending == 0


async def test_what_is_there_at_the_first_start_is_no_news(autojump_clock: MockClock, made: Stage) -> None:
    async with made.serving():
        await made.change(None)
        await trio.sleep(60)
    assert made.receivers.requests == []


async def test_a_change_that_changes_nothing_visible_is_not_sent(autojump_clock: MockClock, made: Stage) -> None:
    async with made.serving():
        await made.set("ada", "At home")
        await made.change("ada")
        await made.backend.set_details("ada", "Ada", {})
        await wait_all_tasks_blocked()
    assert [request.document["data"]["name"] for request in made.receivers.requests] == [None, "Ada"]


async def test_a_status_that_was_cleared_is_empty_and_a_user_who_is_gone_is_removed(
    autojump_clock: MockClock, made: Stage
) -> None:
    async with made.serving():
        await made.set("ada", "At home")
        await made.backend.clear_user("ada")
        await wait_all_tasks_blocked()
        await made.remove("ada")
        await made.change("ada")
    assert made.receivers.said() == [("ada", "At home"), ("ada", ""), ("ada", None)]
    assert [request.document["type"] for request in made.receivers.requests] == [
        "status.changed",
        "status.changed",
        "status.removed",
    ]


async def test_a_user_who_was_never_shown_is_never_named(autojump_clock: MockClock, made: Stage) -> None:
    """A hidden user's plan changes, too; what the service does not show, no receiver learns."""
    async with made.serving():
        await made.change("hidden")
        await made.change("../../etc/passwd")
    assert made.receivers.requests == []


async def test_a_webhook_is_told_of_the_users_that_it_names(autojump_clock: MockClock, made: Stage) -> None:
    async with made.serving(hook("all"), hook("ops", users=("ops-*", "ada"))):
        for user in ("ada", "ops-1", "bob"):
            await made.set(user, "x")
    assert {user for user, _ in made.receivers.said("all")} == {"ada", "ops-1", "bob"}
    assert {user for user, _ in made.receivers.said("ops")} == {"ada", "ops-1"}


async def test_while_a_message_is_under_way_the_last_change_waits(autojump_clock: MockClock, made: Stage) -> None:
    made.receivers.held.add("team")
    async with made.serving():
        for number in range(5):
            await made.set("ada", f"status {number}")
        assert made.receivers.said() == [("ada", "status 0")]
        assert made.numbers["team"].pending == 1
        made.receivers.released.set()
        await wait_all_tasks_blocked()
    assert made.receivers.said() == [("ada", "status 0"), ("ada", "status 4")]
    assert made.numbers["team"].unsent == {"replaced": 3}


async def test_a_receiver_that_does_not_answer_holds_up_no_other(autojump_clock: MockClock, made: Stage) -> None:
    made.receivers.held.add("slow")
    async with made.serving(hook("slow"), hook("fast")):
        for number in range(20):
            await made.set(f"user{number}", "x")
        assert len(made.receivers.of("fast")) == 20
        assert len(made.receivers.of("slow")) == 4, "at once to one receiver"
        assert trio.current_time() == 0.0


@pytest.mark.parametrize("answer", [503, 500, 404, RemoteError("hooks.example.org: refused")])
async def test_a_message_is_tried_again_with_the_same_id_and_body(
    autojump_clock: MockClock, made: Stage, answer: int | Exception
) -> None:
    made.receivers.answers["team"] = answer
    async with made.serving():
        await made.set("ada", "x")
        await trio.sleep(100)
        made.receivers.answers["team"] = 204
        await trio.sleep(100)
    assert made.receivers.times() == [0, 5, 15, 35, 75, 155]
    assert len({(request.id, request.body) for request in made.receivers.requests}) == 1
    assert made.numbers["team"].pending == 0
    assert made.conditions == {}


async def test_a_day_of_failures_and_then_no_more(autojump_clock: MockClock, made: Stage) -> None:
    made.receivers.answers["team"] = 502
    async with made.serving():
        await made.set("ada", "x")
        await trio.sleep(DAY + 1000)
        assert made.conditions == {"webhook:team": "https://hooks.example.org: HTTP status 502"}
        assert made.numbers["team"].pending == 0
        assert made.numbers["team"].unsent == {"given_up": 1}
        [event] = made.events("webhook_given_up")
        assert (event["webhook"], event["messages"], event["reason"]) == ("team", 1, "HTTP status 502")
        count = len(made.receivers.requests)
        assert 90 < count < 110
        await trio.sleep(DAY)
        assert len(made.receivers.requests) == count
    assert [event["what"] for event in made.events("degraded")] == ["webhook:team"]
    assert "/x" not in made.log.getvalue(), "the path may be a secret"


async def test_a_receiver_says_when_to_come_again(autojump_clock: MockClock, made: Stage) -> None:
    made.receivers.answers["team"] = PostAnswer(503, "600", b"")
    async with made.serving():
        await made.set("ada", "x")
        await made.set("bob", "y")
        await trio.sleep(10)
        made.receivers.answers["team"] = 204
        await trio.sleep(1000)
    assert made.receivers.times() == [0, 600, 600]
    assert [user for user, _ in made.receivers.said()] == ["ada", "bob", "ada"]


async def test_a_message_that_the_receiver_rejects_holds_up_no_other(autojump_clock: MockClock, made: Stage) -> None:
    def answer(request: Request) -> int:
        return 500 if request.said[0] == "bad" else 204

    made.receivers.answers["team"] = answer
    async with made.serving():
        await made.set("bad", "x")
        for number in range(10):
            await made.set(f"user{number}", "y")
        assert trio.current_time() == 0.0
        assert made.numbers["team"].attempts == {"delivered": 10, "rejected": 1}
        await trio.sleep(3600)
    [event] = made.events("webhook_rejected")
    assert (event["user"], event["reason"]) == ("bad", "HTTP status 500")


async def test_410_ends_it_until_a_reload(autojump_clock: MockClock, made: Stage) -> None:
    made.receivers.answers["team"] = 410
    async with made.serving(hook(), hook("other")):
        await made.set("ada", "x")
        await made.set("bob", "y")
        await trio.sleep(2 * DAY)
        assert len(made.receivers.of("team")) == 1
        assert len(made.receivers.of("other")) == 2, "the others go on"
        assert made.conditions == {"webhook:team": GONE}
        assert made.numbers["team"].attempts == {"gone": 1}
        made.receivers.answers["team"] = 204
        made.frontend.apply([hook(), hook("other")])
        await made.set("eve", "z")
        assert made.receivers.said() == [("ada", "x"), ("eve", "z")]
        assert made.conditions == {}


async def test_410_ends_it_until_a_restart(autojump_clock: MockClock, made: Stage) -> None:
    made.receivers.answers["team"] = 410
    async with made.serving():
        await made.set("ada", "x")
    made.receivers.answers["team"] = 204
    async with made.serving():
        await made.set("eve", "z")
    assert made.receivers.said() == [("ada", "x"), ("eve", "z")]


async def test_a_reload_tries_again_at_once_with_the_new_settings(autojump_clock: MockClock, made: Stage) -> None:
    made.receivers.answers["team"] = 503
    new = SigningSecret.generate()
    async with made.serving():
        await made.set("ada", "x")
        await trio.sleep(400)
        made.receivers.answers["team"] = 204
        begun = trio.current_time()
        made.frontend.apply([hook(secrets=(new,))])
        await wait_all_tasks_blocked()
        last = made.receivers.requests[-1]
        assert last.at == begun
        standardwebhooks.Webhook(new.reveal()).verify(last.body, dict(last.headers))


async def test_what_waits_for_users_that_a_reload_leaves_out_is_not_sent(
    autojump_clock: MockClock, made: Stage
) -> None:
    made.receivers.answers["team"] = 503
    async with made.serving():
        await made.set("ada", "x")
        await made.set("bob", "y")
        made.receivers.answers["team"] = 204
        made.receivers.requests.clear()
        made.frontend.apply([hook(users=("bob",))])
        await wait_all_tasks_blocked()
        assert made.receivers.said() == [("bob", "y")]
    assert await made.waiting() == []


async def test_a_reload_adds_and_removes(autojump_clock: MockClock, made: Stage) -> None:
    made.receivers.answers["team"] = 503
    made.receivers.held.add("team")
    async with made.serving():
        await made.set("ada", "x")
        made.frontend.apply([hook("new")])
        await wait_all_tasks_blocked()
        assert set(made.numbers) == {"new"}
        await made.set("ada", "y")
        await trio.sleep(1000)
        assert made.receivers.said("new") == [("ada", "y")]
        assert len(made.receivers.of("team")) == 1
        made.frontend.apply([])
        await made.set("ada", "z")
        assert made.conditions == {}
    waiting = await made.waiting()
    assert waiting == [], "nothing waits for a receiver that is not configured any more"


async def test_of_too_many_the_oldest_is_dropped_and_the_log_says_so_once(
    autojump_clock: MockClock, made: Stage
) -> None:
    made.receivers.answers["team"] = 503
    async with made.serving(limit=3):
        for number in range(8):
            await made.set(f"user{number}", "x")
        assert made.numbers["team"].unsent == {"dropped": 5}
        assert made.numbers["team"].pending == 3
        made.receivers.answers["team"] = 204
        await trio.sleep(10)
    assert {user for user, _ in made.receivers.said()} == {"user0", "user5", "user6", "user7"}
    [event] = made.events("webhook_full")
    assert event["limit"] == 3


async def test_a_bug_with_one_message_is_logged_and_ends_nothing(autojump_clock: MockClock, made: Stage) -> None:
    def answer(request: Request) -> int | Exception:
        return ZeroDivisionError("a bug") if request.said[0] == "bad" else 204

    made.receivers.answers["team"] = answer
    async with made.serving():
        await made.set("bad", "x")
        await made.set("ada", "y")
        assert made.receivers.said() == [("bad", "x"), ("ada", "y")]
    [event] = made.events("webhook_failed")
    assert event["user"] == "bad"


# Stop and restart


async def test_what_waits_at_a_stop_is_sent_after_the_restart_with_the_same_id(
    autojump_clock: MockClock, made: Stage
) -> None:
    made.receivers.answers["team"] = 503
    async with made.serving():
        await made.set("ada", "x")
        await made.set("bob", "y")
    before = made.receivers.of("team")
    made.receivers.answers["team"] = 204
    async with made.serving():
        await wait_all_tasks_blocked()
    after = made.receivers.of("team")[len(before) :]
    assert sorted(request.said for request in after) == [("ada", "x"), ("bob", "y")]
    assert {request.id for request in before} <= {request.id for request in after}
    assert made.numbers["team"].pending == 0


async def test_a_request_under_way_has_a_moment_to_end_at_a_stop(autojump_clock: MockClock, made: Stage) -> None:
    made.receivers.held.add("team")
    async with made.serving() as stopping:
        await made.set("ada", "x")
        stopping.set()
        await trio.sleep(1)
        made.receivers.released.set()
    assert trio.current_time() == 1.0
    assert await made.waiting() == []


async def test_a_request_that_takes_longer_is_repeated_after_the_restart(
    autojump_clock: MockClock, made: Stage
) -> None:
    made.receivers.held.add("team")
    async with made.serving():
        await made.set("ada", "x")
    assert trio.current_time() == 2.0
    made.receivers.held.clear()
    async with made.serving():
        await wait_all_tasks_blocked()
    first, second = made.receivers.requests
    assert first.id == second.id


async def test_a_change_in_the_last_moment_is_stored(autojump_clock: MockClock, made: Stage) -> None:
    made.receivers.answers["team"] = 503
    async with made.serving() as stopping:
        stopping.set()
        await made.backend.set_user("ada", "last words")
    [waiting] = await made.waiting()
    assert waiting.user == "ada"


async def test_what_was_set_while_it_was_stopped_is_sent(autojump_clock: MockClock, made: Stage) -> None:
    async with made.serving():
        await made.set("ada", "x")
    await made.backend.set_user("bob", "while it was stopped")
    await made.backend.set_user("ada", "y")
    async with made.serving():
        await wait_all_tasks_blocked()
    assert made.receivers.said()[0] == ("ada", "x")
    assert sorted(made.receivers.said()[1:]) == [("ada", "y"), ("bob", "while it was stopped")]


async def test_what_was_taken_back_while_it_was_stopped_is_found(autojump_clock: MockClock, made: Stage) -> None:
    async with made.serving():
        for user in ("ada", "bob", "eve"):
            await made.set(user, "x")
    await made.backend.clear_user("ada")
    del made.backend._lasting["bob"]
    made.service._forget_all()  # as after a restart of the program
    made.receivers.requests.clear()
    async with made.serving():
        await wait_all_tasks_blocked()
    assert sorted(made.receivers.said(), key=str) == [("ada", ""), ("bob", None)]


async def test_what_a_broken_feed_did_not_take_back_is_found(autojump_clock: MockClock, made: Stage) -> None:
    async with made.serving():
        await made.set("ada", "x")
        del made.backend._lasting["ada"]
        await made.change(None)
        await trio.sleep(2)
        assert made.receivers.said() == [("ada", "x"), ("ada", None)]


async def test_news_of_more_than_a_day_is_none(autojump_clock: MockClock, made: Stage) -> None:
    async with made.serving():
        pass
    store = InlineStore(made.path)
    await store.record([], datetime.now(UTC), datetime.now(UTC) - timedelta(days=30))
    await store.close()
    made.backend._now = lambda: datetime.now(UTC) - timedelta(days=2)
    await made.backend.set_user("ada", "two days ago")
    made.backend._now = lambda: datetime.now(UTC)
    await made.backend.set_user("bob", "now")
    async with made.serving():
        await wait_all_tasks_blocked()
    assert made.receivers.said() == [("bob", "now")]


async def test_what_a_broken_feed_did_not_report_is_found(autojump_clock: MockClock, made: Stage) -> None:
    async with made.serving():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(made.backend, "_hub", ChangeHub())  # no reader hears it
            for number in range(110):
                await made.backend.set_user(f"user{number}", "x")
        assert made.receivers.requests == []
        await made.change(None)
        await trio.sleep(2)
        assert len(made.receivers.requests) == 110


async def test_a_user_who_cannot_be_read_is_read_later_and_holds_up_no_other(
    autojump_clock: MockClock, made: Stage
) -> None:
    async with made.serving():
        made.backend.failure = BackendError("away")
        made.backend._hub.emit(Change("old"))
        await wait_all_tasks_blocked()
        assert made.receivers.requests == []
        made.backend.failure = None
        await made.set("bob", "y")
        assert made.receivers.said() == [("bob", "y")]
        await trio.sleep(3)
        assert made.receivers.said() == [("bob", "y"), ("old", "was there before")]


async def test_while_the_store_cannot_be_written_changes_wait(
    autojump_clock: MockClock, made: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with made.serving():
        made.path.rename(made.path.with_name("away"))
        made.path.mkdir()
        await made.frontend._store.close()
        await made.set("ada", "x")
        assert made.receivers.requests == []
        assert str(made.path) in made.conditions["webhook_store"]
        made.path.rmdir()
        await trio.sleep(60)
        assert made.receivers.said() == [("ada", "x")]
        assert made.conditions == {}


async def test_what_is_not_shown_any_more_after_a_restart_is_not_sent(autojump_clock: MockClock, made: Stage) -> None:
    made.receivers.answers["team"] = 503
    async with made.serving():
        for user in ("ada", "bob", "eve"):
            await made.set(user, "x")
    made.receivers.answers["team"] = 204
    made.receivers.requests.clear()
    del made.backend._lasting["ada"]
    await made.backend.set_details("bob", "Bob", {})
    made.service._forget_all()  # as after a restart of the program
    async with made.serving():
        await wait_all_tasks_blocked()
    assert sorted(made.receivers.said(), key=str) == [("ada", None), ("bob", "x"), ("eve", "x")]
    [bob] = [request for request in made.receivers.requests if request.said[0] == "bob"]
    assert bob.document["data"]["name"] == "Bob"


async def test_what_waits_is_held_until_the_backend_answers(autojump_clock: MockClock, made: Stage) -> None:
    made.receivers.answers["team"] = 503
    async with made.serving():
        await made.set("ada", "x")
    made.receivers.answers["team"] = 204
    made.receivers.requests.clear()
    made.backend.failure = BackendError("away")
    made.service._forget_all()
    async with made.serving():
        await trio.sleep(60)
        assert made.receivers.requests == []
        made.backend.failure = None
        await trio.sleep(60)
        assert made.receivers.said() == [("ada", "x")]


async def test_many_held_messages_are_sent_once_the_backend_answers(
    autojump_clock: MockClock, made: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also those of users who are gone: no list has them."""
    monkeypatch.setattr("fingertrio.frontends.webhook.following._LATER", 5)
    users = [f"user{number}" for number in range(10)]
    async with made.serving():
        for user in users:
            await made.set(user, "x")
        made.receivers.answers["team"] = 503
        for user in users:
            await made.remove(user)
    made.receivers.answers["team"] = 204
    made.receivers.requests.clear()
    made.backend.failure = BackendError("away")
    made.service._forget_all()
    async with made.serving():
        await trio.sleep(60)
        assert made.receivers.requests == []
        made.backend.failure = None
        await trio.sleep(60)
    assert sorted(made.receivers.said()) == [(user, None) for user in users]


async def test_a_list_that_cannot_be_read_is_read_later(autojump_clock: MockClock, made: Stage) -> None:
    async with made.serving():
        pass
    await made.backend.set_user("bob", "while it was stopped")
    made.backend.failure = BackendError("away")
    made.service._forget_all()
    async with made.serving():
        await trio.sleep(60)
        made.backend.failure = None
        await trio.sleep(60)
        assert made.receivers.said() == [("bob", "while it was stopped")]


async def test_with_many_users_who_cannot_be_read_it_looks_for_what_is_new(
    autojump_clock: MockClock, made: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fingertrio.frontends.webhook.following._LATER", 5)
    async with made.serving():
        made.backend.failure = BackendError("away")
        for number in range(10):
            await MemoryBackend.set_user(made.backend, f"user{number}", "x")
        await trio.sleep(60)
        assert made.receivers.requests == []
        assert len(made.frontend._follower._later) <= 5
        made.backend.failure = None
        await trio.sleep(60)
        assert len(made.receivers.requests) == 10


async def test_a_bug_with_one_user_is_logged_and_ends_nothing(
    autojump_clock: MockClock, made: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    get_user = made.service.get_user

    async def broken(user: str) -> UserInfo | None:
        if user == "bad":
            raise ZeroDivisionError("a bug")
        return await get_user(user)

    monkeypatch.setattr(made.service, "get_user", broken)
    async with made.serving():
        await made.set("bad", "x")
        await made.set("ada", "y")
        assert made.receivers.said() == [("ada", "y")]
    assert [event["user"] for event in made.events("webhook_failed")] == ["bad"]


async def test_a_backend_without_lists_reports_what_changes(autojump_clock: MockClock, tmp_path: Path) -> None:
    reader = FakeReader({"ada": "x"})
    async with FingerService.open(reader) as service:
        made = Stage(tmp_path / "webhooks.db", FakeBackend({}), service, Observer())
        async with made.serving():
            service._changed(Change("ada"))
            service._changed(Change(None))
            await trio.sleep(10)
            service._changed(Change("ada"))
            await wait_all_tasks_blocked()
        assert made.receivers.said() == [("ada", "x")]


async def test_a_message_whose_body_cannot_be_read_waits(
    autojump_clock: MockClock, made: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def failing(_message_id: str) -> bytes | None:
        raise StoreError("the disk is gone")

    async with made.serving():
        with monkeypatch.context() as patch:
            patch.setattr(made.frontend._store, "body", failing)
            await made.set("ada", "x")
        assert made.receivers.requests == []
        assert made.conditions == {"webhook_store": "the disk is gone"}
        await trio.sleep(10)
        assert made.receivers.said() == [("ada", "x")]
        assert made.conditions == {}


async def test_what_was_delivered_and_could_not_be_removed_is_sent_again_after_a_restart(
    autojump_clock: MockClock, made: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def failing(_ids: object) -> None:
        raise StoreError("the disk is full")

    async with made.serving():
        with monkeypatch.context() as patch:
            patch.setattr(made.frontend._store, "remove", failing)
            await made.set("ada", "x")
            assert made.conditions == {"webhook_store": "the disk is full"}
    async with made.serving():
        await wait_all_tasks_blocked()
    first, second = made.receivers.requests
    assert first.id == second.id, "so the receiver can know it"


async def test_a_change_while_the_message_is_read_from_the_store_is_sent_at_once(
    autojump_clock: MockClock, made: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with made.serving():
        read = made.frontend._store.body
        release = trio.Event()

        async def slow(message_id: str) -> bytes | None:
            await release.wait()
            return await read(message_id)

        monkeypatch.setattr(made.frontend._store, "body", slow)
        await made.set("ada", "x")
        await made.set("ada", "y")
        release.set()
        await wait_all_tasks_blocked()
        assert made.receivers.said() == [("ada", "y")]
        assert made.numbers["team"].pending == 0
        assert trio.current_time() == 0.0
