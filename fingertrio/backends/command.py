"""The command backend: a user's status is the output of a program, by default the local `finger`.

The untrusted user name becomes a command-line argument: no shell reads it, `--` stands before it, and only names that
`names.is_user_name` accepts are used. The program gets only a PATH, a locale and an empty standard input. Its time, its
output and the number of running programs are limited. It leads a process group of its own, which is killed when the
program exits, on timeout, when the output is too long, and on cancellation, so that its child processes end too. The
signal is SIGKILL from the start: a program that only prints has nothing to clean up, and SIGKILL cannot be ignored. A
program that leaves its group (setsid) is not ended.

Linux only: a process is watched through a pidfd, so that its pid cannot be reused before its group is killed.
"""

from __future__ import annotations

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
from fingertrio.wire.text import clean, decode, escape

_log = logging.getLogger(__name__)

# Enough to understand an error message. A program that writes errors without end must not fill the memory or the log.
_STDERR_LIMIT = 4 * 1024  # bytes

# A killed process ends within milliseconds, unless the kernel blocks it (a dead network file system). Then the call
# returns and a system task waits for the process, perhaps longer than the backend lives. Until the process ends, it
# counts against `limit`.
_REAP_TIMEOUT = 1.0  # seconds

_CHUNK = 16 * 1024  # bytes of one read


class CommandOptions(BaseModel):
    """Options of the `command` backend."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # -l: the long format, with the plan. -m: match login names only; without it, finger also matches full names.
    argv: tuple[str, ...] = Field(
        default=("finger", "-lm"),
        min_length=1,
        description='The program and its first arguments. "--" and the user\'s name are added; no shell is involved.',
    )
    timeout: float = Field(
        default=4.0,  # below the service's 5, so that the log says which program was late
        gt=0,
        allow_inf_nan=False,
        description="Seconds for an answer, including the wait for one of the `limit` programs to end.",
    )
    output_limit: int = Field(
        default=64 * 1024,
        gt=0,
        description="Bytes of an answer; a longer answer is cut, and a last line says so.",
    )
    limit: int = Field(default=4, gt=0, description="Programs at once; further queries wait.")
    unknown_pattern: str = Field(
        default=r"finger: .*: no such user\.?",
        description=(
            "A regular expression for the message that there is no such user. It must match the whole output or, if "
            "the program printed nothing, one whole line of its standard error."
        ),
    )
    unknown_status: tuple[int, ...] = Field(
        default=(),  # Debian's finger exits with 0 whether it finds the user or not
        description="Exit statuses that mean that there is no such user, whatever the program printed.",
    )
    output: Literal["socket", "pipe"] = Field(
        default="socket",
        description=(
            'The standard output of the program. With "socket", Debian\'s finger hides users with a ~/.nofinger, as it '
            'does for remote clients; with "pipe" it shows them, but programs can open /dev/stdout.'
        ),
    )

    @field_validator("argv")
    @classmethod
    def _can_be_arguments(cls, argv: tuple[str, ...]) -> tuple[str, ...]:
        if any("\0" in word for word in argv):
            raise ValueError("a program argument cannot contain a NUL character")
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
    """A backend that runs a program, by default the local finger, and returns its output. Cannot list or set.

    Raises:
        ValueError: the program does not exist or may not be executed; the message is for the operator.
    """
    program = shutil.which(options.argv[0])
    if program is None:
        raise ValueError(
            f"argv: there is no executable program {options.argv[0]!r} (PATH is {_search_path()!r}); "
            "install it, or give its full path"
        )
    yield CommandBackend(options, program)


@dataclass(slots=True)
class _Run:
    """The output of a program so far, and its exit status."""

    started: bool = False  # the program was started; before, it waited for others to end
    stdout: bytearray = field(default_factory=bytearray)
    stderr: bytearray = field(default_factory=bytearray)
    cut: bool = False  # there was more output; the program was killed
    status: int = 0  # as in subprocess: negative for a signal; meaningless if `cut`


class CommandBackend:
    """Created by `open_command`.

    Args:
        options: see `CommandOptions`.
        program: the path of `options.argv[0]`.
    """

    def __init__(self, options: CommandOptions, program: str) -> None:
        self._options = options
        self._program = program
        self._unknown = re.compile(options.unknown_pattern)
        self._running = trio.CapacityLimiter(options.limit)

    async def get_user(self, user: str) -> UserInfo | None:
        """The program's standard output for `user`.

        Any result other than an answer or "no such user" is a BackendError. The program's standard error is then
        logged, and never sent to a client.
        """
        if not is_user_name(user):  # the service checks this too, but here it is essential
            return None
        run = _Run()
        try:
            with trio.fail_after(self._options.timeout):
                await self._run(user, run)
            status = self._interpret(run)
        except trio.TooSlowError:
            busy = f"{self._running.borrowed_tokens:g} of {self._options.limit} running"
            why = "the program was running" if run.started else f"waiting for another program to end, {busy}"
            cause: Exception = TimeoutError(f"{self._program}: no answer within {self._options.timeout:g} s; {why}")
        except (OSError, subprocess.SubprocessError) as error:
            cause = error
        else:
            return None if status is None else UserInfo(user, status)
        if run.stderr:
            _log.warning(
                "%s for user %s wrote to standard error: %s",
                self._program,
                user,
                escape(bytes(run.stderr).strip(), _STDERR_LIMIT),
            )
        raise BackendError from cause

    async def _run(self, user: str, run: _Run) -> None:
        """Run the program for `user` and fill `run`. At the end, also on errors, its process group is killed."""
        token = object()
        await self._running.acquire_on_behalf_of(token)
        run.started = True
        with ExitStack() as held, ExitStack() as ends:
            held.callback(self._running.release_on_behalf_of, token)
            with ExitStack() as theirs:  # closed after the start: with a copy here, the output would never end
                stdout, their_stdout = _channel(self._options.output, ends, theirs)
                stderr, their_stderr = _channel("pipe", ends, theirs)
                # Starting a program cannot be cancelled. It takes a millisecond, unless the program's disk hangs.
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
                    nursery.start_soon(_read_stderr, stderr, run.stderr)
                    await _read_stdout(stdout, run, self._options.output_limit)
                    if run.cut:
                        nursery.cancel_scope.cancel()
            finally:
                # The exit status has not been collected yet, so the pid still belongs to this process.
                _kill_group(process.pid)
                with trio.move_on_after(_REAP_TIMEOUT, shield=True):
                    await process.wait()
                if process.returncode is None:
                    trio.lowlevel.spawn_system_task(self._reap, process, held.pop_all())
                else:
                    run.status = process.returncode

    async def _reap(self, process: trio.Process, held: ExitStack) -> None:
        _log.warning("%s, process %d, was killed and does not end", self._program, process.pid)
        with held:
            await process.wait()

    def _interpret(self, run: _Run) -> str | None:
        """The status, None for "no such user".

        No output at all and exit status 0 mean "no such user", which is the natural behaviour of a script.

        Raises:
            subprocess.SubprocessError: the program failed.
        """
        text = clean(decode(bytes(run.stdout), cut=run.cut)).rstrip("\n")
        if run.cut:  # the exit status is that of our signal
            _log.warning("%s: an answer of more than %d bytes was cut", self._program, self._options.output_limit)
            return f"{text}\n[cut here: the answer is longer than {self._options.output_limit} bytes]"
        if run.status in self._options.unknown_status:
            return None
        errors = clean(decode(bytes(run.stderr)))
        if any(map(self._unknown.fullmatch, [text] if text else errors.splitlines())):
            return None
        if run.status != 0:
            raise subprocess.CalledProcessError(run.status, self._program)
        if not text and errors:
            raise subprocess.SubprocessError(f"{self._program} wrote only to standard error")
        return text or None


def _search_path() -> str:
    return os.environ.get("PATH", os.defpath)


def _channel(kind: Literal["socket", "pipe"], ours: ExitStack, theirs: ExitStack) -> tuple[trio.lowlevel.FdStream, int]:
    """Our end and the program's end, each closed with its stack."""
    reading, writing = (end.detach() for end in socket.socketpair()) if kind == "socket" else os.pipe()
    theirs.callback(os.close, writing)
    stream = trio.lowlevel.FdStream(reading)
    ours.callback(stream.close)
    return stream, writing


async def _read_stdout(stdout: trio.lowlevel.FdStream, run: _Run, limit: int) -> None:
    """Read to the end or to the limit. The answer is cut, not rejected: the first 64 KiB of a long plan are useful."""
    while chunk := await stdout.receive_some(_CHUNK):
        run.stdout += chunk
        if len(run.stdout) > limit:
            del run.stdout[limit:]
            run.cut = True
            return


async def _read_stderr(stderr: trio.lowlevel.FdStream, kept: bytearray) -> None:
    """Read to the end, so that a full pipe does not block the program, and keep only the beginning."""
    while chunk := await stderr.receive_some(_CHUNK):
        kept += chunk[: _STDERR_LIMIT - len(kept)]


async def _kill_group_after(pidfd: int, pid: int) -> None:
    """Kill the group when the program has ended: remaining children would keep the output open and accumulate."""
    await trio.lowlevel.wait_readable(pidfd)
    _kill_group(pid)


def _kill_group(pid: int) -> None:
    """Call this only before the leader is reaped; afterwards its pid may be reused."""
    with suppress(ProcessLookupError, PermissionError):  # PermissionError: a set-user-id program; only waiting is left
        os.killpg(pid, signal.SIGKILL)
