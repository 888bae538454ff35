"""The live feed's messages: the client's parser reads what the server writes, and rejects all else."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fingertrio.wire import ProtocolError, live

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
MEMBERS = {
    "user": "moshez",
    "status": 'Happy\n"and" well',
    "name": "Moshe Z",
    "since": "2026-03-01T12:00:00Z",
    "until": None,
    "details": {"project": "fingertrio"},
}
MOSHEZ = live.LiveUser("moshez", 'Happy\n"and" well', "Moshe Z", NOON, None, {"project": "fingertrio"})


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (
            live.render_hello(epoch="e", at="e:1", resumed=True, complete=True, alive=15.0),
            live.Hello("e", "e:1", resumed=True, complete=True, alive=15.0),
        ),
        (
            live.render_hello(epoch="e", at=None, resumed=False, complete=False, alive=1),
            live.Hello("e", None, resumed=False, complete=False, alive=1.0),
        ),
        (live.SNAPSHOT, live.SnapshotBegins()),
        (live.present(live.render_user(MEMBERS)), live.Present(MOSHEZ)),
        (live.present(live.render_unavailable("moshez")), live.Unavailable("moshez")),
        (live.render_end("e:1"), live.SnapshotEnds("e:1")),
        (live.change("e:2", live.render_user(MEMBERS)), live.Changed("e:2", MOSHEZ)),
        (live.change("e:2", live.render_removed("moshez")), live.Removed("e:2", "moshez")),
        (live.render_alive("e:2"), live.Alive("e:2")),
        (live.render_alive(None), live.Alive(None)),
        (live.render_alive("e:2", NOON), live.Alive("e:2", NOON)),
        (
            live.render_hello(epoch="e", at=None, resumed=False, complete=True, alive=1, stale_since=NOON),
            live.Hello("e", None, resumed=False, complete=True, alive=1.0, stale_since=NOON),
        ),
    ],
)
def test_what_is_written_is_read(written: bytes, read: live.Message):
    assert live.parse(written.decode()) == read


def test_users_are_written_as_in_the_rest_of_the_json():
    assert json.loads(live.change("e:2", live.render_user(MEMBERS))) == {"type": "change", "id": "e:2", **MEMBERS}


def test_what_is_new_is_passed_over():
    assert live.parse('{"type": "weather"}') is None
    assert live.parse('{"type": "alive", "id": "e:1", "load": 0.5}') == live.Alive("e:1")
    assert live.parse('{"type": "user", "user": "ada", "status": "", "name": null}') == live.Present(
        live.LiveUser("ada", "")
    )


def test_text_is_clean():
    told = live.parse(
        json.dumps(
            {
                "type": "user",
                "user": "ada",
                "status": "\x1b[2Jone\r\ntwo\n",
                "name": "A\nda\u202e",
                "details": {"pro\x07ject": "\x9b1m"},
            }
        )
    )
    assert told == live.Present(live.LiveUser("ada", "one\ntwo", "A da", details={"project": ""}))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "[]",
        "null",
        '"hello"',
        "{}",
        '{"type": 1}',
        "[" * 100_000,
        '{"type": "alive", "id": ' + "1" * 5000 + "}",
        '{"type": "hello", "epoch": "e", "id": null, "alive": 1}',
        '{"type": "hello", "protocol": 2, "epoch": "e", "id": null, "alive": 1}',
        '{"type": "hello", "protocol": 1, "id": null, "alive": 1}',
        '{"type": "alive", "id": "e:1", "stale_since": "0001-01-01T00:00:00+14:00"}',
        '{"type": "alive", "id": "e:1", "stale_since": "9999-12-31T23:59:59-14:00"}',
        '{"type": "hello", "protocol": 1, "epoch": "e", "id": null, "alive": 0}',
        '{"type": "hello", "protocol": 1, "epoch": "e", "id": null, "alive": NaN}',
        '{"type": "hello", "protocol": 1, "epoch": "e", "id": null, "alive": Infinity}',
        '{"type": "hello", "protocol": 1, "epoch": "e", "id": null, "alive": "1"}',
        '{"type": "end"}',
        '{"type": "end", "id": null}',
        '{"type": "end", "id": ""}',
        '{"type": "end", "id": "a b"}',
        '{"type": "end", "id": "' + "x" * 65 + '"}',
        '{"type": "end", "id": "e:1\\n"}',
        '{"type": "user"}',
        '{"type": "user", "user": "ada"}',
        '{"type": "user", "user": "", "status": ""}',
        '{"type": "user", "user": "a\\u001b", "status": ""}',
        '{"type": "user", "user": "\\ud800", "status": ""}',
        '{"type": "user", "user": "ada", "status": null}',
        '{"type": "user", "user": "ada", "status": "", "name": 1}',
        '{"type": "user", "user": "ada", "status": "", "details": []}',
        '{"type": "user", "user": "ada", "status": "", "details": {"a": 1}}',
        '{"type": "user", "user": "ada", "status": "", "since": 1}',
        '{"type": "user", "user": "ada", "status": "", "since": "yesterday"}',
        '{"type": "user", "user": "ada", "status": "", "since": "2026-03-01T12:00:00"}',
        '{"type": "user", "user": 1, "unavailable": true}',
        '{"type": "change", "user": "ada", "status": ""}',
        '{"type": "change", "id": "e:1", "removed": true}',
        '{"type": "change", "id": "e:1", "user": "ada", "removed": 1}',
    ],
)
def test_what_is_no_message_is_refused(text: str):
    with pytest.raises(ProtocolError):
        live.parse(text)


_json = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(list(MEMBERS)), inner),
    max_leaves=5,
)
_types = st.sampled_from(["hello", "snapshot", "user", "end", "change", "alive"])
_members = st.dictionaries(st.sampled_from(["id", "epoch", "alive", "protocol", *MEMBERS]), _json)


@given(text=st.text() | st.builds(lambda kind, members: json.dumps({**members, "type": kind}), _types, _members))
def test_any_text_is_a_message_or_a_protocol_error(text: str):
    with suppress(ProtocolError):
        assert live.parse(text) is None or json.loads(text)["type"]
