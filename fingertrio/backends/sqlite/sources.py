"""What can be imported, read as records: a users file, a directory of plans, another instance's export.

Reads files and knows no database. A record that cannot be taken comes as `Bad`, with its place and the reason; the
others go on. Everything is read as it is needed, so that a file may be larger than memory, and no line of it may.

An export has one JSON object a line for each user:

    {"user": "moshez", "name": "Moshe Zadka", "details": {"project": "fingertrio"}, "statuses": [
        {"status": "Happy and well", "since": "2026-01-01T12:00:00.000000Z", "until": null}]}

`statuses` is everything that was said, oldest first. `until` is when the status was to end, as it was set; null: never,
that is, when the next one without `until` was set. Times are RFC 3339. `name` and `details` may be null or missing.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from fingertrio.backends.sqlite import checks
from fingertrio.backends.sqlite.rows import Said
from fingertrio.wire.times import in_utc, to_microseconds

# Bytes. A line of an export holds all that one user said: thousands of statuses of the greatest length.
_EXPORT_LINE_LIMIT = 64 * 1024 * 1024
_USERS_LINE_LIMIT = 64 * 1024  # a name, a status, and room to say which of the two is too long
_PLAN_LIMIT = 64 * 1024  # likewise

_BOM = b"\xef\xbb\xbf"  # what some editors begin UTF-8 with

# How far ahead of our clock another instance's may be.
_CLOCKS_DIFFER = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Record:
    """One user's.

    Attributes:
        place: file and line, for messages.
        login: as it may be set.
        present: the status to be set; None: `said` tells.
        written: when `present` was, in microseconds, where that is known.
        name: None: nothing is said of it.
        details: those of which something is said.
        said: statuses, oldest first.
    """

    place: str
    login: str
    present: str | None = None
    written: int | None = None
    name: str | None = None
    details: Mapping[str, str] = field(default_factory=dict)
    said: tuple[Said, ...] = ()


@dataclass(frozen=True, slots=True)
class Bad:
    """What cannot be taken, and why."""

    place: str
    reason: str


# What was read, and how much of the source that was, in the source's own measure.
Reading = Iterator[tuple[Record | Bad | None, int]]


def open_source(path: Path) -> tuple[int, Reading]:
    """The size of the source at `path` and what it says. The kind of source is told by what is there.

    A file is read more than once (`_read_file`), which takes a regular one. Anything else is not even opened: a FIFO
    would make us wait, a device might never end.

    Raises:
        OSError: it cannot be read.
        ValueError: it is neither a regular file nor a directory.
    """
    if path.is_dir():
        names = sorted(os.fsencode(entry.name) for entry in os.scandir(path) if not entry.name.startswith("."))
        return len(names), _read_plans(path, names)
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError(f"{path} is neither a regular file nor a directory")
    file = path.open("rb")
    return os.fstat(file.fileno()).st_size, _read_file(path, file)


# --- files of lines ---------------------------------------------------------------------------------------------------


def _read_file(path: Path, file: BinaryIO) -> Reading:
    with file:
        # What kind it is shows in the first line that says something.
        first, size = next(_lines(file, _USERS_LINE_LIMIT), (b"", 0))
        while first is not None and size and (not first.strip() or first.lstrip().startswith(b"#")):
            first, size = next(_lines(file, _USERS_LINE_LIMIT), (b"", 0))
        is_export = first is None or first.lstrip().startswith(b"{")  # no user's name begins so
        file.seek(0)
        if is_export:
            for number, (line, size) in enumerate(_lines(file, _EXPORT_LINE_LIMIT), 1):
                yield _read_line(f"{path}:{number}", line, _parse_export), size
            return
        last = _last_lines(file)
        for number, (line, size) in enumerate(_lines(file, _USERS_LINE_LIMIT), 1):
            record = _read_line(f"{path}:{number}", line, _parse_users)
            if isinstance(record, Record) and last[record.login] != number:
                record = Bad(record.place, f"{record.login} comes again in line {last[record.login]}, which counts")
            yield record, size


def _read_line(place: str, line: bytes | None, parse: Callable[[str, str], Record | None]) -> Record | Bad | None:
    try:
        if line is None:
            raise ValueError("the line is too long")  # noqa: TRY301 -- one place for bad lines
        return parse(place, line.decode())
    except UnicodeDecodeError:
        return Bad(place, "this is not UTF-8")
    except ValueError as error:
        return Bad(place, str(error))


def _lines(file: BinaryIO, limit: int) -> Iterator[tuple[bytes | None, int]]:
    """Lines without their ends, None for one longer than `limit`; and how many bytes each took."""
    first = True
    while line := file.readline(limit + 1):
        size = len(line)
        if size > limit and not line.endswith(b"\n"):
            while (rest := file.readline(limit)) and not rest.endswith(b"\n"):
                size += len(rest)
            yield None, size + len(rest)
        else:
            yield (line.removeprefix(_BOM) if first else line).rstrip(b"\r\n"), size
        first = False


def _last_lines(file: BinaryIO) -> dict[str, int]:
    """The last line of each user; the same file would otherwise say something else whenever it is imported anew."""
    last = {}
    for number, (line, _) in enumerate(_lines(file, _USERS_LINE_LIMIT), 1):
        record = _read_line("", line, _parse_users)
        if isinstance(record, Record):
            last[record.login] = number
    file.seek(0)
    return last


def _parse_users(place: str, line: str) -> Record | None:
    text = line.strip()
    if not text or text.startswith("#"):
        return None
    user, colon, status = text.partition(":")
    if not colon:
        raise ValueError("there is no colon after the user name")
    return Record(place, checks.login(user.rstrip()), checks.status(status.strip()))


# --- exports ----------------------------------------------------------------------------------------------------------


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ExportedStatus(_Strict):
    """One status of an export."""

    status: str
    since: AwareDatetime
    until: AwareDatetime | None = None


class ExportedUser(_Strict):
    """One line of an export."""

    user: str
    name: str | None = None
    details: dict[str, str] | None = None
    statuses: tuple[ExportedStatus, ...] = ()


def _parse_export(place: str, line: str) -> Record | None:
    if not line.strip():
        return None
    try:
        exported = ExportedUser.model_validate_json(line)
    except ValidationError as error:
        raise ValueError("; ".join(_explain(entry["loc"], entry["msg"]) for entry in error.errors()[:3])) from None
    said = tuple(_said(status) for status in exported.statuses)
    if any(later.since <= earlier.since for earlier, later in pairwise(said)):
        raise ValueError("the statuses are not in the order in which they were set")
    return Record(
        place,
        checks.login(exported.user),
        name=checks.full_name(exported.name),
        details=checks.details(exported.details or {}),
        said=said,
    )


def _explain(place: tuple[int | str, ...], reason: str) -> str:
    where = ".".join(str(part) for part in place)
    return f"{where}: {reason}" if where else reason


def _said(status: ExportedStatus) -> Said:
    if status.since > datetime.now(UTC) + _CLOCKS_DIFFER:
        raise ValueError(f"a status was set in the future: {status.since}")
    if status.until is not None and status.until <= status.since:
        raise ValueError(f"a status ends before it was set: {status.since}")
    until = None if status.until is None else to_microseconds(in_utc(status.until))
    return Said(to_microseconds(in_utc(status.since)), until, checks.status(status.status))


# --- plans ------------------------------------------------------------------------------------------------------------


def _read_plans(directory: Path, names: list[bytes]) -> Reading:
    for name in names:
        path = directory / os.fsdecode(name)
        try:
            yield _read_plan(path), 1
        except (UnicodeDecodeError, UnicodeEncodeError):
            yield Bad(repr(str(path)), "this is not UTF-8"), 1
        except ValueError as error:
            yield Bad(str(path), str(error)), 1
        except OSError as error:
            yield Bad(str(path), error.strerror or str(error)), 1


def _read_plan(path: Path) -> Record:
    user = checks.login(path.name)
    about = path.lstat()  # a FIFO would make us wait; a link leads out of the directory
    if not stat.S_ISREG(about.st_mode):
        raise ValueError("it is no regular file")
    with path.open("rb") as file:
        data = file.read(_PLAN_LIMIT + 1)
    return Record(str(path), user, checks.status(data.decode()), written=about.st_mtime_ns // 1000)
