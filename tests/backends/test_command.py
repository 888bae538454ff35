"""The command backend with real programs: correct and misbehaving scripts, and Debian's finger."""

import errno
import logging
import os
import pwd
import shutil
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
import trio
from pydantic import ValidationError
from trio.testing import MockClock

from fingertrio.backend import Backend, BackendError, ListsUsers, SetsStatus, UserInfo
from fingertrio.backends import command
from fingertrio.backends.command import CommandOptions, open_command
from fingertrio.testing import check_backend

Script = Callable[[str], tuple[str, ...]]


@pytest.fixture
def script(tmp_path: Path) -> Script:
    """Creates a shell script and returns its argv. In it, $1 is "--", $2 the user and $DIR `tmp_path`."""

    def write(body: str) -> tuple[str, ...]:
        path = tmp_path / f"script{len(list(tmp_path.glob('script*')))}"
        path.write_text(f"#!/bin/sh\nDIR='{tmp_path}'\n{body}\n")
        path.chmod(0o755)
        return (str(path),)

    return write


async def ask(options: CommandOptions, user: str = "moshez") -> str | None:
    async with open_command(options) as backend:
        info = await backend.get_user(user)
    assert info is None or info == UserInfo(user, info.status)
    return None if info is None else info.status


async def cause_of(options: CommandOptions) -> BaseException | None:
    """The cause of the failure."""
    with pytest.raises(BackendError) as failure:
        await ask(options)
    return failure.value.__cause__


async def until(happened: Callable[[], bool]) -> None:
    """Poll in real time: processes do not follow Trio's clock."""
    deadline = time.monotonic() + 10
    while not happened():
        assert time.monotonic() < deadline, "it never happened"
        await trio.to_thread.run_sync(time.sleep, 0.005)


def lines_of(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def descriptors() -> set[Path]:
    return set(Path("/proc/self/fd").iterdir())


def is_gone(pid: int) -> bool:
    """Whether a process has ended. A process that is not our child may stay a zombie until its new parent reaps it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


def has_children() -> bool:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


class TestWhatTheProgramGets:
    async def test_the_name_stands_after_two_dashes(self, script: Script) -> None:
        argv = (*script('printf "<%s>" "$@"'), "-x", "a b")
        assert await ask(CommandOptions(argv=argv)) == "<-x><a b><--><moshez>"

    async def test_a_name_in_any_script_arrives_as_utf_8(self, script: Script) -> None:
        assert await ask(CommandOptions(argv=script('printf "%s" "$2" | od -An -tx1')), "žofie") == " c5 be 6f 66 69 65"

    async def test_no_shell_reads_the_arguments(self, script: Script) -> None:
        argv = (*script('printf "%s" "$1"'), "$(id) ; id | cat")
        assert await ask(CommandOptions(argv=argv)) == "$(id) ; id | cat"

    async def test_nothing_of_our_environment(self, script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SECRET", "hush")
        environment = await ask(CommandOptions(argv=script("tr '\\0' '\\n' < /proc/$$/environ")))
        assert environment is not None
        assert sorted(environment.splitlines()) == ["LC_ALL=C.UTF-8", f"PATH={os.environ['PATH']}"]

    async def test_an_empty_standard_input(self, script: Script) -> None:
        """Not the server's, which may be a terminal or a socket from a service manager."""
        ours = os.dup(0)
        theirs, other = os.pipe()
        os.write(other, b"secret")
        os.close(other)
        os.dup2(theirs, 0)
        os.close(theirs)
        try:
            assert await ask(CommandOptions(argv=script("cat; echo read it"))) == "read it"
        finally:
            os.dup2(ours, 0)
            os.close(ours)

    async def test_no_descriptor_but_the_three(self, script: Script) -> None:
        kept = os.open("/dev/null", os.O_RDONLY)
        try:
            os.set_inheritable(kept, True)
            # 3 is opened by ls itself, to read the directory.
            assert await ask(CommandOptions(argv=script("ls /proc/self/fd | tr '\\n' ' '"))) == "0 1 2 3 "
        finally:
            os.close(kept)

    @pytest.mark.parametrize(("output", "kind"), [("socket", "-S"), ("pipe", "-p")])
    async def test_a_socket_or_a_pipe_to_write_to(self, script: Script, output: str, kind: str) -> None:
        """Debian's finger honours ~/.nofinger only if its standard output is a socket."""
        argv = script(f"[ {kind} /proc/self/fd/1 ] && echo yes")
        assert await ask(CommandOptions.model_validate({"argv": argv, "output": output})) == "yes"

    @pytest.mark.parametrize(
        "name",
        ["", "-l", "--help", "-", "--", "a b", "@host", "a@b", "|id", "../x", "/etc/passwd", "a\nb", "a\0b", "*"],
    )
    async def test_what_is_no_name_starts_nothing(self, script: Script, tmp_path: Path, name: str) -> None:
        assert await ask(CommandOptions(argv=script('touch "$DIR/started"; echo hi')), name) is None
        assert not (tmp_path / "started").exists()


class TestWhatTheProgramSays:
    async def test_its_last_line_ends_are_dropped(self, script: Script) -> None:
        assert await ask(CommandOptions(argv=script("printf '  In the garden\\n\\n  till six\\n\\n'"))) == (
            "  In the garden\n\n  till six"
        )

    async def test_it_may_take_its_time(self, script: Script) -> None:
        argv = script("printf 'In '; sleep 0.05; printf 'the '; sleep 0.05; echo garden")
        assert await ask(CommandOptions(argv=argv)) == "In the garden"

    async def test_crlf_becomes_lf_and_escapes_are_lost(self, script: Script) -> None:
        assert await ask(CommandOptions(argv=script(r"printf 'one\r\n\033[31mtwo\r\n'"))) == "one\ntwo"

    async def test_output_that_is_not_utf_8_is_windows_1252(self, script: Script) -> None:
        assert await ask(CommandOptions(argv=script(r"printf 'caf\351 \200'"))) == "café €"

    async def test_the_message_for_an_unknown_user_need_not_be_utf_8(self, script: Script) -> None:
        argv = script(r"printf 'finger: no such user: %s (gel\366scht)\n' \"$2\" >&2; exit 1".replace('\\"', '"'))
        options = CommandOptions(argv=argv, unknown_pattern=r"finger: no such user: .* \(gelöscht\)")
        assert await ask(options) is None

    async def test_standard_error_is_not_shown(self, script: Script, caplog: pytest.LogCaptureFixture) -> None:
        assert await ask(CommandOptions(argv=script("echo oh >&2; echo fine"))) == "fine"
        assert not caplog.records

    async def test_too_much_is_cut_and_the_program_stopped(self, script: Script, tmp_path: Path) -> None:
        argv = script('echo $$ > "$DIR/pid"; exec yes')
        status = await ask(CommandOptions(argv=argv, output_limit=10))
        assert status == "y\ny\ny\ny\ny\n[cut here: the answer is longer than 10 bytes]"
        assert is_gone(int(lines_of(tmp_path / "pid")[0]))

    async def test_exactly_the_limit_is_not_too_much(self, script: Script) -> None:
        assert await ask(CommandOptions(argv=script("printf 12345"), output_limit=5)) == "12345"

    async def test_a_cut_leaves_no_half_characters(self, script: Script) -> None:
        status = await ask(CommandOptions(argv=script("printf ééé"), output_limit=5))
        assert status == "éé\n[cut here: the answer is longer than 5 bytes]"

    async def test_a_flood_on_standard_error_does_not_block(self, script: Script) -> None:
        assert await ask(CommandOptions(argv=script("head -c 300000 /dev/zero >&2; echo fine"))) == "fine"


class TestNoSuchUser:
    async def test_the_way_finger_says_it(self, script: Script) -> None:
        assert await ask(CommandOptions(argv=script('echo "finger: $2: no such user." >&2'))) is None

    async def test_among_other_messages(self, script: Script) -> None:
        assert await ask(CommandOptions(argv=script(r'printf "hm\r\nfinger: %s: no such user.\r\n" "$2" >&2'))) is None

    async def test_on_standard_output_if_that_is_all_there_is(self, script: Script) -> None:
        options = CommandOptions.model_validate({"argv": script("echo '???'"), "unknown_pattern": r"\?+"})
        assert await ask(options) is None

    async def test_a_plan_that_says_so_is_still_a_plan(self, script: Script) -> None:
        argv = script("echo 'Plan:'; echo 'finger: moshez: no such user.'")
        assert await ask(CommandOptions(argv=argv)) == "Plan:\nfinger: moshez: no such user."

    async def test_an_answer_besides_the_complaint_counts(self, script: Script) -> None:
        assert await ask(CommandOptions(argv=script("echo here; echo 'finger: x: no such user.' >&2"))) == "here"

    async def test_by_exit_status(self, script: Script) -> None:
        assert await ask(CommandOptions(argv=script("echo who?; exit 67"), unknown_status=(1, 67))) is None

    async def test_by_silence(self, script: Script) -> None:
        assert await ask(CommandOptions(argv=script("exit 0"))) is None


class TestFailure:
    async def test_standard_error_goes_to_the_log_and_not_to_the_client(
        self, script: Script, caplog: pytest.LogCaptureFixture
    ) -> None:
        argv = script(r"echo half; printf 'database /srv/x\033 is gone\n' >&2; exit 3")
        with pytest.raises(BackendError) as failure:
            await ask(CommandOptions(argv=argv))
        assert failure.value.public_message == "Internal error in server"
        assert isinstance(failure.value.__cause__, subprocess.CalledProcessError)
        assert failure.value.__cause__.returncode == 3
        [record] = caplog.records
        assert record.name == "fingertrio.backends.command"
        assert record.levelno == logging.WARNING
        assert r"database /srv/x\x1b is gone" in record.getMessage()

    async def test_a_complaint_without_an_answer_is_one(self, script: Script) -> None:
        assert isinstance(await cause_of(CommandOptions(argv=script("echo hm >&2"))), subprocess.SubprocessError)

    async def test_death_by_a_signal_is_one(self, script: Script) -> None:
        cause = await cause_of(CommandOptions(argv=script("echo half; kill -SEGV $$")))
        assert isinstance(cause, subprocess.CalledProcessError)
        assert cause.returncode == -11

    async def test_only_the_beginning_of_a_long_complaint_is_logged(
        self, script: Script, caplog: pytest.LogCaptureFixture
    ) -> None:
        await cause_of(CommandOptions(argv=script("head -c 300000 /dev/zero | tr '\\0' x >&2; exit 1")))
        assert 4096 <= len(caplog.records[0].getMessage()) < 5000

    async def test_only_the_beginning_of_a_long_complaint_is_kept(self) -> None:
        ours, theirs = os.pipe()
        kept = bytearray()
        async with trio.lowlevel.FdStream(ours) as stderr, trio.open_nursery() as nursery:
            nursery.start_soon(command._read_stderr, stderr, kept)
            async with trio.lowlevel.FdStream(theirs) as complaining:
                for length in (1000, 300_000, 1):
                    await complaining.send_all(b"x" * length)
        assert len(kept) == 4096

    async def test_a_program_that_went_away(self, script: Script, caplog: pytest.LogCaptureFixture) -> None:
        argv = script('rm "$0"')
        async with open_command(CommandOptions(argv=argv)) as backend:
            assert await backend.get_user("moshez") is None
            for _ in range(5):  # more than `limit`: a failed start does not count
                with pytest.raises(BackendError) as failure:
                    await backend.get_user("moshez")
                assert isinstance(failure.value.__cause__, FileNotFoundError)

    async def test_no_descriptors_left(self, script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
        """The first channel is open and the second cannot be opened."""

        def refuse() -> tuple[int, int]:
            raise OSError(errno.EMFILE, "Too many open files")

        before = descriptors()
        monkeypatch.setattr(os, "pipe", refuse)
        assert isinstance(await cause_of(CommandOptions(argv=script("echo hi"))), OSError)
        assert descriptors() == before

    async def test_a_missing_program_is_told_at_start(self, tmp_path: Path) -> None:
        (tmp_path / "not-executable").touch()
        for program in ("no-such-finger", "", str(tmp_path / "nowhere"), str(tmp_path / "not-executable")):
            with pytest.raises(ValueError, match=program or "''"):
                await ask(CommandOptions(argv=(program,)))


class TestEnding:
    """However a query ends, no process is left."""

    @pytest.fixture
    def stay(self, script: Script) -> str:
        """A command that ignores all signals but KILL and writes its pid to `pids`. After 30 s it ends by itself."""
        [path] = script(
            "trap '' TERM INT HUP QUIT PIPE; echo $$ >> \"$DIR/pids\"; for i in 1 2 3 4 5 6; do sleep 5; done"
        )
        return path

    @pytest.fixture
    def family(self, script: Script, stay: str, tmp_path: Path) -> Callable[[str], tuple[str, ...]]:
        """Creates a script with a child and two grandchildren that keep the output open, and returns its argv."""

        def make(ending: str) -> tuple[str, ...]:
            wait = 'while [ "$(wc -l < "$DIR/pids")" -lt 4 ]; do sleep 0.01; done'
            return script(f'echo $$ > "$DIR/pids"; {stay} & ({stay} & {stay} &) & {wait}; echo all here; {ending}')

        return make

    async def test_a_time_out_ends_the_whole_family(
        self,
        family: Script,
        stay: str,
        tmp_path: Path,
        mock_clock: MockClock,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        pids = tmp_path / "pids"

        async def pass_time() -> None:
            await until(lambda: len(lines_of(pids)) == 5)
            mock_clock.jump(4.0)

        argv = family(f"echo waiting for the moon >&2; exec {stay}")
        async with open_command(CommandOptions(argv=argv)) as backend, trio.open_nursery() as nursery:
            nursery.start_soon(pass_time)
            with pytest.raises(BackendError) as failure:
                await backend.get_user("moshez")
        assert isinstance(failure.value.__cause__, TimeoutError)
        assert "no answer within 4 s" in str(failure.value.__cause__)
        assert "waiting for the moon" in caplog.text
        assert not has_children()
        for pid in lines_of(pids):
            await until(partial(is_gone, int(pid)))

    async def test_so_does_cancellation(self, family: Script, stay: str, tmp_path: Path) -> None:
        pids = tmp_path / "pids"
        async with open_command(CommandOptions(argv=family(f"exec {stay}"))) as backend:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(backend.get_user, "moshez")
                await until(lambda: len(lines_of(pids)) == 5)
                nursery.cancel_scope.cancel()
            assert not has_children()
            for pid in lines_of(pids):
                await until(partial(is_gone, int(pid)))

    async def test_so_does_the_programs_own_end(self, family: Script, tmp_path: Path) -> None:
        """Its children hold its output open; the answer does not wait for them."""
        assert await ask(CommandOptions(argv=family("exit 0"))) == "all here"
        for pid in lines_of(tmp_path / "pids"):
            await until(partial(is_gone, int(pid)))

    async def test_a_program_that_closes_its_output_is_waited_for(self, script: Script, tmp_path: Path) -> None:
        argv = script(
            'echo hi; exec >&- 2>&-; for i in $(seq 2000); do [ -e "$DIR/go" ] && break; sleep 0.01; done; exit 9'
        )
        answers: list[BaseException | None] = []

        async def ask_it() -> None:
            answers.append(await cause_of(CommandOptions(argv=argv)))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask_it)
            await until(has_children)
            (tmp_path / "go").touch()
        assert isinstance(answers[0], subprocess.CalledProcessError)

    async def test_a_process_that_cannot_be_ended_counts_against_the_limit_and_the_query_returns(
        self, script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Such as a set-user-id program, or a process that is blocked in a dead file system."""

        def refuse(_group: int, _signal: int) -> None:
            raise PermissionError

        monkeypatch.setattr(os, "killpg", refuse)
        monkeypatch.setattr(command, "_REAP_TIMEOUT", 0)
        argv = script('for i in $(seq 2000); do [ -e "$DIR/go" ] && break; sleep 0.01; done; echo hi')
        async with open_command(CommandOptions(argv=argv, limit=1, timeout=0.1)) as backend:
            for why in ("the program was running", "waiting for another program to end, 1 of 1 running"):
                with pytest.raises(BackendError) as failure:
                    await backend.get_user("moshez")
                assert str(failure.value.__cause__).endswith(why)
            assert caplog.text.count("was killed and does not end") == 1
            (tmp_path / "go").touch()
            await until(lambda: not has_children())
            monkeypatch.undo()
            with trio.fail_after(5):
                while (info := await answer_or_none(backend)) is None:
                    await trio.lowlevel.checkpoint()
            assert info.status == "hi"

    async def test_nothing_leaks(self, script: Script) -> None:
        """No descriptors and no zombies, however the program ends."""
        kinds = ["echo hi", "exit 1", "exec yes", "exec sleep 60", "sleep 60 & echo hi", "kill -9 $$", 'rm "$0"']
        before = descriptors()
        for argv in map(script, kinds):
            async with open_command(CommandOptions(argv=argv, timeout=0.2, output_limit=100)) as backend:
                for _ in range(2):
                    with suppress(BackendError):
                        await backend.get_user("moshez")
        assert descriptors() == before
        assert not has_children()


async def answer_or_none(backend: Backend) -> UserInfo | None:
    with suppress(BackendError):
        return await backend.get_user("moshez")
    return None


async def test_only_so_many_run_at_once(script: Script, tmp_path: Path) -> None:
    """`limit` programs (each waits until a second has started), and never more."""
    (tmp_path / "started").mkdir()
    (tmp_path / "running").mkdir()
    together = (
        'while [ "$(ls "$DIR/started" | wc -l)" -lt 2 ]; do sleep 0.01; done; sleep 0.02; ls "$DIR/running" | wc -l'
    )
    argv = script(f'touch "$DIR/started/$$" "$DIR/running/$$"; {together}; rm "$DIR/running/$$"')
    seen: list[int] = []

    async def ask_once(backend: Backend) -> None:
        info = await backend.get_user("moshez")
        assert info is not None
        seen.append(int(info.status))

    async with open_command(CommandOptions(argv=argv, limit=2)) as backend, trio.open_nursery() as nursery:
        for _ in range(6):
            nursery.start_soon(ask_once, backend)
    assert len(seen) == 6
    assert max(seen) <= 2


class TestOptions:
    @pytest.mark.parametrize(
        "mistake",
        [
            {"argv": []},
            {"argv": "finger -lm"},
            {"argv": ["finger", "a\0b"]},
            {"timeout": 0},
            {"timeout": "inf"},
            {"limit": 0},
            {"output_limit": 0},
            {"unknown_pattern": "("},
            {"output": "file"},
            {"shell": True},
        ],
        ids=str,
    )
    def test_mistakes_are_refused(self, mistake: dict[str, object]) -> None:
        with pytest.raises(ValidationError):
            CommandOptions.model_validate(mistake)

    def test_each_is_described(self) -> None:
        assert all(field.description for field in CommandOptions.model_fields.values())


class TestDebiansFinger:
    @pytest.fixture(autouse=True)
    def finger(self) -> None:
        if shutil.which("finger") is None:
            pytest.skip("needs finger (Debian package finger)")

    async def test_it_tells_of_the_current_user(self) -> None:
        user = pwd.getpwuid(os.getuid())
        status = await ask(CommandOptions(), user.pw_name)
        assert status is not None
        assert f"Login: {user.pw_name}" in status
        assert f"Directory: {user.pw_dir}" in status
        assert "\r" not in status

    @pytest.mark.parametrize("name", ["no-such-user", "0", "žofie", "a" * 64])
    async def test_it_knows_no_other_user(self, name: str) -> None:
        assert await ask(CommandOptions(), name) is None

    async def test_it_does_not_look_for_parts_of_names(self) -> None:
        """Without -m, "o" would match every user with this word in the full name."""
        for part in {word for entry in pwd.getpwall() for word in entry.pw_gecos.replace(",", " ").split()}:
            if part not in {entry.pw_name for entry in pwd.getpwall()}:
                assert await ask(CommandOptions(), part) is None


async def test_contract(script: Script) -> None:
    argv = script('[ "$2" = moshez ] && echo Happy and well')
    options = CommandOptions(argv=argv, unknown_status=(1,))
    await check_backend(lambda: open_command(options), known={"moshez": "Happy and well"})


async def test_it_neither_lists_nor_sets() -> None:
    async with open_command(CommandOptions(argv=("true",))) as backend:
        assert isinstance(backend, Backend)
        assert not isinstance(backend, ListsUsers | SetsStatus)
