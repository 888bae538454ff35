"""The observer: what is counted, what waits to be written, and conditions, which are logged when they change."""

import errno
import io
import json
import logging
import os
import re
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fingertrio.observe.observer import Observer, error_text
from tests.helpers import raised

ANY_TEXT = st.text(st.characters())  # lone surrogates included, which is how bytes that are not UTF-8 arrive


class Watched:
    """An observer, what it wrote, and its clock."""

    def __init__(self, **options):
        self.stream = io.StringIO()
        self.now = 1000.0
        self.observer = Observer(self.stream, human=False, clock=lambda: self.now, **options)

    def lines(self):
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]

    def events(self):
        return [line["event"] for line in self.lines()]


@pytest.fixture
def watched():
    return Watched()


@pytest.fixture
def observer(watched):
    return watched.observer


class TestQueries:
    def test_a_query_is_counted_timed_and_its_bytes_added(self, observer):
        observer.query("finger", "192.0.2.1", "moshez", "ok", 0.25, 16)
        observer.query("finger", "192.0.2.1", "nobody", "unknown", 0.5, 14)
        assert observer.metrics.queries == {("finger", "ok"): 1, ("finger", "unknown"): 1}
        assert observer.metrics.bytes_sent == {"finger": 30}
        assert observer.metrics.query_seconds["finger"].sum == 0.75

    def test_its_line_waits_until_it_is_flushed(self, watched, observer):
        observer.query("finger", "192.0.2.1", "moshez", "ok", 0.00125, 16)
        assert watched.lines() == []
        observer.flush()
        [line] = watched.lines()
        assert line.pop("timestamp").endswith("Z")
        assert line == {
            "event": "query",
            "door": "finger",
            "peer": "192.0.2.1",
            "asked": "moshez",
            "outcome": "ok",
            "ms": 1.25,
            "bytes": 16,
            "level": "info",
        }
        observer.flush()
        assert len(watched.lines()) == 1

    def test_an_event_comes_after_the_queries_before_it(self, watched, observer):
        observer.query("finger", "192.0.2.1", "moshez", "ok", 0.1, 16)
        observer.warning("cannot_accept")
        assert watched.events() == ["query", "cannot_accept"]

    @given(ANY_TEXT, ANY_TEXT)
    def test_whatever_was_asked_by_whomever_it_is_one_record_in_ascii(self, peer, asked):
        watched = Watched()
        watched.observer.query("finger", peer, asked, "bad", 0.0, 0)
        watched.observer.flush()
        text = watched.stream.getvalue()
        assert text.isascii()
        assert text.count("\n") == 1
        assert json.loads(text)["outcome"] == "bad"

    @given(ANY_TEXT, ANY_TEXT)
    def test_on_a_terminal_too(self, peer, asked):
        stream = io.StringIO()
        observer = Observer(stream, human=True)
        observer.query("finger", peer, asked, "bad", 0.0, 0)
        observer.flush()
        line = stream.getvalue().removesuffix("\n")
        assert line.isascii()
        assert line.isprintable()

    @pytest.mark.parametrize("human", [False, True])
    @pytest.mark.parametrize(
        ("one", "other"), [("\x1b", r"\x1b"), ("\\", "\\\\"), ('a"', r"a\""), ("\u202e", r"\u202e")]
    )
    def test_what_was_typed_and_what_was_escaped_can_be_told_apart(self, human, one, other):
        stream = io.StringIO()
        observer = Observer(stream, human=human)
        for asked in (one, other):
            observer.query("finger", "192.0.2.1", asked, "bad", 0.0, 0)
        observer.flush()
        first, second = (line.partition("192.0.2.1")[2] for line in stream.getvalue().splitlines())
        assert first != second

    def test_on_a_terminal_it_stands_in_quotes_escaped_once(self):
        stream = io.StringIO()
        observer = Observer(stream, human=True)
        observer.query("finger", "192.0.2.1", 'a\x1b"', "bad", 0.00125, 7)
        observer.flush()
        assert stream.getvalue().partition(" ")[2] == 'finger  192.0.2.1 "a\\x1b\\"" bad 1.25 ms 7 B\n'

    def test_the_address_is_cut_if_wished(self):
        watched = Watched(anonymize=True)
        watched.observer.query("finger", "192.0.2.77", "moshez", "ok", 0.1, 16)
        watched.observer.error("connection_failed", peer="192.0.2.77")
        assert [line["peer"] for line in watched.lines()] == ["192.0.2.0/24"] * 2

    @pytest.mark.parametrize("options", [{"level": "warning"}, {}])
    def test_they_are_counted_though_they_are_not_logged(self, options):
        observer = Watched(**options).observer if options else Observer()
        observer.query("finger", "192.0.2.1", "moshez", "ok", 0.1, 16)
        observer.flush()
        assert observer.metrics.queries["finger", "ok"] == 1

    def test_below_info_they_have_no_lines(self):
        watched = Watched(level="warning")
        watched.observer.query("finger", "192.0.2.1", "moshez", "ok", 0.1, 16)
        watched.observer.info("listening")
        watched.observer.warning("cannot_accept")
        assert watched.events() == ["cannot_accept"]

    def test_a_log_that_cannot_be_written_stops_nothing_and_is_counted(self):
        class Full(io.StringIO):
            def write(self, _text):
                raise OSError(errno.ENOSPC, "No space left on device")

        observer = Observer(Full(), human=False)
        for _ in range(3):
            observer.query("finger", "192.0.2.1", "moshez", "ok", 0.1, 16)
        observer.flush()
        observer.error("failed", exc=ValueError())
        assert observer.metrics.lines_lost == 4

    @pytest.mark.parametrize("human", [False, True])
    def test_nor_does_a_pipe_whose_reader_has_gone(self, human):
        """A real one: Python's buffers keep what could not be written, and must neither grow nor fail at the end."""
        reader, writer = os.pipe()
        os.close(reader)
        with suppress(BrokenPipeError), os.fdopen(writer, "w", encoding="ascii") as stream:
            observer = Observer(stream, human=human)
            for number in range(3):
                observer.query("finger", "192.0.2.1", "moshez", "ok", 0.1, 16)
                observer.flush()
                observer.warning("odd", number=number)
        assert observer.metrics.lines_lost == 6

    @pytest.mark.parametrize("human", [False, True])
    def test_nor_does_a_stream_that_was_closed(self, human):
        stream = io.StringIO()
        observer = Observer(stream, human=human)
        stream.close()
        observer.query("finger", "192.0.2.1", "moshez", "ok", 0.1, 16)
        observer.error("failed", exc=ValueError())
        assert observer.metrics.lines_lost >= 2


class TestEvents:
    def test_warnings_and_errors_are_counted_with_and_without_a_log(self):
        for observer in (Observer(), Watched().observer, Watched(level="error").observer):
            observer.info("ready")
            observer.warning("cannot_accept")
            observer.error("failed")
            observer.error("failed")
            assert observer.metrics.events == {"warning": 1, "error": 2}

    def test_a_warning_names_the_cause_and_an_error_shows_where_it_came_from(self, watched, observer):
        failure = raised(ValueError("wrong\n"), cause=OSError("gone"))
        observer.warning("odd", exc=failure)
        observer.error("odd", exc=failure)
        warning, error = watched.lines()
        assert warning["cause"] == r"ValueError: wrong\x0a, caused by OSError: gone"
        assert "in raised" in error["exception"]

    def test_what_libraries_log_comes_out_here(self, watched, observer):
        root, ours = logging.getLogger(), logging.getLogger("fingertrio")
        before = root.handlers[:], root.level, ours.level
        try:
            observer.adopt_stdlib_logging()
            logging.getLogger("some.library").info("chatter")
            logging.getLogger("some.library").warning("%s is odd", "this")
            logging.getLogger("fingertrio.backends.file").info("reloaded")
            logging.getLogger("some.library").error("broken")
        finally:
            root.handlers[:] = before[0]
            root.setLevel(before[1])
            ours.setLevel(before[2])
        assert [(line["level"], line["event"], line["logger"]) for line in watched.lines()] == [
            ("warning", "this is odd", "some.library"),
            ("info", "reloaded", "fingertrio.backends.file"),
            ("error", "broken", "some.library"),
        ]


class TestConditions:
    def test_one_begins_and_ends(self, watched, observer):
        observer.degraded("backend", "down")
        assert not observer.metrics.ready
        watched.now += 5
        observer.degraded("backend", "down")
        observer.recovered("backend")
        assert observer.metrics.ready
        begun, ended = watched.lines()
        assert (begun["event"], begun["what"], begun["reason"]) == ("degraded", "backend", "down")
        assert (ended["event"], ended["what"], ended["seconds"], ended["times"]) == ("recovered", "backend", 5.0, 2)

    def test_what_was_never_degraded_does_not_recover(self, watched, observer):
        observer.recovered("backend")
        assert watched.lines() == []

    def test_each_is_a_condition_of_its_own(self, watched, observer):
        observer.degraded("change_feed", "broken", essential=False)
        assert observer.metrics.ready
        observer.degraded("backend", "down")
        observer.recovered("change_feed")
        assert not observer.metrics.ready
        assert watched.events() == ["degraded", "degraded", "recovered"]

    def test_a_bug_is_logged_with_its_traceback(self, watched, observer):
        observer.degraded("backend", "crashed", exc=raised(KeyError("user")), unforeseen=True)
        [line] = watched.lines()
        assert line["level"] == "error"
        assert "KeyError: 'user'" in line["exception"]

    def test_a_reporter_that_tells_the_log_itself_can_have_it_kept_quiet(self, watched, observer):
        observer.degraded("irc_connection", "refused", essential=False, quiet=True)
        observer.degraded("irc_connection", "timed out", essential=False, quiet=True)
        assert observer.metrics.conditions["irc_connection"].reason == "timed out"
        observer.recovered("irc_connection")
        assert (observer.metrics.conditions, watched.lines()) == ({}, [])

    def test_a_front_end_that_restarts_is_degraded_until_it_can_serve_again(self, watched, observer):
        observer.restarted("http")
        watched.now += 2
        observer.restarted("http")
        assert observer.metrics.restarts == {"http": 2}
        assert not observer.metrics.ready
        observer.recovered("http")
        assert observer.metrics.ready
        [line] = watched.lines()
        assert (line["event"], line["what"], line["seconds"], line["times"]) == ("recovered", "http", 2.0, 2)


def test_an_exception_is_described_with_its_causes_in_one_line():
    error = ValueError("outer")
    error.__cause__ = ExceptionGroup("both", [OSError("inner"), KeyError()])
    assert error_text(error) == "ValueError: outer, caused by OSError: inner"
    assert error_text(TimeoutError()) == "TimeoutError"


def test_a_chain_of_causes_that_bites_its_tail_ends():
    first, second = ValueError("1"), ValueError("2")
    first.__cause__, second.__cause__ = second, first
    assert error_text(first).count("ValueError") == 5


def test_what_only_wraps_a_cause_is_left_out():
    attempts = OSError("all attempts failed")
    attempts.__cause__ = ExceptionGroup("several", [ConnectionRefusedError(111, "refused")])
    gone = RuntimeError("gone")
    gone.__cause__ = attempts
    assert error_text(gone) == "RuntimeError: gone, caused by ConnectionRefusedError: [Errno 111] refused"


def test_an_audit_line_is_that_of_an_event_and_waits_for_the_query_it_belongs_to():
    fields = {"user": "s\u00f8ren", "by": None, "bytes": 5, "until": None, "status": 'a\n\x1b"\\'}
    log, plain = io.StringIO(), io.StringIO()
    observer = Observer(log, human=False)
    observer.audit("set", **fields)
    assert log.getvalue() == ""
    observer.flush()
    Observer(plain, human=False).info("set", **fields)
    written, expected = (json.loads(stream.getvalue()) for stream in (log, plain))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", written.pop("timestamp"))
    del expected["timestamp"]
    assert written == expected
    assert list(written) == list(expected)


def test_an_audit_line_is_shown_at_a_terminal_and_left_out_above_its_level():
    log = io.StringIO()
    Observer(log, human=True).audit("set", user="ada")
    assert "user=ada" in log.getvalue()
    quiet = Observer(io.StringIO(), human=False, level="warning")
    quiet.audit("set", user="ada")
    quiet.flush()
