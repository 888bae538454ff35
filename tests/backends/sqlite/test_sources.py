from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from fingertrio.backends.sqlite import sources
from fingertrio.backends.sqlite.sources import BadRecord, ImportRecord, open_source

SINCE = "2026-01-01T12:00:00.000000Z"


def read(path: Path) -> tuple[list[ImportRecord], list[BadRecord]]:
    """The good and the bad records. Checks that their sizes add up to that of the source."""
    size, reading = open_source(path)
    got = list(reading)
    assert sum(part for _, part in got) == size
    return [one for one, _ in got if isinstance(one, ImportRecord)], [
        one for one, _ in got if isinstance(one, BadRecord)
    ]


def write(path: Path, *records: object) -> Path:
    path.write_text("".join(f"{json.dumps(record)}\n" for record in records))
    return path


def test_a_users_file_has_a_user_a_line(tmp_path: Path) -> None:
    path = tmp_path / "users"
    path.write_bytes(
        b"\xef\xbb\xbf# comment\r\n\r\nmoshez: Happy: and well\r\n  ada :\tWeaving  \nlast: without an end"
    )
    records, bad = read(path)
    assert [(record.login, record.status) for record in records] == [
        ("moshez", "Happy: and well"),
        ("ada", "Weaving"),
        ("last", "without an end"),
    ]
    assert not bad


def test_bad_lines_of_a_users_file_are_reported_with_file_line_and_reason(tmp_path: Path) -> None:
    path = tmp_path / "users"
    path.write_bytes(b"no colon\ngood: yes\nada: one\nada: two\nlong: " + b"x" * (16 * 1024 + 1) + b"\nend: z\n")
    records, bad = read(path)
    assert [(record.login, record.status) for record in records] == [("good", "yes"), ("ada", "two"), ("end", "z")]
    assert [record.place for record in records] == [f"{path}:{line}" for line in (2, 4, 6)]
    assert [(one.place, one.reason) for one in bad] == [
        (f"{path}:1", "there is no colon after the user name"),
        (f"{path}:3", "ada has another line, 4, which is used instead"),
        (f"{path}:5", "the status is longer than 16384 bytes"),
    ]


@pytest.mark.parametrize("encoding", ["utf-16", "cp1252", "utf-8-sig"])
def test_a_users_file_may_have_any_common_encoding(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "users").write_text("mosh\u00e9: Gr\u00fc\u00dfe\n" * 1, encoding)
    ((record,), bad) = read(tmp_path / "users")
    assert (record.login, record.status) == ("mosh\u00e9", "Gr\u00fc\u00dfe")
    assert not bad


def test_a_users_file_that_is_not_text_or_too_large_is_one_bad_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "users").write_text("moshez: well\n", "utf-16-le")
    records, (bad,) = read(tmp_path / "users")
    assert not records
    assert bad.place == str(tmp_path / "users")
    assert "not a text file" in bad.reason
    monkeypatch.setattr(sources, "USERS_FILE_LIMIT", 5)
    (tmp_path / "users").write_text("moshez: well\n")
    records, (bad,) = read(tmp_path / "users")
    assert not records
    assert "larger than" in bad.reason


def test_an_empty_file_has_no_records(tmp_path: Path) -> None:
    (tmp_path / "users").touch()
    assert read(tmp_path / "users") == ([], [])


def test_plans_are_files_named_after_their_users(tmp_path: Path) -> None:
    (tmp_path / "ken").write_text("The plan\nof ken\n")
    (tmp_path / ".hidden").write_text("x")
    (tmp_path / "\u5f20\u4e09").write_text("\u7720")
    os.utime(tmp_path / "ken", (1000, 1000))
    records, bad = read(tmp_path)
    assert [(record.login, record.status) for record in records] == [
        ("ken", "The plan\nof ken"),
        ("\u5f20\u4e09", "\u7720"),
    ]
    assert records[0].status_time == 1000 * 1_000_000
    assert not bad


def test_devices_and_fifos_are_refused_without_opening_them(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("/dev/zero")
    for path in (Path("/dev/zero"), tmp_path / "fifo", tmp_path / "link"):
        with pytest.raises(ValueError, match=f"^{path} is neither a regular file nor a directory$"):
            open_source(path)


def test_the_source_itself_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "users").write_text("moshez: Happy and well\n")
    (tmp_path / "link").symlink_to("users")
    assert [record.login for record in read(tmp_path / "link")[0]] == ["moshez"]


def test_files_that_are_not_plans_are_reported(tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir()
    (tmp_path / "empty").touch()
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("/etc/passwd")
    (tmp_path / "long").write_bytes(b"x" * 70_000)
    (tmp_path / "not-text").write_bytes(b"\x7fELF\0")
    (tmp_path / "two words").write_text("x")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff")).write_text("x")
    records, bad = read(tmp_path)
    assert not records
    assert {Path(one.place.strip("'")).name: one.reason[:15] for one in bad} == {
        "directory": "not a regular f",
        "empty": "the status is e",
        "fifo": "not a regular f",
        "link": "not a regular f",
        "long": "the status is l",
        "not-text": "not a text file",
        "two words": "a user name is ",
        "\udcff": "a user name is ",
    }


@pytest.mark.parametrize("kind", ["link", "fifo"])
def test_a_plan_swapped_after_it_was_checked_is_neither_followed_nor_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    secret, plans = tmp_path / "secret", tmp_path / "plans"
    plans.mkdir()
    secret.write_text("root only")
    (plans / "moshez").write_text("well")
    check = os.stat

    def swap_after(name: bytes, *, dir_fd: int | None = None, follow_symlinks: bool = True) -> os.stat_result:
        result = check(name, dir_fd=dir_fd, follow_symlinks=follow_symlinks)
        if name == b"moshez":
            (plans / "moshez").unlink()
            if kind == "link":
                (plans / "moshez").symlink_to(secret)
            else:
                os.mkfifo(plans / "moshez")
        return result

    size, stream = open_source(plans)
    monkeypatch.setattr(os, "stat", swap_after)
    got = list(stream)
    monkeypatch.undo()
    assert size == 1
    assert got == [(BadRecord(str(plans / "moshez"), "not a regular file"), 1)]


def test_plans_in_other_encodings_are_read(tmp_path: Path) -> None:
    for user, encoding in (("ada", "utf-8"), ("bob", "cp1252"), ("eve", "utf-16")):
        (tmp_path / user).write_text("Gr\u00fc\u00dfe\n", encoding)
    records, bad = read(tmp_path)
    assert [record.status for record in records] == ["Gr\u00fc\u00dfe"] * 3
    assert not bad


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_an_export_saved_in_another_encoding_is_read(tmp_path: Path, encoding: str) -> None:
    lines = f'{{"user": "ada", "statuses": [{{"status": "Gr\u00fc\u00dfe", "since": "{SINCE}"}}]}}\n{{"user": "bob"}}\n'
    (tmp_path / "export").write_text(lines, encoding)
    (ada, bob), bad = read(tmp_path / "export")
    assert [row.text for row in ada.history] == ["Gr\u00fc\u00dfe"]
    assert (bob.login, bob.place) == ("bob", f"{tmp_path / 'export'}:2")
    assert not bad


def test_an_export_is_recognized_by_its_first_line_with_content(tmp_path: Path) -> None:
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
        ({"user": "moshez", "statuses": [{"status": " \n", "since": SINCE}]}, "empty"),
        ({"user": "moshez", "statuses": [{"status": "x", "since": "0001-01-01T00:00:00+14:00"}]}, "too close to year"),
        (
            {
                "user": "moshez",
                "statuses": [{"status": "x", "since": "2020-01-01T00:00:00Z", "until": "9999-12-31T23:59:59-14:00"}],
            },
            "too close to year",
        ),
        ({"user": "moshez", "statuses": [{"status": text, "since": SINCE} for text in "ab"]}, "order"),
        ({"user": "moshez", "details": {"x": 1}}, "details.x"),
        ([1], "object"),
    ],
)
def test_a_bad_record_is_reported_and_the_others_are_read(tmp_path: Path, record: object, reason: str) -> None:
    path = write(tmp_path / "export", {"user": "first"}, record, {"user": "last"})
    records, (bad,) = read(path)
    assert [one.login for one in records] == ["first", "last"]
    assert bad.place == f"{path}:2"
    assert reason in bad.reason


def test_a_truncated_line_is_bad(tmp_path: Path) -> None:
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
