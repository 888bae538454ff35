"""One form for every error, and the exit statuses."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Sequence

import click
import pytest

from fingertrio.cli import errors
from fingertrio.cli.commands import cli
from fingertrio.cli.errors import nearest, reported
from fingertrio.testing.process import COMMAND, environment
from tests.helpers import loopback_listener


def ended(error: BaseException, capsys: pytest.CaptureFixture[str]) -> tuple[object, str]:
    with pytest.raises(SystemExit) as end, reported():
        raise error
    out, err = capsys.readouterr()
    assert out == ""
    return end.value.code, err


def interrupted(kind: type[BaseException]) -> BaseException:
    error = kind()
    error.__cause__ = KeyboardInterrupt()
    return error


def interrupted_prompt() -> click.Abort:
    """What click's own prompts raise at Ctrl-C: `raise Abort from None`."""
    error = click.Abort()
    error.__context__ = KeyboardInterrupt()
    return error


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (click.ClickException("user ada exists already"), 1, "fingertrio: user ada exists already\n"),
        (click.UsageError("Missing option '--x'."), 2, "fingertrio: missing option '--x' (fingertrio --help)\n"),
        (click.UsageError("URL is wrong"), 2, "fingertrio: URL is wrong (fingertrio --help)\n"),
        (click.Abort(), 1, "fingertrio: nothing was changed\n"),
        (interrupted(click.Abort), 130, ""),
        (interrupted_prompt(), 130, ""),
        (KeyboardInterrupt(), 130, ""),
        (BaseExceptionGroup("tasks", [BaseExceptionGroup("more", [KeyboardInterrupt()])]), 130, ""),
        (click.exceptions.Exit(7), 7, ""),
        (SystemExit(3), 3, ""),
    ],
)
def test_every_end_has_its_status_and_at_most_one_message(
    error: BaseException, status: int, message: str, capsys: pytest.CaptureFixture[str]
):
    assert ended(error, capsys) == (status, message)


def test_a_bug_is_not_hidden():
    with pytest.raises(ZeroDivisionError), reported():
        raise ZeroDivisionError
    with pytest.RaisesGroup(ZeroDivisionError), reported():
        raise ExceptionGroup("tasks", [ZeroDivisionError()])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["finder"], "there is no command finder; did you mean finger or webfinger? (fingertrio --help)"),
        (["user", "lisst"], "there is no command lisst; did you mean list? (fingertrio user --help)"),
        (["set", "--unti", "x"], "no such option '--unti'"),
        (["set", "--until"], "option '--until' requires an argument"),
        (["user", "show"], "missing argument 'USER' (fingertrio user show --help)"),
    ],
)
def test_wrong_usage_names_the_help_and_what_is_similar(
    arguments: Sequence[str], message: str, capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(SystemExit) as end, reported():
        cli(arguments, prog_name="fingertrio", standalone_mode=False)
    assert end.value.code == 2
    assert capsys.readouterr().err.replace("Did", "did").startswith(f"fingertrio: {message}")


def test_similar_names_are_named():
    assert nearest("mosez", ["ada", "moshez"]) == "; did you mean moshez?"
    assert nearest("x", ["ada", "moshez"]) == ""


def test_the_statuses_are_in_the_help(capsys: pytest.CaptureFixture[str]):
    cli(["--help"], prog_name="fingertrio", standalone_mode=False)
    assert " ".join(errors.STATUSES.split()) in " ".join(capsys.readouterr().out.split())


def test_ctrl_c_ends_a_question_without_a_message():
    with loopback_listener() as listener:
        listener.setblocking(True)
        host, port = listener.getsockname()
        command = [*COMMAND, "finger", f"ada@{host}:{port}"]
        process = subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        connection, _ = listener.accept()
        with connection, process:
            assert connection.recv(3) == b"ada"
            process.send_signal(signal.SIGINT)
            assert (process.wait(20), *process.communicate()) == (130, b"", b"\n")  # the next prompt begins a line
