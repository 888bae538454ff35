"""The reader of the log stops: no client may notice, memory stays bounded, and the program still ends.

The log goes through a pipe, as under a service manager or in `fingertrio 2>&1 | logger`. A pipe holds 64 kB. With a
blocking log, 331 queries stopped every door, and only SIGKILL ended the program.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import trio

from faults.program import AttackedProgram, running, sections
from faults.random_lines import LineSender, is_finger_answer
from faults.scenario import Findings, Scale, Scenario, until
from faults.watch import every_probe, watching

_GROWTH = 30.0  # megabytes: the queue of lines, as text and as bytes
_EXIT = 3.0  # seconds for an exit while nothing reads the log
_SLOWEST = 0.5  # seconds for any answer, beside 2,000 queries a second

# Standard error becomes the pipe; the program keeps this process id.
_INTO_PIPE = """
import os, sys
os.dup2(int(sys.argv[1]), 2)
os.execv(sys.executable, [sys.executable, "-m", "fingertrio", *sys.argv[2:]])
"""


class LogReader:
    """Copies the log from the pipe to a file, in a thread, unless it is stopped."""

    def __init__(self) -> None:
        self.descriptor, self.write_end = os.pipe()
        self._may_read = threading.Event()
        self._may_read.set()

    def stop(self) -> None:
        """Read nothing more. A read that is under way still ends."""
        self._may_read.clear()

    def resume(self) -> None:
        """Read on."""
        self._may_read.set()

    def copy_to(self, path: Path) -> None:
        """Copy until every writer has closed the pipe."""
        with path.open("ab", buffering=0) as log:
            while self._may_read.wait() and (data := os.read(self.descriptor, 4096)):
                log.write(data)


@contextmanager
def _piped() -> Iterator[tuple[AttackedProgram, LogReader]]:
    """The program, ready, and the reader of its log."""
    reader = LogReader()
    command = (sys.executable, "-c", _INTO_PIPE, str(reader.write_end))
    threads: list[threading.Thread] = []

    def begin(program: AttackedProgram) -> None:
        os.close(reader.write_end)
        threads.append(threading.Thread(target=reader.copy_to, args=[program.log], daemon=True))
        threads[0].start()

    try:
        with running(sections(), command=command, pass_fds=[reader.write_end], started=begin) as program:
            yield program, reader
    finally:
        reader.resume()
        for thread in threads:
            thread.join(10)
        os.close(reader.descriptor)


async def run(scale: Scale, findings: Findings) -> None:
    """Stop the reader under load, let it read on, and stop it again for the exit."""
    queries = scale.of(30_000, 3_000)
    findings.done = f"the reader of the log pipe stops during {queries:,} queries, reads on, and stops again at SIGTERM"
    with _piped() as (program, reader):
        await program.examine(findings)
        program.forget_peak()
        before = program.megabytes
        reader.stop()
        async with watching(every_probe(program)) as watch:
            lines = (b"user%d\r\n" % number for number in range(queries))
            sender = LineSender(program.port("finger"), lines, is_finger_answer, end=False)
            seconds = await trio.to_thread.run_sync(sender.run)
        grown = program.peak_megabytes - before
        findings.figure(f"{sender.outcomes['answers']:,} of {queries:,} queries answered in {seconds:.0f} s")
        findings.require(sender.outcomes["answers"] == queries, f"queries were lost: {dict(sender.outcomes)}")
        findings.figure(f"memory {grown:+.1f} MB at the peak")
        findings.require(grown <= _GROWTH, f"memory grew by {grown:.1f} MB")
        watch.report(findings)
        slowest = watch.worst
        findings.require(slowest <= _SLOWEST + scale.slack, f"an honest client waited {slowest * 1000:.0f} ms")
        reader.resume()
        reported = await until(lambda: program.events()["log_lines_lost"] > 0, 10)
        lost = sum(record.get("lines", 0) for record in program.records() if record["event"] == "log_lines_lost")
        findings.figure(f"{lost:,} lost log lines reported")
        findings.require(reported or lost == 0, "the log does not report its lost lines")
        findings.require(not program.events()["stray"], "the log has a damaged line")
        await program.examine(findings)
        reader.stop()
        fill = LineSender(program.port("finger"), (b"x%d\r\n" % n for n in range(2000)), is_finger_answer, end=False)
        await trio.to_thread.run_sync(fill.run)
        began = time.monotonic()
        await program.end_soon(_EXIT + scale.slack + 5)
        took = time.monotonic() - began
        findings.figure(f"exit after {took:.2f} s while nothing reads the log")
        findings.require(took <= _EXIT + scale.slack, f"the exit took {took:.2f} s")


SCENARIO = Scenario("log-stops", "the reader of the log stops", run, limit=90)
