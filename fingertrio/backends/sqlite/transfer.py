"""Import and export.

Each record is imported completely or not at all; one transaction holds several records. Data that the database already
has is not written again, so an interrupted import is continued by repeating it. An import may run beside a server:
after each transaction it pauses for as long as the transaction took, so that clients can set statuses meanwhile.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from fingertrio.backends.sqlite import admin, clock, rows, writing
from fingertrio.backends.sqlite.opening import ADMIN_PATIENCE, transaction
from fingertrio.backends.sqlite.rows import Put, Retention, StatusRow
from fingertrio.backends.sqlite.sources import BadRecord, ImportRecord, RecordStream
from fingertrio.wire.times import from_microseconds

# Seconds for one transaction of an import: the sets of a running server wait for as long.
_TRANSACTION_TIME = 0.025


@dataclass(slots=True)
class Tally:
    """How many records were imported, were known already, or are bad."""

    imported: int = 0
    unchanged: int = 0
    bad: int = 0


def export_users(connection: sqlite3.Connection) -> Iterator[str]:
    """A snapshot of all users: for each a line of JSON, without its line end; `sources` has the format."""
    connection.execute("BEGIN")
    try:
        login = ""
        while found := connection.execute(
            "SELECT id, login, name, details FROM user WHERE login > ? ORDER BY login LIMIT 1", (login,)
        ).fetchone():
            user, login, name, details = found
            yield _export(connection, user, login, name, details)
    finally:
        connection.execute("ROLLBACK")  # nothing was written; the transaction only held the snapshot


def export_user(connection: sqlite3.Connection, login: str) -> str | None:
    """The line of one user; None: no such user."""
    found = connection.execute("SELECT id, login, name, details FROM user WHERE login = ?", (login,)).fetchone()
    return None if found is None else _export(connection, *found)


def count_users(connection: sqlite3.Connection) -> int:
    """The number of lines of an export."""
    (count,) = connection.execute("SELECT count(*) FROM user").fetchone()
    return int(count)


def _export(connection: sqlite3.Connection, user: int, login: str, name: str | None, details: str) -> str:
    statuses = [
        {"status": row.text, "since": _time(row.since), "until": None if row.until is None else _time(row.until)}
        for row in writing.read_log(connection, user)
    ]
    record = {"user": login, "name": name, "details": json.loads(details), "statuses": statuses}
    return json.dumps(record, ensure_ascii=False)


def _time(time: int) -> str:
    return from_microseconds(time).isoformat(timespec="microseconds").replace("+00:00", "Z")


def import_records(
    connection: sqlite3.Connection,
    stream: RecordStream,
    *,
    retention: Retention,
    on_bad: Callable[[BadRecord], None],
    progress: Callable[[int], None],
) -> Tally:
    """Import the records of `stream`.

    Args:
        connection: to the database.
        stream: from `sources.open_source`.
        retention: how much history is kept.
        on_bad: called with each record that cannot be imported.
        progress: called with the size of the part of the source that was committed since the last call.

    Raises:
        sqlite3.Error, OSError: the import stopped; what was reported to `progress` is in the database.
    """
    retention = retention.by_count  # this is no time to find out whether the clock is right; the server will
    tally = Tally()
    spellings = admin.Spellings(connection)
    finished = False
    while not finished:
        part, bad, read = Tally(), [], 0
        with transaction(connection, ADMIN_PATIENCE):
            begun = time.monotonic()
            finished = True
            for record, size in stream:
                read += size
                if isinstance(record, BadRecord):
                    bad.append(record)
                elif record is not None:
                    _import_one(connection, record, retention, spellings, part, bad)
                if time.monotonic() - begun > _TRANSACTION_TIME:
                    finished = False
                    break
        duration = time.monotonic() - begun
        for one in bad:
            on_bad(one)
        tally.imported += part.imported
        tally.unchanged += part.unchanged
        tally.bad += len(bad)
        progress(read)
        if not finished:
            time.sleep(duration)
    return tally


def _import_one(
    connection: sqlite3.Connection,
    record: ImportRecord,
    retention: Retention,
    spellings: admin.Spellings,
    tally: Tally,
    bad: list[BadRecord],
) -> None:
    try:
        spellings.check(record.login)
    except ValueError as error:
        bad.append(BadRecord(record.place, str(error)))
        return
    connection.execute("SAVEPOINT record")
    try:
        changed = _apply(connection, record, retention)
    except (sqlite3.IntegrityError, sqlite3.DataError) as error:  # caused by this record only
        connection.execute("ROLLBACK TO record")
        bad.append(BadRecord(record.place, str(error)))
    else:
        spellings.add(record.login)
        if changed:
            tally.imported += 1
        else:
            tally.unchanged += 1
    connection.execute("RELEASE record")


def _apply(connection: sqlite3.Connection, record: ImportRecord, retention: Retention) -> bool:
    """Write a record to the database; data that the record does not contain is kept. False: nothing to change."""
    now = admin.now()
    found = connection.execute("SELECT id, name, details FROM user WHERE login = ?", (record.login,)).fetchone()
    user, name, text = found or (writing.add(connection, record.login), None, "{}")
    changed = found is None
    details = dict(rows.details_from_json(text))
    if (record.name or name, {**details, **record.details}) != (name, details):
        writing.update_profile(connection, user, record.name or name, {**details, **record.details})
        changed = True
    if record.status is not None:
        return _apply_status(connection, user, record, now, retention) or changed
    here = writing.read_log(connection, user)
    merged = {row.since: row for row in (*here, *_plausible(record.history, here, now))}
    wanted = writing.apply_retention([merged[since] for since in sorted(merged)], now, retention)
    if wanted != here:
        writing.replace_log(connection, user, wanted)
        changed = True
    return changed


def _plausible(history: Sequence[StatusRow], here: Sequence[StatusRow], now: int) -> list[StatusRow]:
    """The history of a record, without statuses that were set in the future: an export has them if a clock was wrong.

    They are taken as set right before now, unless they are `here` already, perhaps from an earlier import.
    """
    known = {row.text for row in here}
    return clock.correct_times(
        [row for row in history if row.since <= now + clock.TOLERANCE or row.text not in known], now
    )


def _apply_status(
    connection: sqlite3.Connection, user: int, record: ImportRecord, now: int, retention: Retention
) -> bool:
    lasting, latest = writing.last_statuses(connection, user)
    if record.status is None or record.status == lasting:
        return False
    written = record.status_time
    since = written if written is not None and latest < written < now else now
    writing.put(connection, [Put(record.login, record.status)], since, retention)
    return True
