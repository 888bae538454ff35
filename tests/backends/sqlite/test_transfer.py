from __future__ import annotations

import json
import os
import sqlite3
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fingertrio.backend import BackendError
from fingertrio.backends.sqlite import transfer, writing
from fingertrio.backends.sqlite.admin import Edit, add_user, administered, change_user
from fingertrio.backends.sqlite.rows import Put, Retention, StatusRow
from fingertrio.backends.sqlite.sources import BadRecord, open_source
from fingertrio.backends.sqlite.transfer import Tally, count_users, export_user, export_users, import_records
from tests.backends.sqlite.kit import opened, put, rows_of, status

KEEP = Retention(1000)
SINCE = datetime(2026, 1, 1, tzinfo=UTC)


def load(path: Path, source: Path, retention: Retention = KEEP) -> tuple[Tally, list[BadRecord]]:
    bad: list[BadRecord] = []
    progress: list[int] = []
    with administered(path, make=True) as connection:
        size, reading = open_source(source)
        tally = import_records(connection, reading, retention=retention, on_bad=bad.append, progress=progress.append)
    assert sum(progress) == size
    return tally, bad


def dump(path: Path) -> list[str]:
    with administered(path) as connection:
        lines = list(export_users(connection))
        assert len(lines) == count_users(connection)
        assert not connection.in_transaction
    return lines


def write(path: Path, *records: object) -> Path:
    path.write_text("".join(f"{json.dumps(record)}\n" for record in records))
    return path


def at(day: int) -> str:
    return (SINCE + timedelta(days=day)).isoformat().replace("+00:00", ".000000Z")


def test_an_export_is_complete_and_its_import_reproduces_the_database(tmp_path: Path) -> None:
    with administered(tmp_path / "x.db", make=True) as connection:
        details = {"project": "one\ntwo", "Home": "https://example.org"}
        add_user(connection, "ada", Edit(name="Ada \u7720", details=details, status="Weaving"), KEEP)
        change_user(connection, "ada", Edit(status="Out", until=datetime.now(UTC) + timedelta(days=1)), KEEP)
    with opened(tmp_path / "x.db") as store:
        for number in range(30):
            put(store, "moshez", f"Status {number}", store._now() + 10**9 if number % 3 else None)
        before = store.history("moshez", 100, None)
    lines = dump(tmp_path / "x.db")
    (tmp_path / "export").write_text("\n".join(lines))
    assert load(tmp_path / "y.db", tmp_path / "export") == (Tally(imported=2), [])
    assert dump(tmp_path / "y.db") == lines
    with opened(tmp_path / "y.db") as store:
        assert store.history("moshez", 100, None) == before
        assert status(store, "ada") == "Out"
    assert load(tmp_path / "y.db", tmp_path / "export") == (Tally(unchanged=2), [])
    assert json.loads(lines[0])["statuses"][0].keys() == {"status", "since", "until"}
    with administered(tmp_path / "y.db") as connection:
        assert export_user(connection, "ada") == lines[0]
        assert export_user(connection, "nobody") is None


def test_a_status_that_was_taken_back_is_exported_and_imported(tmp_path: Path) -> None:
    with administered(tmp_path / "one.db", make=True) as connection:
        writing.put(connection, [Put("moshez", "Happy", None), Put("moshez", "", None)], 1, KEEP)
    exported = dump(tmp_path / "one.db")
    assert [said["status"] for said in json.loads(exported[0])["statuses"]] == ["Happy", ""]
    source = tmp_path / "export"
    source.write_text("\n".join(exported) + "\n")
    _, bad = load(tmp_path / "other.db", source)
    assert not bad
    assert dump(tmp_path / "other.db") == exported


def test_an_export_is_a_snapshot(tmp_path: Path) -> None:
    with opened(tmp_path / "x.db") as store:
        for user in ("ada", "grace", "moshez"):
            put(store, user, "before")
        with administered(tmp_path / "x.db") as connection:
            lines = export_users(connection)
            first = next(lines)
            for user in ("ada", "grace", "moshez", "late"):
                put(store, user, "after")
            rest = list(lines)
    assert [len(json.loads(line)["statuses"]) for line in (first, *rest)] == [1, 1, 1]


def test_an_import_adds_to_the_history_and_leaves_what_is_newer_in_force(tmp_path: Path) -> None:
    source = write(
        tmp_path / "export",
        {
            "user": "moshez",
            "name": "Moshe",
            "statuses": [{"status": "old", "since": at(0)}, {"status": "gone", "since": at(1), "until": at(2)}],
        },
    )
    with opened(tmp_path / "x.db") as store:
        put(store, "moshez", "now")
        assert load(tmp_path / "x.db", source) == (Tally(imported=1), [])
        assert status(store, "moshez") == "now"
        told = [(info.status, info.until) for info in store.history("moshez", 10, None)]
        assert [text for text, _ in told] == ["now", "gone", "old"]
        assert told[1][1] == SINCE + timedelta(days=2)
        assert told[2][1] == store.history("moshez", 1, None)[0].since
        put(store, "moshez", "newer")
    assert load(tmp_path / "x.db", source) == (Tally(unchanged=1), [])


def test_data_missing_in_a_record_is_kept(tmp_path: Path) -> None:
    with administered(tmp_path / "x.db", make=True) as connection:
        add_user(connection, "ada", Edit(name="Ada", details={"project": "a", "pronouns": "she"}, status="x"), KEEP)
    source = write(tmp_path / "export", {"user": "ada", "name": None, "details": {"project": "b"}})
    assert load(tmp_path / "x.db", source)[0] == Tally(imported=1)
    assert load(tmp_path / "x.db", source)[0] == Tally(unchanged=1)
    record = json.loads(dump(tmp_path / "x.db")[0])
    assert (record["name"], record["details"]) == ("Ada", {"project": "b", "pronouns": "she"})


def test_history_that_is_not_kept_is_not_imported(tmp_path: Path) -> None:
    statuses = [{"status": f"Status {day}", "since": at(day)} for day in range(20)]
    source = write(tmp_path / "export", {"user": "moshez", "statuses": statuses})
    assert load(tmp_path / "x.db", source, Retention(3))[0] == Tally(imported=1)
    assert [one["status"] for one in json.loads(dump(tmp_path / "x.db")[0])["statuses"]] == [
        "Status 17",
        "Status 18",
        "Status 19",
    ]
    assert load(tmp_path / "x.db", source, Retention(3))[0] == Tally(unchanged=1)


def test_users_files_and_plans_set_statuses_that_differ(tmp_path: Path) -> None:
    (tmp_path / "users").write_text("moshez: Happy and well\nada: Weaving\n")
    assert load(tmp_path / "x.db", tmp_path / "users")[0] == Tally(imported=2)
    with opened(tmp_path / "x.db") as store:
        put(store, "ada", "Out", store._now() + 10**9)
    assert load(tmp_path / "x.db", tmp_path / "users")[0] == Tally(unchanged=2)
    plans = tmp_path / "plans"
    plans.mkdir()
    (plans / "moshez").write_text("A plan\nof two lines\n")
    (plans / "ken").write_text("Regular expressions\n")
    os.utime(plans / "ken", (1000, 1000))
    assert load(tmp_path / "x.db", plans)[0] == Tally(imported=2)
    assert load(tmp_path / "x.db", plans)[0] == Tally(unchanged=2)
    with opened(tmp_path / "x.db") as store:
        assert [status(store, user) for user in ("moshez", "ken")] == ["A plan\nof two lines", "Regular expressions"]
        assert store.history("ken", 1, None)[0].since == datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=1000)


def test_an_interrupted_import_is_continued_by_repeating_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "_TRANSACTION_TIME", 0.0)  # one record in each transaction
    source = write(
        tmp_path / "export", *({"user": f"user{n}", "statuses": [{"status": "x", "since": at(0)}]} for n in range(20))
    )
    done = 0

    def interrupt(_more: int) -> None:
        nonlocal done
        done += 1
        if done == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), administered(tmp_path / "x.db", make=True) as connection:
        import_records(connection, open_source(source)[1], retention=KEEP, on_bad=print, progress=interrupt)
    assert rows_of(tmp_path / "x.db", "SELECT count(*) FROM user") == [(7,)]
    assert load(tmp_path / "x.db", source)[0] == Tally(imported=13, unchanged=7)


def test_a_record_is_imported_completely_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write(
        tmp_path / "export",
        *(
            {"user": user, "name": "N", "statuses": [{"status": text, "since": at(0)}]}
            for user, text in (("a", "x"), ("b", "poison"), ("c", "x"))
        ),
    )
    rewrite = writing.replace_log

    def failing(connection: sqlite3.Connection, user: int, statuses: list[StatusRow]) -> None:
        rewrite(connection, user, statuses)
        if statuses[0].text == "poison":
            raise sqlite3.IntegrityError("poison")

    monkeypatch.setattr(writing, "replace_log", failing)
    tally, (bad,) = load(tmp_path / "x.db", source)
    assert tally == Tally(imported=2, bad=1)
    assert (bad.place, bad.reason) == (f"{source}:2", "poison")
    assert rows_of(tmp_path / "x.db", "SELECT login FROM user ORDER BY 1") == [("a",), ("c",)]
    assert rows_of(tmp_path / "x.db", "SELECT count(*) FROM status") == [(2,)]


def test_a_server_can_write_during_an_import(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    source = write(
        tmp_path / "export",
        *(
            {"user": f"user{n}", "statuses": [{"status": f"{k}", "since": at(k)} for k in range(20)]}
            for n in range(600)
        ),
    )
    failures: list[BackendError] = []
    sets = 0
    finished = threading.Event()
    with opened(path) as store:

        def set_statuses() -> None:
            nonlocal sets
            while not finished.is_set():
                (answer,) = store.commit([Put("moshez", f"{sets}", None)])
                sets += 1
                if isinstance(answer, BackendError):
                    failures.append(answer)

        thread = threading.Thread(target=set_statuses)
        thread.start()
        try:
            assert load(path, source)[0] == Tally(imported=600)
        finally:
            finished.set()
            thread.join()
        assert not failures
        assert sets > 5
        assert status(store, "moshez") == f"{sets - 1}"
