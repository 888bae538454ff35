"""The command backend: a user's status is what a program prints about them; by default the local `finger`.

A stranger's word ends up on a command line here, so: no shell ever sees it, `--` stands before it, and only what
`names.is_user_name` accepts gets that far. The program gets nothing from us but a PATH, a locale and an empty standard
input. It is bounded in time, in output and in number, and what it started ends with it: it leads a process group of its
own, which is killed when the program has exited, when the time is up, when the output is too long and when nobody wants
the answer any more. SIGKILL straight away: a program that only prints has nothing to tidy up, and one signal that
cannot be ignored is easier to be sure of than two. A program that leaves its group on purpose (setsid) is beyond this.

Linux: a process is watched through a pidfd, so that its number cannot become another's before its group is killed.
"""

from __future__ import annotations

import codecs
import logging
import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Literal

import trio
from pydantic import BaseModel, ConfigDict, Field, field_validator

from fingertrio.backend import BackendError, UserInfo
from fingertrio.names import is_user_name
from fingertrio.wire.text import clean, escape

_log = logging.getLogger(__name__)

# Enough of an error message to understand it; a program that complains without end must not fill our memory or the log.
_STDERR_LIMIT = 4 * 1024  # bytes

# A killed process is gone within milliseconds, unless the kernel holds it (a dead network file system). Then whoever
# asked may go, and a system task waits for it: it may well outlive the backend. Until then its place stays taken.
_REAP_PATIENCE = 1.0  # seconds

_CHUNK = 16 * 1024  # bytes of one read


class CommandOptions(BaseModel):
    """What a configuration may say of this backend."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # -l: the long form, with the plan. -m: login names only; without it, finger looks for parts of full names as well.
    argv: tuple[str, ...] = Field(
        default=("finger", "-lm"),
        min_length=1,
        description='The program and its first arguments. "--" and the user\'s name are added; no shell is involved.',
    )
    timeout: float = Field(
        default=4.0,  # below the service's 5, so that the log says which program was late
        gt=0,
        allow_inf_nan=False,
        description="Seconds that an answer may take, waiting for a place among `limit` included.",
    )
    output_limit: int = Field(
        default=64 * 1024,
        gt=0,
        description="Bytes of an answer; what is longer is cut, and a last line says so.",
    )
    limit: int = Field(default=4, gt=0, description="How many programs run at once; further questions wait.")
    unknown_pattern: str = Field(
        default=r"finger: .*: no such user\.?",
        description=(
            "A regular expression for the way the program says that there is no such user. It has to match all that "
            "the program printed or, where it printed nothing, one whole line of its standard error."
        ),
    )
    unknown_status: tuple[int, ...] = Field(
        default=(),  # Debian's finger exits with 0 whether it finds the user or not
        description="Exit statuses that mean that there is no such user, whatever was printed.",
    )
    output: Literal["socket", "pipe"] = Field(
        default="socket",
        description=(
            'What the program writes to. With "socket" Debian\'s finger knows that it answers a stranger and hides '
            'those who have a ~/.nofinger; with "pipe" it shows them, but programs can open /dev/stdout.'
        ),
    )

    @field_validator("argv")
    @classmethod
    def _can_be_arguments(cls, argv: tuple[str, ...]) -> tuple[str, ...]:
        if any("\0" in word for word in argv):
            raise ValueError("no argument of a program can hold a NUL character")
        return argv

    @field_validator("unknown_pattern")
    @classmethod
    def _is_a_regular_expression(cls, pattern: str) -> str:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from None
        return pattern


@asynccontextmanager
async def open_command(options: CommandOptions) -> AsyncIterator[CommandBackend]:
    """A backend that runs a program, by default the local finger, and answers what it prints. Cannot list or set.

    Raises:
        ValueError: the program cannot be found or may not be executed; the message is for the operator.
    """
    program = shutil.which(options.argv[0])
    if program is None:
        raise ValueError(
            f"argv: there is no program {options.argv[0]!r} that can be executed (PATH is {_search_path()!r}); "
            "install it, or give its whole path"
        )
    yield CommandBackend(options, program)


@dataclass(slots=True)
class _Said:
    """What a program has said so far, and how it ended."""

    started: bool = False  # it had its place
    stdout: bytearray = field(default_factory=bytearray)
    stderr: bytearray = field(default_factory=bytearray)
    cut: bool = False  # there was more; the program was stopped
    status: int = 0  # as in subprocess: below zero, the signal that ended it; unknown where it was cut


class CommandBackend:
    """Made by `open_command`.

    Args:
        options: see there.
        program: where `options.argv[0]` was found.
    """

    def __init__(self, options: CommandOptions, program: str) -> None:
        self._options = options
        self._program = program
        self._unknown = re.compile(options.unknown_pattern)
        self._places = trio.CapacityLimiter(options.limit)

    async def get_user(self, user: str) -> UserInfo | None:
        """What the program prints about `user`, its standard output as it is.

        Whatever else happens than an answer or "no such user" is a BackendError; what the program wrote to its standard
        error goes to the log then, and never to whoever asked.
        """
        if not is_user_name(user):  # the service has looked as well, but this is where it matters
            return None
        said = _Said()
        try:
            with trio.fail_after(self._options.timeout):
                await self._run(user, said)
            status = self._understand(said)
        except trio.TooSlowError:
            busy = f"{self._places.borrowed_tokens:g} of {self._options.limit} running"
            why = "while it ran" if said.started else f"waiting for a place, {busy}"
            cause: Exception = TimeoutError(f"{self._program}: no answer within {self._options.timeout:g} s, {why}")
        except (OSError, subprocess.SubprocessError) as error:
            cause = error
        else:
            return None if status is None else UserInfo(user, status)
        if said.stderr:
            _log.warning(
                "%s, asked about %s, said: %s", self._program, user, escape(bytes(said.stderr).strip(), _STDERR_LIMIT)
            )
        raise BackendError from cause

    async def _run(self, user: str, said: _Said) -> None:
        """Run the program for `user` and fill `said`. However this ends, the process and all it started are ended."""
        place = object()
        await self._places.acquire_on_behalf_of(place)
        said.started = True
        with ExitStack() as held, ExitStack() as ends:
            held.callback(self._places.release_on_behalf_of, place)
            with ExitStack() as theirs:  # the program's must be the only copies, or its output would never end for us
                stdout, their_stdout = _channel(self._options.output, ends, theirs)
                stderr, their_stderr = _channel("pipe", ends, theirs)
                # To start a program cannot be cancelled: it takes a millisecond, or the disk it lies on is in trouble.
                process = await trio.lowlevel.open_process(
                    [self._program, *self._options.argv[1:], "--", user.encode()],
                    stdin=subprocess.DEVNULL,
                    stdout=their_stdout,
                    stderr=their_stderr,
                    env={"PATH": _search_path(), "LC_ALL": "C.UTF-8"},
                    start_new_session=True,
                )
            try:
                pidfd = os.pidfd_open(process.pid)
                ends.callback(os.close, pidfd)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(_kill_group_after, pidfd, process.pid)
                    nursery.start_soon(_keep_beginning, stderr, said.stderr)
                    await _keep_answer(stdout, said, self._options.output_limit)
                    if said.cut:
                        nursery.cancel_scope.cancel()
            finally:
                # Until here nothing has asked for the exit status, so the number is still this process's own.
                _kill_group(process.pid)
                with trio.move_on_after(_REAP_PATIENCE, shield=True):
                    await process.wait()
                if process.returncode is None:
                    trio.lowlevel.spawn_system_task(self._reap, process, held.pop_all())
                else:
                    said.status = process.returncode

    async def _reap(self, process: trio.Process, held: ExitStack) -> None:
        _log.warning("%s, process %d, was killed and does not end", self._program, process.pid)
        with held:
            await process.wait()

    def _understand(self, said: _Said) -> str | None:
        """The status, None for "no such user".

        A program that exits with 0 and says nothing at all does not know the user: scripts come naturally so.

        Raises:
            subprocess.SubprocessError: it is neither.
        """
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        text = clean(decoder.decode(bytes(said.stdout), final=not said.cut)).rstrip("\n")
        if said.cut:  # its exit status tells of our signal, not of the user
            _log.warning("%s: an answer of more than %d bytes was cut", self._program, self._options.output_limit)
            return f"{text}\n[cut here: the answer is longer than {self._options.output_limit} bytes]"
        if said.status in self._options.unknown_status:
            return None
        complaint = clean(said.stderr.decode(errors="replace"))
        if any(map(self._unknown.fullmatch, [text] if text else complaint.splitlines())):
            return None
        if said.status != 0:
            raise subprocess.CalledProcessError(said.status, self._program)
        if not text and complaint:
            raise subprocess.SubprocessError(f"{self._program} printed nothing and complained")
        return text or None


def _search_path() -> str:
    return os.environ.get("PATH", os.defpath)


def _channel(kind: Literal["socket", "pipe"], ours: ExitStack, theirs: ExitStack) -> tuple[trio.lowlevel.FdStream, int]:
    """Our end and the program's, each closed with its stack."""
    reading, writing = (end.detach() for end in socket.socketpair()) if kind == "socket" else os.pipe()
    theirs.callback(os.close, writing)
    stream = trio.lowlevel.FdStream(reading)
    ours.callback(stream.close)
    return stream, writing


async def _keep_answer(stdout: trio.lowlevel.FdStream, said: _Said, limit: int) -> None:
    """Read to the end or to the limit. Cut, not refused: the first 64 KiB of a long plan are worth having."""
    while chunk := await stdout.receive_some(_CHUNK):
        said.stdout += chunk
        if len(said.stdout) > limit:
            del said.stdout[limit:]
            said.cut = True
            return


async def _keep_beginning(stderr: trio.lowlevel.FdStream, kept: bytearray) -> None:
    """Read to the end and keep the beginning, so that a program that complains much is not stopped by a full pipe."""
    while chunk := await stderr.receive_some(_CHUNK):
        kept += chunk[: _STDERR_LIMIT - len(kept)]


async def _kill_group_after(pidfd: int, pid: int) -> None:
    """When the program itself has ended, end what it left behind: it would hold the output open and pile up."""
    await trio.lowlevel.wait_readable(pidfd)
    _kill_group(pid)


def _kill_group(pid: int) -> None:
    """Only while the leader is not reaped: after that, the number may be somebody else's."""
    with suppress(ProcessLookupError, PermissionError):  # PermissionError: a set-user-id program; we can but wait
        os.killpg(pid, signal.SIGKILL)
