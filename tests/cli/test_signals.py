"""SIGINT and SIGHUP before the supervisor runs; tests/cli/test_commands.py tests real programs."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from fingertrio.cli.signals import EarlySignals

NUMBERS = (signal.SIGINT, signal.SIGHUP)


@pytest.fixture
def hangups() -> Iterator[list[int]]:
    """The signals that reach the handler installed before `EarlySignals`."""
    before = {number: signal.getsignal(number) for number in NUMBERS}
    seen: list[int] = []
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, lambda number, _frame: seen.append(number))
    yield seen
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_hangup_is_kept_and_delivered_once(hangups: list[int]) -> None:
    signals, before = EarlySignals(), [signal.getsignal(number) for number in NUMBERS]
    signals.take()
    signal.raise_signal(signal.SIGHUP)
    signal.raise_signal(signal.SIGHUP)
    assert not hangups
    signals.give_back()
    assert hangups == [signal.SIGHUP]
    assert [signal.getsignal(number) for number in NUMBERS] == before
    signals.deliver()
    assert hangups == [signal.SIGHUP]


def test_without_a_hangup_there_is_none(hangups: list[int]) -> None:
    signals = EarlySignals()
    signals.take()
    signals.give_back()
    assert not hangups


def test_sigint_that_was_ignored_stays_so(hangups: list[int]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signals = EarlySignals()
    signals.take()
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    with signals.unwinding():
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    signals.give_back()
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_where_something_must_be_closed_sigint_is_an_exception_and_afterwards_nothing(hangups: list[int]) -> None:
    signals = EarlySignals()
    signals.take()
    with pytest.raises(KeyboardInterrupt), signals.unwinding():
        signal.raise_signal(signal.SIGINT)
    signal.raise_signal(signal.SIGINT)


def test_not_taken_nothing_changes(hangups: list[int]) -> None:
    signals, before = EarlySignals(), [signal.getsignal(number) for number in NUMBERS]
    with signals.unwinding():
        assert [signal.getsignal(number) for number in NUMBERS] == before
    signals.give_back()
    assert [signal.getsignal(number) for number in NUMBERS] == before


def test_after_the_handlers_are_installed_nothing_is_blocked(hangups: list[int]) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {*NUMBERS, signal.SIGTERM, signal.SIGABRT})
    signal.raise_signal(signal.SIGHUP)
    signals = EarlySignals()
    signals.take()
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, ())
    signals.give_back()
    assert hangups == [signal.SIGHUP]


def test_the_status_of_a_child_is_known_although_the_parent_ignored_sigchld() -> None:
    code = (
        "import signal, subprocess, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN); "
        "from fingertrio.cli.signals import EarlySignals; EarlySignals().take(); "
        "sys.exit(subprocess.run([sys.executable, '-c', 'raise SystemExit(7)']).returncode)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 7


def test_nothing_slow_is_imported_before_the_handlers_are_installed() -> None:
    code = (
        "import sys; import fingertrio.cli.main; "
        "print(sorted(sys.modules.keys() & {'typing', 'contextlib', 're', 'click', 'trio'}))"
    )
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
