"""The log writer: it never blocks its callers, counts what it loses, and writes whole lines."""

from __future__ import annotations

import fcntl
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fingertrio.observe.observer import Observer
from fingertrio.observe.writer import CLOSE_TIMEOUT, QUEUE_SIZE, LogWriter
from fingertrio.testing.process import environment

PAGE = 4096  # the smallest pipe


def line(number: int) -> str:
    return json.dumps({"number": number, "text": "x" * 100}) + "\n"


def lost_line(lines: int) -> str:
    return json.dumps({"lost": lines}) + "\n"


class Pipe:
    """A pipe of one page, whose reader does not read until it is asked to."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        fcntl.fcntl(self.writer, fcntl.F_SETPIPE_SZ, PAGE)
        self._buffer = b""

    def read_lines(self, until: str) -> list[dict[str, int]]:
        """All lines up to the first that contains `until`."""
        lines = []
        while True:
            text, end, rest = self._buffer.partition(b"\n")
            if not end:
                self._buffer += os.read(self.reader, PAGE)
                continue
            self._buffer = rest
            lines.append(json.loads(text))
            if until in text.decode():
                return lines

    def close(self) -> None:
        os.close(self.reader)
        os.close(self.writer)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.close()


@contextmanager
def writing(descriptor: int) -> Iterator[tuple[LogWriter, list[int]]]:
    """A writer, and the numbers of lost lines; its thread has ended afterwards."""
    lost: list[int] = []
    writer = LogWriter(descriptor, lost.append, lost_line)
    yield writer, lost
    writer.close(10)


@pytest.mark.timeout(20)  # of code that blocks
def test_a_pipe_that_is_not_read_blocks_nothing_and_the_loss_is_reported(pipe: Pipe) -> None:
    with writing(pipe.writer) as (writer, lost):
        total = 5 * QUEUE_SIZE // len(line(10_000))
        for number in range(total):
            writer.write(line(number))
            writer.flush()
        assert sum(lost) > 0
        lines = pipe.read_lines("lost")
    numbers = [record["number"] for record in lines if "number" in record]
    assert numbers == sorted(numbers)
    assert lines[-1] == {"lost": sum(lost)}
    assert len(numbers) + sum(lost) == total


def test_a_pipe_that_is_not_read_delays_the_end_by_a_bounded_time(pipe: Pipe) -> None:
    writer = LogWriter(pipe.writer, lambda _lines: None, lost_line)
    writer.write(line(1) * 100 + line(2))
    began = time.monotonic()
    writer.close(0.1)
    assert 0.1 <= time.monotonic() - began < CLOSE_TIMEOUT
    pipe.read_lines('"number": 2')
    writer.close(10)  # the thread must not write to a later pipe with the same number


def test_lines_wait_for_more_and_events_do_not(pipe: Pipe) -> None:
    with writing(pipe.writer) as (writer, _):
        writer.write(line(1))
        writer.write(line(2))
        writer.flush()
        assert [record["number"] for record in pipe.read_lines('"number": 2')] == [1, 2]
        writer.write(line(3))  # without flush
        assert [record["number"] for record in pipe.read_lines('"number": 3')] == [3]


def test_a_closed_writer_starts_again(pipe: Pipe) -> None:
    with writing(pipe.writer) as (writer, _):
        for number in (1, 2):
            writer.write(line(number))
            writer.close(10)
        assert [record["number"] for record in pipe.read_lines('"number": 2')] == [1, 2]
        assert "log writer" not in [thread.name for thread in threading.enumerate()]


def test_a_pipe_whose_reader_is_gone_loses_lines(pipe: Pipe) -> None:
    os.close(pipe.reader)
    pipe.reader = os.dup(pipe.writer)
    with writing(pipe.writer) as (writer, lost):
        for number in range(3):
            writer.write(line(number))
            writer.close(10)
    assert lost == [1, 1, 1]


def test_a_descriptor_that_was_closed_loses_lines() -> None:
    """And the thread survives it."""
    reader, closed = os.pipe()
    os.close(closed)
    with writing(closed) as (writer, lost):
        for number in range(3):
            writer.write(line(number))
            writer.flush()
            writer.close(10)
    os.close(reader)
    assert sum(lost) == 3


def test_a_descriptor_that_another_program_made_non_blocking_loses_nothing(pipe: Pipe) -> None:
    os.set_blocking(pipe.writer, False)
    with writing(pipe.writer) as (writer, lost):
        writer.write("".join(map(line, range(1000))))
        records = pipe.read_lines('"number": 999')
    assert [record["number"] for record in records] == list(range(1000))
    assert not lost


@contextmanager
def full_at(size: int) -> Iterator[None]:
    """A file that would grow past `size` meets what a full disk does: a short write, then an error."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


@contextmanager
def appending(path: Path) -> Iterator[tuple[LogWriter, list[int]]]:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    with writing(descriptor) as found:
        yield found
    os.close(descriptor)


@pytest.mark.parametrize("room", [0, 1, 50, len(line(1)) - 1, len(line(1)), len(line(1)) + 50])
@pytest.mark.parametrize("outage", [1, 3, 200])
def test_after_a_full_disk_every_line_is_whole(log: Path, room: int, outage: int) -> None:
    last = outage + 2
    with appending(log) as (writer, lost):
        writer.write(line(1))
        writer.close(10)
        with full_at(log.stat().st_size + room):
            for number in range(2, last):
                writer.write(line(number))
                writer.close(10)
        writer.write(line(last) + line(last + 1))
    records = [json.loads(text) for text in log.read_text().splitlines()]
    kept = [record["number"] for record in records if "number" in record]
    assert kept[0] == 1
    assert kept[-2:] == [last, last + 1]
    assert len(kept) + sum(lost) == last + 1
    assert not lost or records[-1] == {"lost": sum(lost)}


def test_a_run_after_one_that_ended_on_a_full_disk_starts_a_new_line(log: Path) -> None:
    log.write_text('{"number": 1}\n{"num')
    with appending(log) as (writer, _):
        writer.write(line(2))
    first, fragment, second = log.read_text().splitlines()
    assert (json.loads(first)["number"], fragment, json.loads(second)["number"]) == (1, '{"num', 2)


def test_a_file_that_was_truncated_gets_no_half_line(log: Path) -> None:
    """A rotation with copytruncate, between the beginning of a line and its rest."""
    with appending(log) as (writer, _):
        writer.write(line(1))
        writer.close(10)
        with full_at(log.stat().st_size + 10):
            writer.write(line(2))
            writer.close(10)
        os.truncate(log, 0)
        writer.write(line(3))
    assert json.loads(log.read_text().splitlines()[0])["number"] == 3


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # Python 3.12 about fork beside threads
def test_a_forked_child_writes_its_own_lines_only(log: Path) -> None:
    with appending(log) as (writer, _):
        writer.write(line(1))
        child = os.fork()
        if child == 0:
            writer.write(line(2))
            writer.close(10)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
    assert sorted(json.loads(text)["number"] for text in log.read_text().splitlines()) == [1, 2]


@pytest.mark.parametrize("human", [False, True])
def test_the_observer_reports_lost_lines_in_the_log_and_counts_them(pipe: Pipe, human: bool) -> None:
    with os.fdopen(os.dup(pipe.writer), "w", encoding="utf-8") as stream:
        observer = Observer(stream, human=human, in_thread=True)
        while not observer.metrics.lines_lost:
            for _ in range(100):
                observer.query("finger", "192.0.2.7", "moshez", "ok", 0.1, 16)
            observer.flush()
        lost = observer.metrics.lines_lost
        with os.fdopen(os.dup(pipe.reader), encoding="utf-8") as file:
            report = next(text for text in file if "log_lines_lost" in text)
        observer.close()
    if human:
        assert f"lines={lost}" in report
    else:
        record = json.loads(report)
        assert (record["lines"], record["level"]) == (lost, "warning")


def test_a_program_whose_log_is_not_read_answers_and_stops() -> None:
    """The pipe is full after a few queries."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, PAGE)
    environ = environment() | {
        "FINGERTRIO_BACKEND__USE": "memory",
        "FINGERTRIO_FINGER__LISTEN": "127.0.0.1:0",
        "FINGERTRIO_SETTER__LISTEN": "127.0.0.1:0",
        "FINGERTRIO_HTTP__LISTEN": "127.0.0.1:0",
    }
    with subprocess.Popen([sys.executable, "-m", "fingertrio"], stderr=writer, env=environ) as process:
        try:
            os.close(writer)
            with os.fdopen(reader, encoding="utf-8") as file:
                addresses = {}
                for text in file:
                    record = json.loads(text)
                    if record["event"] == "listening":
                        addresses[record["door"]] = record["address"]
                    if record["event"] == "ready":
                        break
                host, _, port = addresses["finger"].rpartition(":")
                for _ in range(200):
                    with socket.create_connection((host, int(port)), timeout=10) as client:
                        client.sendall(b"nobody-of-this-name\r\n")
                        assert client.recv(100) == b"No such user\r\n"
                process.send_signal(signal.SIGTERM)
                assert process.wait(10) == 0
        finally:
            process.kill()
