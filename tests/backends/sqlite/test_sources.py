from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from fingertrio.backends.sqlite import sources
from fingertrio.backends.sqlite.sources import Bad, Record, open_source

SINCE = "2026-01-01T12:00:00.000000Z"


def read(path: Path) -> tuple[list[Record], list[Bad]]:
    """The records and the bad ones; that together they account for the whole source."""
    size, reading = open_source(path)
    got = list(reading)
    assert sum(part for _, part in got) == size
    return [one for one, _ in got if isinstance(one, Record)], [one for one, _ in got if isinstance(one, Bad)]


def write(path: Path, *records: object) -> Path:
    path.write_text("".join(f"{json.dumps(record)}\n" for record in records))
    return path


def test_a_users_file_has_a_user_a_line(tmp_path: Path) -> None:
    path = tmp_path / "users"
    path.write_bytes(
        b"\xef\xbb\xbf# comment\r\n\r\nmoshez: Happy: and well\r\n  ada :\tWeaving  \nlast: without an end"
    )
    records, bad = read(path)
    assert [(record.login, record.present) for record in records] == [
        ("moshez", "Happy: and well"),
        ("ada", "Weaving"),
        ("last", "without an end"),
    ]
    assert not bad


def test_bad_lines_are_named_with_file_line_and_reason(tmp_path: Path) -> None:
    path = tmp_path / "users"
    long = b"x" * (16 * 1024 + 1)
    path.write_bytes(
        b"no colon\n-l: x\nempty:\n\xff: x\ngood: yes\nada: one\nada: two\nlong: "
        + long
        + b"\nlonger: "
        + 20 * long
        + b"\nend: z\n"
    )
    records, bad = read(path)
    assert [(record.login, record.present) for record in records] == [("good", "yes"), ("ada", "two"), ("end", "z")]
    assert [(one.place.removeprefix(f"{path}:"), one.reason[:20]) for one in bad] == [
        ("1", "there is no colon af"),
        ("2", "a user name is made "),
        ("3", "the status is empty"),
        ("4", "this is not UTF-8"),
        ("6", "ada comes again in l"),
        ("8", "the status is longer"),
        ("9", "the line is too long"),
    ]


def test_an_empty_file_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "users").touch()
    assert read(tmp_path / "users") == ([], [])


def test_plans_are_files_called_as_their_users(tmp_path: Path) -> None:
    (tmp_path / "ken").write_text("The plan\nof ken\n")
    (tmp_path / ".hidden").write_text("x")
    (tmp_path / "\u5f20\u4e09").write_text("\u7720")
    os.utime(tmp_path / "ken", (1000, 1000))
    records, bad = read(tmp_path)
    assert [(record.login, record.present) for record in records] == [
        ("ken", "The plan\nof ken"),
        ("\u5f20\u4e09", "\u7720"),
    ]
    assert records[0].written == 1000 * 1_000_000
    assert not bad


def test_what_might_never_end_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("/dev/zero")
    for path in (Path("/dev/zero"), tmp_path / "fifo", tmp_path / "link"):
        with pytest.raises(ValueError, match=f"^{path} is neither a regular file nor a directory$"):
            open_source(path)


def test_a_link_is_the_file_that_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "users").write_text("moshez: Happy and well\n")
    (tmp_path / "link").symlink_to("users")
    assert [record.login for record in read(tmp_path / "link")[0]] == ["moshez"]


def test_what_is_no_plan_is_named_and_not_opened(tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir()
    (tmp_path / "empty").touch()
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("/etc/passwd")
    (tmp_path / "long").write_bytes(b"x" * 70_000)
    (tmp_path / "not-text").write_bytes(b"\xff\xfe")
    (tmp_path / "two words").write_text("x")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff")).write_text("x")
    records, bad = read(tmp_path)
    assert not records
    assert {Path(one.place.strip("'")).name: one.reason[:15] for one in bad} == {
        "directory": "it is no regula",
        "empty": "the status is e",
        "fifo": "it is no regula",
        "link": "it is no regula",
        "long": "the status is l",
        "not-text": "this is not UTF",
        "two words": "a user name is ",
        "\udcff": "a user name is ",
    }


def test_an_export_is_told_by_its_first_line_that_says_something(tmp_path: Path) -> None:
    path = tmp_path / "export"
    path.write_text('\n\n {"user": "moshez", "statuses": []}\n')
    records, _ = read(path)
    assert [record.login for record in records] == ["moshez"]


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({}, "user: Field required"),
        ({"user": "-x"}, "user name"),
        ({"user": "moshez", "nickname": "m"}, "nickname: Extra inputs"),
        ({"user": "moshez", "statuses": [{"status": "x"}]}, "statuses.0.since"),
        ({"user": "moshez", "statuses": [{"status": "x", "since": "2026-01-01T12:00:00"}]}, "timezone"),
        ({"user": "moshez", "statuses": [{"status": "", "since": SINCE}]}, "empty"),
        ({"user": "moshez", "statuses": [{"status": "x", "since": "2999-01-01T00:00:00Z"}]}, "in the future"),
        ({"user": "moshez", "statuses": [{"status": "x", "since": "0001-01-01T00:00:00+14:00"}]}, "the calendar"),
        (
            {
                "user": "moshez",
                "statuses": [{"status": "x", "since": "2020-01-01T00:00:00Z", "until": "9999-12-31T23:59:59-14:00"}],
            },
            "the calendar",
        ),
        ({"user": "moshez", "statuses": [{"status": "x", "since": SINCE, "until": SINCE}]}, "before it was set"),
        ({"user": "moshez", "statuses": [{"status": text, "since": SINCE} for text in "ab"]}, "order"),
        ({"user": "moshez", "details": {"x": 1}}, "details.x"),
        ([1], "object"),
    ],
)
def test_a_bad_record_is_named_and_the_others_are_taken(tmp_path: Path, record: object, reason: str) -> None:
    path = write(tmp_path / "export", {"user": "first"}, record, {"user": "last"})
    records, (bad,) = read(path)
    assert [one.login for one in records] == ["first", "last"]
    assert bad.place == f"{path}:2"
    assert reason in bad.reason


def test_a_line_that_is_cut_short_is_bad(tmp_path: Path) -> None:
    path = write(tmp_path / "export", {"user": "first"}, {"user": "second"})
    path.write_bytes(path.read_bytes()[:-5])
    records, (bad,) = read(path)
    assert [one.login for one in records] == ["first"]
    assert bad.place == f"{path}:2"


def test_a_line_without_end_does_not_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "_EXPORT_LINE_LIMIT", 1000)
    path = tmp_path / "export"
    path.write_text('{"user": "first"}\n{"user": "' + "x" * 5000 + '"}\n{"user": "last"}\n{' + "x" * 5000)
    records, bad = read(path)
    assert [one.login for one in records] == ["first", "last"]
    assert [(one.place, one.reason) for one in bad] == [(f"{path}:{line}", "the line is too long") for line in (2, 4)]
