"""What survives, and that nothing of it is half done."""

from __future__ import annotations

import sqlite3
import stat
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fingertrio.backend import UserInfo
from fingertrio.frontends.webhook.store import Change, StoreError, WebhookStore, count_waiting
from tests.frontends.webhook.kit import InlineStore

NOW = datetime(2026, 11, 30, 12, 0, 0, 123456, tzinfo=UTC)
ADA, AWAY, BOB = UserInfo("ada", "home"), UserInfo("ada", "away"), UserInfo("bob", "out")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[InlineStore]:
    store = InlineStore(tmp_path / "state" / "webhooks.db")
    yield store
    await store.close()


async def reopened(store: InlineStore) -> InlineStore:
    await store.close()
    return InlineStore(store.path)


async def test_messages_and_the_mark_survive(store: InlineStore) -> None:
    assert await store.load() == ([], None)
    [first, second] = await store.record([Change("ada", ADA, ["a", "b"])], NOW, NOW)
    [third] = await store.record([Change("bob", BOB, ["a"])], NOW, None)
    again = await reopened(store)
    assert await again.load() == ([first, second, third], NOW)
    assert {first.webhook, second.webhook} == {"a", "b"}
    assert first.created == NOW
    assert first.id != second.id
    body = await again.body(first.id)
    assert body is not None
    assert b'"user":"ada"' in body
    await again.remove([first.id, third.id])
    assert (await again.load())[0] == [second]
    assert await again.body(first.id) is None
    await again.close()


async def test_a_newer_message_replaces_the_older_one(store: InlineStore) -> None:
    [old] = await store.record([Change("ada", ADA, ["a"])], NOW, None)
    [new] = await store.record([Change("ada", AWAY, ["a"])], NOW, None)
    assert (await store.load())[0] == [new]
    assert await store.body(old.id) is None
    await store.remove([old.id])
    assert (await store.load())[0] == [new]


async def test_what_is_known_is_not_reported_again_even_after_a_restart(store: InlineStore) -> None:
    assert len(await store.record([Change("ada", ADA, ["a"])], NOW, None)) == 1
    again = await reopened(store)
    assert await again.record([Change("ada", ADA, ["a"])], NOW, None) == []
    assert len(await again.record([Change("ada", None, ["a"])], NOW, None)) == 1
    assert await again.record([Change("ada", None, ["a"])], NOW, None) == []
    assert len(await again.record([Change("ada", ADA, ["a"])], NOW, None)) == 1
    await again.close()


async def test_what_no_webhook_is_told_is_known_all_the_same(store: InlineStore) -> None:
    assert await store.record([Change("ada", ADA, [])], NOW, None) == []
    assert len(await store.record([Change("ada", None, ["a"])], NOW, None)) == 1


async def test_the_users_who_were_reported_last_are_known(store: InlineStore) -> None:
    for number, user in enumerate("cab"):
        await store.record([Change(user, UserInfo(user, "x"), [])], NOW + timedelta(seconds=number), None)
    await store.record([Change("a", None, [])], NOW, None)
    assert await store.known(10) == ["b", "c"]
    assert await store.known(1) == ["b"]


async def test_only_the_webhooks_that_are_configured_are_kept(store: InlineStore) -> None:
    await store.record([Change("ada", ADA, ["a", "b", "c"])], NOW, None)
    await store.keep_only(["b", "d"])
    assert [message.webhook for message in (await store.load())[0]] == ["b"]
    await store.keep_only([])
    assert (await store.load())[0] == []


async def test_a_transaction_that_fails_leaves_nothing(store: InlineStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fingertrio.wire.webhook.changed", lambda info, now: "" if info is ADA else 1 / 0)
    with pytest.raises(ZeroDivisionError):
        await store.record([Change("ada", ADA, ["a"]), Change("bob", BOB, ["a"])], NOW, NOW)
    monkeypatch.undo()
    assert await store.load() == ([], None)
    assert len(await store.record([Change("ada", ADA, ["a"])], NOW, NOW)) == 1


async def test_the_files_are_for_their_owner_alone(store: InlineStore) -> None:
    await store.record([Change("ada", ADA, ["a"])], NOW, None)
    files = list(store.path.parent.iterdir())
    assert len(files) == 3
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert stat.S_IMODE(store.path.parent.stat().st_mode) == 0o700


async def test_work_is_done_in_a_thread(tmp_path: Path) -> None:
    store = WebhookStore(tmp_path / "webhooks.db")
    [message] = await store.record([Change("ada", ADA, ["a"])], NOW, NOW)
    assert await store.load() == ([message], NOW)
    await store.close()


def test_a_file_that_cannot_be_used_is_an_error_that_names_it(tmp_path: Path) -> None:
    path = tmp_path / "webhooks.db"
    path.write_text("something else " * 100)
    with pytest.raises(StoreError, match=r"webhooks\.db cannot be used: .*not a database"):
        WebhookStore(path).check()
    with pytest.raises(StoreError, match="cannot be used: File exists"):
        WebhookStore(path / "below").check()
    path.unlink()
    with closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA user_version = 9")
    with pytest.raises(StoreError, match="it is of version 9, made by another fingertrio; move it away"):
        WebhookStore(path).check()


async def test_counting_changes_nothing(store: InlineStore) -> None:
    assert count_waiting(store.path) == {}
    assert not store.path.exists()
    await store.record([Change("ada", ADA, ["a", "b"]), Change("bob", BOB, ["a"])], NOW, None)
    assert count_waiting(store.path) == {"a": 2, "b": 1}
    store.path.with_name("bad").write_text("x" * 2000)
    with pytest.raises(StoreError, match="cannot be read"):
        count_waiting(store.path.with_name("bad"))
