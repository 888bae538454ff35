"""Is the write-ahead log on the disk still the log that SQLite writes, and can all of it be recovered?

SQLite does not check. After its -wal was removed or replaced, it goes on committing to a file without a name; after its
-wal was damaged, it goes on appending behind the damage. Every commit succeeds, and every commit is lost when the
program is killed: recovery reads the file at the path, from its beginning to the first bad frame.

The format (https://sqlite.org/fileformat2.html#walformat): a header of 32 bytes, then frames of 24 bytes and a page.
All numbers are big-endian. A frame is valid if it repeats the salts of the header and its checksum, which covers all
frames before it, is right. A frame that ends a transaction has the size of the database in its second number. When the
log starts again from its beginning, the salts change, and old frames behind the new ones become invalid.

Opening and closing the -wal is safe, since SQLite holds no locks on it. The -shm is never opened here: closing it would
drop the locks that SQLite holds on it for this process.
"""

from __future__ import annotations

import os
import struct
import sys
import time
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fingertrio.backends.sqlite import files

_HEADER = struct.Struct(">4I8s8s")  # magic, format version, page size, sequence; salts; checksum
_FRAME = struct.Struct(">2I8s8s")  # page, size of the database after a commit or 0; salts; checksum
_MAGIC = 0x377F0682  # plus 1 if the checksums read big-endian words

# Frames read at once: as many as a single set writes.
_CHUNK = 4

# Nanoseconds. Times of directories advance in steps of the kernel's clock (at most 10 ms) or of the file system (2 s).
_COARSE_TIME = 2_000_000_000


@dataclass(frozen=True, slots=True)
class Position:
    """The last commit in a log: the salts, the number of frames up to it, and its checksum, as stored."""

    salts: bytes = b""
    frames: int = 0
    checksum: bytes = b""


_EMPTY = Position()


@dataclass(frozen=True, slots=True)
class _Header:
    """The header of a log: bytes of a frame with its page, salts, checksum, and byte order of checksummed words."""

    frame_size: int
    salts: bytes
    checksum: tuple[int, int]
    order: str


class LogWatch:
    """Watches the -wal and -shm of one opened database.

    Args:
        database: the path of the database, which SQLite has opened: its -wal and -shm exist.

    Raises:
        OSError: they do not exist.
    """

    def __init__(self, database: Path) -> None:
        self.wal = files.companion(database, "-wal")
        self._shm = files.companion(database, "-shm")
        self._identities = {path: files.identity(path) for path in (self.wal, self._shm)}
        self._directory = self.wal.parent
        self._unchanged_since = 0  # the modification time of the directory when the files were in place; 0: unknown
        self._header_bytes = b""  # of the header that was checked last, and what it says
        self._header_fields: _Header | None = None
        self._descriptor = os.open(self.wal, os.O_RDONLY | os.O_CLOEXEC)
        self._state = self._stat()
        self.position = self._find_last_commit(_EMPTY)

    def close(self) -> None:
        """Close the -wal. The watch cannot be used any more."""
        os.close(self._descriptor)

    def displacement(self) -> str | None:
        """Which of the files is not at its path any more, and what happened to it; None: both are in place."""
        changed = self._directory.stat().st_mtime_ns
        if changed == self._unchanged_since:
            return None
        for path, known in self._identities.items():
            found = files.identity(path)
            if found != known:
                return f"{path.name} was removed" if found is None else f"{path.name} was replaced"
        # The next change of the directory will show in its time, unless it comes too soon after the last one.
        self._unchanged_since = changed if time.time_ns() - changed > _COARSE_TIME else 0
        return None

    @property
    def wal_is_in_place(self) -> bool:
        """Whether the path of the -wal leads to the log that SQLite writes."""
        return files.identity(self.wal) == self._identities[self.wal]

    @property
    def shm_is_in_place(self) -> bool:
        """Whether the path of the -shm leads to the index and the locks that SQLite uses."""
        return files.identity(self._shm) == self._identities[self._shm]

    def keep(self, suffix: str) -> Path | None:
        """Give the file at the path of the -wal a second name, under which it survives. None: there is none."""
        name = self.wal.with_name(f"{self.wal.name}.{suffix}")
        try:
            if not self.wal.exists():
                return None
            name.unlink(missing_ok=True)
            name.hardlink_to(self.wal)
        except OSError:  # a file system without hard links
            return None
        return name

    @property
    def was_modified(self) -> bool:
        """Whether the -wal was written to since the last `update`."""
        return self._stat() != self._state

    @property
    def is_empty(self) -> bool:
        """Whether the -wal has no content."""
        return self._stat()[0] == 0

    def update(self) -> bool:
        """Take the present content as known. Returns whether it has another last commit than before."""
        before, self._state = self.position, self._stat()
        header = self._header_fields
        if header is not None and header.salts == before.salts:  # in most cases the log has only grown
            self.position = self._follow_frames(before, header)
        if self.position == before:
            self.position = self._find_last_commit(before)
        return self.position != before

    def is_intact(self) -> bool:
        """Whether recovery would still find the last known commit. Reads the whole log: some 80 ms for each MB."""
        if not self.position.frames:
            return True
        header = self._header()
        return header is not None and any(found == self.position for found in self._recoverable_commits(header))

    def recoverable_size(self) -> int:
        """How many bytes of the -wal recovery would use."""
        header = self._header()
        if header is None:
            return 0
        frames = max((found.frames for found in self._recoverable_commits(header)), default=0)
        return _HEADER.size + frames * header.frame_size

    def _stat(self) -> tuple[int, int]:
        status = os.fstat(self._descriptor)
        return status.st_size, status.st_mtime_ns

    def _header(self) -> _Header | None:
        """The header; None: there is none, or it is damaged."""
        data = os.pread(self._descriptor, _HEADER.size, 0)
        if data == self._header_bytes:
            return self._header_fields
        self._header_bytes, self._header_fields = data, None
        if len(data) < _HEADER.size:
            return None
        magic, _version, page, _sequence, salts, stored = _HEADER.unpack(data)
        order = "big" if magic & 1 else "little"
        checksum = _add(data[:24], (0, 0), order)
        if magic & ~1 != _MAGIC or _store(checksum) != stored:
            return None
        self._header_fields = _Header(_FRAME.size + page, salts, checksum, order)
        return self._header_fields

    def _find_last_commit(self, known: Position) -> Position:
        """The last commit by the headers of the frames alone, which is fast; the search goes on from `known`."""
        header = self._header()
        if header is None:
            return _EMPTY
        return self._follow_frames(known if known.salts == header.salts else Position(header.salts), header)

    def _follow_frames(self, position: Position, header: _Header) -> Position:
        """The last commit among the frames after `position`."""
        size, number = header.frame_size, position.frames
        while chunk := os.pread(self._descriptor, _CHUNK * size, _HEADER.size + number * size):
            for offset in range(0, len(chunk) - size + 1, size):
                _page, commit, salts, checksum = _FRAME.unpack_from(chunk, offset)
                if salts != header.salts:
                    return position
                number += 1
                if commit:
                    position = Position(salts, number, checksum)
            if len(chunk) < _CHUNK * size:
                break
        return position

    def _recoverable_commits(self, header: _Header) -> Iterator[Position]:
        """All commits that recovery would find, checking every checksum as SQLite does."""
        size, checksum = header.frame_size, header.checksum
        number = 0
        while len(frame := os.pread(self._descriptor, size, _HEADER.size + number * size)) == size:
            _page, commit, salts, stored = _FRAME.unpack_from(frame)
            checksum = _add(frame[_FRAME.size :], _add(frame[:8], checksum, header.order), header.order)
            if salts != header.salts or _store(checksum) != stored:
                return
            number += 1
            if commit:
                yield Position(salts, number, stored)


def _add(data: bytes, checksum: tuple[int, int], order: str) -> tuple[int, int]:
    """SQLite's checksum of the log, continued over `data`, whose length is a multiple of 8."""
    words = array("I", data)
    if order != sys.byteorder:
        words.byteswap()
    first, second = checksum
    pairs = iter(words)
    for one, two in zip(pairs, pairs, strict=True):
        first = (first + one + second) & 0xFFFFFFFF
        second = (second + two + first) & 0xFFFFFFFF
    return first, second


def _store(checksum: tuple[int, int]) -> bytes:
    return struct.pack(">2I", *checksum)
