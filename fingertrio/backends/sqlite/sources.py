"""Sources of an import, read as records: a users file, a directory of plans, or an export.

Reads files and knows no database. A record that cannot be imported is a `BadRecord` with its place and the reason; the
other records are still imported. An export is read line by line, so it may be larger than memory; each line is limited.

An export has one JSON object for each user, one in each line:

    {"user": "moshez", "name": "Moshe Zadka", "details": {"project": "fingertrio"}, "statuses": [
        {"status": "Happy and well", "since": "2026-01-01T12:00:00.000000Z", "until": null}]}

`statuses` is the whole history, oldest first. `until` is the end that was given when the status was set; null: none, so
the status held until the next one without an end was set. Times are RFC 3339. `name` and `details` may be null or
missing.
"""

from __future__ import annotations

import codecs
import errno
import os
import stat
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from io import BufferedReader, TextIOWrapper
from itertools import pairwise
from pathlib import Path
from typing import AnyStr

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from fingertrio.backends.sqlite import checks
from fingertrio.backends.sqlite.rows import StatusRow
from fingertrio.wire.status import STATUS_LIMIT
from fingertrio.wire.text import decode
from fingertrio.wire.times import in_utc, to_microseconds
from fingertrio.wire.users_file import USERS_FILE_LIMIT, parse_users_file

# Bytes. A line of an export holds the whole history of a user: thousands of statuses of the greatest length.
_EXPORT_LINE_LIMIT = 64 * 1024 * 1024
_FIRST_LINE_LIMIT = 64 * 1024  # more than any line of a users file: a longer first line is that of an export
_PLAN_LIMIT = 64 * 1024  # more than a status may have, so that the message can say that the status is too long


@dataclass(frozen=True, slots=True)
class ImportRecord:
    """The data of one user.

    Attributes:
        place: file and line, for messages.
        login: a valid user name.
        status: the status to set; None: `history` has the statuses.
        status_time: when `status` was written, in microseconds, if known.
        name: the full name; None: not in the source.
        details: the details in the source.
        history: statuses, oldest first.
    """

    place: str
    login: str
    status: str | None = None
    status_time: int | None = None
    name: str | None = None
    details: Mapping[str, str] = field(default_factory=dict)
    history: tuple[StatusRow, ...] = ()


@dataclass(frozen=True, slots=True)
class BadRecord:
    """A record that cannot be imported, and why."""

    place: str
    reason: str


# Each record with its share of the source's size. None: a share without a record (a comment, an empty line).
RecordStream = Iterator[tuple[ImportRecord | BadRecord | None, int]]


def open_source(path: Path) -> tuple[int, RecordStream]:
    """The size of the source at `path` (bytes of a file, or number of plans) and its records.

    Anything but a regular file or a directory is not even opened: a FIFO would block, a device might never end.

    Raises:
        OSError: the source cannot be read.
        ValueError: the source is neither a regular file nor a directory.
    """
    if path.is_dir():
        names = sorted(os.fsencode(entry.name) for entry in os.scandir(path) if not entry.name.startswith("."))
        return len(names), _read_plans(path, names)
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError(f"{path} is neither a regular file nor a directory")
    # The path may lead to another file by now: opening must not block, and what was opened is checked again.
    file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY), "rb")
    about = os.fstat(file.fileno())
    if not stat.S_ISREG(about.st_mode):
        file.close()
        raise ValueError(f"{path} is neither a regular file nor a directory")
    return about.st_size, _read_file(path, file)


# --- files ------------------------------------------------------------------------------------------------------------


def _read_file(path: Path, file: BufferedReader) -> RecordStream:
    with file:
        is_export = _is_export(file)
        file.seek(0)
        if not is_export:
            yield from _read_users_file(path, file)
            return
        done = 0
        for number, (line, size) in enumerate(_lines(file, _EXPORT_LINE_LIMIT), 1):
            done += size
            yield _parse_export(f"{path}:{number}", line), size
        yield None, os.fstat(file.fileno()).st_size - done


def _is_export(file: BufferedReader) -> bool:
    """Whether the first line with content begins with `{`, as no user name does, or is too long for a users file."""
    with closing(_lines(file, _FIRST_LINE_LIMIT)) as lines:
        for line, _size in lines:
            if line is None:
                return True
            if (text := line.strip()) and not text.startswith("#"):
                return text.startswith("{")
    return False


def _read_users_file(path: Path, file: BufferedReader) -> RecordStream:
    data = file.read(USERS_FILE_LIMIT + 1)
    size = os.fstat(file.fileno()).st_size
    if len(data) > USERS_FILE_LIMIT:
        yield BadRecord(str(path), f"larger than {USERS_FILE_LIMIT} bytes; split the file"), size
        return
    try:
        parsed = parse_users_file(data, check_user=checks.login, status_limit=STATUS_LIMIT)
    except ValueError as error:
        yield BadRecord(str(path), str(error)), size
        return
    records: list[ImportRecord | BadRecord] = [BadRecord(f"{path}:{bad.line}", bad.reason) for bad in parsed.problems]
    records += [ImportRecord(f"{path}:{entry.line}", entry.user, entry.status) for entry in parsed.entries]
    done = 0
    for number, record in enumerate(records, 1):
        before, done = done, size * number // len(records)
        yield record, done - before
    yield None, size - done


def _lines(file: BufferedReader, limit: int) -> Generator[tuple[str | None, int], None, None]:
    """Lines without their ends, None for a line longer than `limit`, and about how many bytes each took."""
    if not file.peek(2).startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        for data, size in _limited_lines(file.readline, b"\n", limit):
            yield None if data is None else decode(data.rstrip(b"\r\n")), size
        return
    text = TextIOWrapper(file, "utf-16", errors="replace", newline="\n")
    try:
        for line, length in _limited_lines(text.readline, "\n", limit):
            yield None if line is None else line.rstrip("\r\n"), 2 * length
    finally:
        text.detach()  # otherwise it would close the file


def _limited_lines(readline: Callable[[int], AnyStr], end: AnyStr, limit: int) -> Iterator[tuple[AnyStr | None, int]]:
    while line := readline(limit + 1):
        size = len(line)
        if size > limit and not line.endswith(end):
            while (rest := readline(limit)) and not rest.endswith(end):
                size += len(rest)
            yield None, size + len(rest)
        else:
            yield line, size


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


def _parse_export(place: str, line: str | None) -> ImportRecord | BadRecord | None:
    if line is None:
        return BadRecord(place, "the line is too long")
    if not line.strip():
        return None
    try:
        exported = ExportedUser.model_validate_json(line)
        return _to_record(place, exported)
    except ValidationError as error:
        return BadRecord(place, "; ".join(_explain(entry["loc"], entry["msg"]) for entry in error.errors()[:3]))
    except ValueError as error:
        return BadRecord(place, str(error))


def _explain(place: tuple[int | str, ...], reason: str) -> str:
    key = ".".join(str(part) for part in place)
    return f"{key}: {reason}" if key else reason


def _to_record(place: str, exported: ExportedUser) -> ImportRecord:
    history = tuple(_to_row(status) for status in exported.statuses)
    if any(later.since <= earlier.since for earlier, later in pairwise(history)):
        raise ValueError("the statuses are not in the order in which they were set")
    return ImportRecord(
        place,
        checks.login(exported.user),
        name=checks.full_name(exported.name),
        details=checks.details(exported.details or {}),
        history=history,
    )


def _to_row(status: ExportedStatus) -> StatusRow:
    until = None if status.until is None else to_microseconds(in_utc(status.until))
    text = checks.status(status.status) if status.status else ""  # one that was taken back
    return StatusRow(to_microseconds(in_utc(status.since)), until, text)


# --- plans ------------------------------------------------------------------------------------------------------------


def _read_plans(directory: Path, names: list[bytes]) -> RecordStream:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for name in names:
            place = str(directory / os.fsdecode(name))
            try:
                yield _read_plan(place, descriptor, name), 1
            except UnicodeError:
                yield BadRecord(repr(place), "the file name is not UTF-8"), 1
            except ValueError as error:
                yield BadRecord(place, str(error)), 1
            except OSError as error:
                yield BadRecord(place, error.strerror or str(error)), 1
    finally:
        os.close(descriptor)


def _read_plan(place: str, directory: int, name: bytes) -> ImportRecord:
    """Read the plan `name` in the open `directory`.

    A symbolic link is never followed, since it may lead out of the directory, and opening never blocks, whatever the
    name has come to lead to since it was checked.
    """
    user = checks.login(os.fsdecode(name))
    if not stat.S_ISREG(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
        raise ValueError("not a regular file")  # and not opened, because opening some devices has side effects
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
    try:
        descriptor = os.open(name, flags, dir_fd=directory)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise ValueError("not a regular file") from error
        raise
    with os.fdopen(descriptor, "rb") as file:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode):
            raise ValueError("not a regular file")
        text = decode(file.read(_PLAN_LIMIT + 1))
    if "\0" in text:
        raise ValueError("not a text file")
    return ImportRecord(place, user, checks.status(text), status_time=about.st_mtime_ns // 1000)
