"""Import and export: a database and other people's files.

An import is done record by record, each as a whole or not at all, and some together in one transaction. What is there
already is left alone, so whoever was interrupted starts again and comes to where he was. It may run while the database
is served: after each transaction it rests for as long as that took, so that whoever sets a status meanwhile finds
the database free.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from fingertrio.backends.sqlite import admin, rows, writing
from fingertrio.backends.sqlite.opening import ADMIN_PATIENCE, transaction
from fingertrio.backends.sqlite.rows import Put, Retention
from fingertrio.backends.sqlite.sources import BadRecord, ImportRecord, RecordStream
from fingertrio.wire.times import from_microseconds

# Seconds that one transaction of an import lasts: how long a server's sets wait for it.
_TURN = 0.025


@dataclass(slots=True)
class Tally:
    """What became of the records."""

    imported: int = 0
    unchanged: int = 0
    bad: int = 0


def export_users(connection: sqlite3.Connection) -> Iterator[str]:
    """Everybody at one moment, a line of JSON each without its end; see `sources` for its shape."""
    connection.execute("BEGIN")
    try:
        login = ""
        while found := connection.execute(
            "SELECT id, login, name, details FROM user WHERE login > ? ORDER BY login LIMIT 1", (login,)
        ).fetchone():
            user, login, name, details = found
            yield _export(connection, user, login, name, details)
    finally:
        connection.execute("ROLLBACK")  # nothing was written; it only held the moment


def export_user(connection: sqlite3.Connection, login: str) -> str | None:
    """The line of one user; None: there is no such user."""
    found = connection.execute("SELECT id, login, name, details FROM user WHERE login = ?", (login,)).fetchone()
    return None if found is None else _export(connection, *found)


def count_users(connection: sqlite3.Connection) -> int:
    """How many lines an export has."""
    (count,) = connection.execute("SELECT count(*) FROM user").fetchone()
    return int(count)


def _export(connection: sqlite3.Connection, user: int, login: str, name: str | None, details: str) -> str:
    statuses = [
        {"status": said.text, "since": _time(said.since), "until": None if said.until is None else _time(said.until)}
        for said in writing.log_of(connection, user)
    ]
    record = {"user": login, "name": name, "details": json.loads(details), "statuses": statuses}
    return json.dumps(record, ensure_ascii=False)


def _time(time: int) -> str:
    return from_microseconds(time).isoformat(timespec="microseconds").replace("+00:00", "Z")


def import_records(
    connection: sqlite3.Connection,
    reading: RecordStream,
    *,
    retention: Retention,
    on_bad: Callable[[BadRecord], None],
    progress: Callable[[int], None],
) -> Tally:
    """Take what `reading` gives.

    Args:
        connection: to the database.
        reading: from `sources.open_source`.
        retention: how much history is kept.
        on_bad: told of each record that cannot be taken.
        progress: told how much more of the source is in the database now.

    Raises:
        sqlite3.Error, OSError: it could not go on; what `progress` was told of is in the database.
    """
    tally = Tally()
    finished = False
    while not finished:
        part, bad, read = Tally(), [], 0
        with transaction(connection, ADMIN_PATIENCE):
            begun = time.monotonic()
            finished = True
            for record, size in reading:
                read += size
                if isinstance(record, BadRecord):
                    bad.append(record)
                elif record is not None:
                    _take(connection, record, retention, part, bad)
                if time.monotonic() - begun > _TURN:
                    finished = False
                    break
        took = time.monotonic() - begun
        for one in bad:
            on_bad(one)
        tally.imported += part.imported
        tally.unchanged += part.unchanged
        tally.bad += len(bad)
        progress(read)
        if not finished:
            time.sleep(took)
    return tally


def _take(
    connection: sqlite3.Connection, record: ImportRecord, retention: Retention, tally: Tally, bad: list[BadRecord]
) -> None:
    connection.execute("SAVEPOINT record")
    try:
        changed = _apply(connection, record, retention)
    except (sqlite3.IntegrityError, sqlite3.DataError) as error:  # the record's fault, and nobody else's
        connection.execute("ROLLBACK TO record")
        bad.append(BadRecord(record.place, str(error)))
    else:
        if changed:
            tally.imported += 1
        else:
            tally.unchanged += 1
    connection.execute("RELEASE record")


def _apply(connection: sqlite3.Connection, record: ImportRecord, retention: Retention) -> bool:
    """Let the database say what the record says, and keep what it does not speak of. False: it does already."""
    now = admin.now()
    found = connection.execute("SELECT id, name, details FROM user WHERE login = ?", (record.login,)).fetchone()
    user, name, text = found or (writing.add(connection, record.login), None, "{}")
    changed = found is None
    details = dict(rows.details_from_json(text))
    if (record.name or name, {**details, **record.details}) != (name, details):
        writing.update_profile(connection, user, record.name or name, {**details, **record.details})
        changed = True
    if record.status is not None:
        return _apply_present(connection, user, record, now, retention) or changed
    here = writing.log_of(connection, user)
    merged = {said.since: said for said in (*here, *record.history)}
    wanted = writing.retained([merged[since] for since in sorted(merged)], now, retention)
    if wanted != here:
        writing.rewrite_log(connection, user, wanted)
        changed = True
    return changed


def _apply_present(
    connection: sqlite3.Connection, user: int, record: ImportRecord, now: int, retention: Retention
) -> bool:
    lasting, latest = writing.last_said(connection, user)
    if record.status is None or record.status == lasting:
        return False
    written = record.status_time
    since = written if written is not None and latest < written < now else now
    writing.put(connection, [Put(record.login, record.status)], since, retention)
    return True
