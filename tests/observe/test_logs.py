"""From an event to a line: nothing forges one, nothing steers a terminal, and nothing that fails stops the program."""

import errno
import io
import json
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fingertrio.observe.logs import Sink, StdlibHandler, cut_address, goes_to_journal, make_logger, peer_formatter
from tests.helpers import raised

NASTY = 'a\x1b[31m\r\n{"event": "forged"}\x9b\u202e\u2028"\\'


class Full(io.StringIO):
    """A stream on a full disk."""

    def write(self, _text):
        raise OSError(errno.ENOSPC, "No space left on device")


def logger(stream, *, human=False, anonymize=False, lost=lambda _lines: None):
    return make_logger(
        Sink(stream, lost),
        human=human,
        colors=False,
        level=logging.DEBUG,
        show_peer=peer_formatter(anonymize=anonymize),
    )


@pytest.mark.parametrize("human", [False, True])
def test_an_event_is_one_line_of_printable_characters_whatever_its_fields_hold(human):
    stream = io.StringIO()
    logger(stream, human=human).warning(NASTY, peer=NASTY, asked=NASTY, number=3, listed=[NASTY])
    line = stream.getvalue()
    assert line.endswith("\n")
    assert line.removesuffix("\n").isprintable()


def test_a_field_comes_out_of_json_as_it_was_or_escaped():
    stream = io.StringIO()
    logger(stream).info("x", plain='Grüße "quoted"', nasty="a\x1b\n")
    record = json.loads(stream.getvalue())
    assert record["plain"] == 'Grüße "quoted"'
    assert record["nasty"] == r"a\x1b\x0a"
    assert record["level"] == "info"
    assert record["timestamp"].endswith("Z")


def test_a_traceback_on_a_terminal_is_clean_and_no_line_of_it_looks_like_a_record():
    stream = io.StringIO()
    logger(stream, human=True).error("failed", exc_info=raised(ValueError("x\x1b[2J\n12:00:00 [info] forged")))
    first, *rest = stream.getvalue().splitlines()
    assert "failed" in first
    assert any("forged" in line for line in rest)
    assert all(line.startswith("    ") and line.isprintable() for line in rest)


def test_a_traceback_in_json_is_a_field():
    stream = io.StringIO()
    logger(stream).error("failed", exc_info=raised(ValueError("x\n")))
    record = json.loads(stream.getvalue())
    assert "ValueError: x" in record["exception"]
    assert stream.getvalue().count("\n") == 1


@pytest.mark.parametrize("human", [False, True])
def test_a_log_that_cannot_be_written_is_counted_and_stops_nothing(human):
    lost: list[int] = []
    full = logger(Full(), human=human, lost=lost.append)
    full.info("x")
    full.error("y", peer="192.0.2.1")
    assert lost == [1, 1]


def test_a_stream_that_was_closed_is_one_that_cannot_be_written():
    stream = io.StringIO()
    stream.close()
    lost: list[int] = []
    Sink(stream, lost.append).write("a\nb\n")
    assert lost == [2]


@pytest.mark.parametrize(
    ("peer", "cut"),
    [
        ("192.0.2.77", "192.0.2.0/24"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1::/48"),
        ("fe80::1%eth0", "fe80::/48"),
        ("::ffff:192.0.2.77", "192.0.2.0/24"),
        ("::1", "::/48"),
        ("unix", "unix"),
        ("-", "-"),
        ("alice!~al@192.0.2.77", "alice!~al@192.0.2.0/24"),
        ("alice!~al@2001:db8:1:2::6", "alice!~al@2001:db8:1::/48"),
        ("alice!~al@dsl-192-0-2-77.example.net", "alice!~al@*"),
        ("alice", "alice"),
    ],
)
def test_a_cut_address_keeps_the_network_and_nothing_of_the_subscriber(peer, cut):
    assert cut_address(peer) == cut


@given(st.ip_addresses(), st.integers(0, 2**40))
def test_neighbours_cannot_be_told_apart(address, offset):
    size = 8 if address.version == 4 else 80
    first = int(address) >> size << size
    neighbour = type(address)(first + offset % 2**size)
    if address.version == 4 or address.ipv4_mapped is None:
        assert cut_address(str(address)) == cut_address(str(neighbour))


def test_peers_are_cut_in_every_event_on_request_and_otherwise_shown_whole():
    for anonymize, shown in ((False, "192.0.2.77"), (True, "192.0.2.0/24")):
        stream = io.StringIO()
        logger(stream, anonymize=anonymize).info("connection_failed", peer="192.0.2.77", door="finger")
        assert json.loads(stream.getvalue())["peer"] == shown


@given(st.text())
def test_a_peer_is_shown_in_printable_ascii_whatever_it_is(text):
    for anonymize in (False, True):
        shown = peer_formatter(anonymize=anonymize)(text)
        assert shown.isascii()
        assert shown == "" or shown.isprintable()


def test_a_record_of_logging_is_passed_on_with_its_exception():
    records = []
    handler = StdlibHandler(lambda *record: records.append(record))
    error = raised(ValueError("x"))
    record = logging.LogRecord("some.library", logging.ERROR, "", 1, "%s failed", ("it",), (type(error), error, None))
    handler.handle(record)
    assert records == [(logging.ERROR, "it failed", "some.library", error)]


def test_a_message_whose_placeholders_do_not_fit_is_passed_on_unchanged():
    records = []
    handler = StdlibHandler(lambda *record: records.append(record))
    handler.handle(logging.LogRecord("x", logging.WARNING, "", 1, "%d users", ("no number",), None))
    assert records == [(logging.WARNING, "%d users", "x", None)]


def test_to_the_journal_what_is_worse_than_usual_says_how_bad_it_is():
    stream = io.StringIO()
    log = make_logger(
        Sink(stream, lambda _lines: None),
        human=False,
        colors=False,
        level=logging.INFO,
        show_peer=peer_formatter(anonymize=False),
        prioritized=True,
    )
    log.info("ready")
    log.warning("degraded", what="<3>")
    log.error("failed", exc_info=raised(ValueError("x")))
    info, warning, error = stream.getvalue().splitlines()
    assert json.loads(info)["event"] == "ready"
    assert warning.startswith("<4>{")
    assert json.loads(warning[3:])["what"] == "<3>"
    assert error.startswith("<3>{")
    assert "ValueError: x" in json.loads(error[3:])["exception"]


def test_the_journal_is_known_by_what_the_service_manager_says_of_it(tmp_path, monkeypatch):
    with (tmp_path / "journal").open("w") as journal, (tmp_path / "other").open("w") as other:
        about = (tmp_path / "journal").stat()
        monkeypatch.setenv("JOURNAL_STREAM", f"{about.st_dev}:{about.st_ino}")
        assert goes_to_journal(journal)
        assert not goes_to_journal(other)
        assert not goes_to_journal(io.StringIO())
        monkeypatch.delenv("JOURNAL_STREAM")
        assert not goes_to_journal(journal)
