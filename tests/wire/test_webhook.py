"""Messages and signatures, held against the vectors of the specification's libraries and against one of them."""

from __future__ import annotations

import base64
import json
import time
from datetime import UTC, datetime

import pytest
import standardwebhooks
from hypothesis import given
from hypothesis import strategies as st

from fingertrio.backend import UserInfo
from fingertrio.wire import webhook
from fingertrio.wire.webhook import SigningSecret, Verdict, judge, parse_retry_after

NOW = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)

# The vector that the libraries of the specification share.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
AT = 1614265330
BODY = b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="

keys = st.binary(min_size=24, max_size=64)


def secret_text(key: bytes) -> str:
    return "whsec_" + base64.b64encode(key).decode()


def test_the_signature_of_the_vector():
    assert SigningSecret.parse(SECRET).sign(ID, AT, BODY) == SIGNATURE


def test_the_three_headers_have_the_names_and_forms_of_the_specification():
    assert webhook.headers(ID, AT, BODY, [SigningSecret.parse(SECRET)]) == {
        "webhook-id": ID,
        "webhook-timestamp": str(AT),
        "webhook-signature": SIGNATURE,
    }


@given(keys, keys, st.text())
def test_while_a_secret_is_replaced_a_receiver_with_either_verifies(new: bytes, old: bytes, status: str):
    at = int(time.time())
    body = webhook.changed(UserInfo("ada", status.encode("utf-8", "replace").decode()), NOW)
    message = webhook.new_id()
    headers = webhook.headers(message, at, body, [SigningSecret(new), SigningSecret(old)])
    for key in (new, old):
        document = standardwebhooks.Webhook(secret_text(key)).verify(body, headers)
        assert document["type"] == "status.changed"
        assert document["data"]["user"] == "ada"


@given(keys, st.binary(max_size=50), st.integers(0, 49))
def test_another_body_is_not_verified(key: bytes, body: bytes, place: int):
    body = base64.b64encode(body) + b"!"
    headers = webhook.headers(webhook.new_id(), int(time.time()), body, [SigningSecret(key)])
    place %= len(body)
    forged = body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :]
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        standardwebhooks.Webhook(secret_text(key)).verify(forged, headers, json_parse=False)


@given(keys)
def test_a_secret_is_read_with_and_without_padding(key: bytes):
    text = secret_text(key)
    assert SigningSecret.parse(text) == SigningSecret.parse(text.rstrip("=")) == SigningSecret(key)
    assert SigningSecret(key).reveal() == text


def test_secrets_differ_and_can_be_kept_in_sets():
    one, other = SigningSecret.generate(), SigningSecret.generate()
    assert one != other
    assert len({one, other, SigningSecret.parse(one.reveal())}) == 2
    assert one != one.reveal()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "begins with"),
        ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "begins with"),
        ("whsk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "begins with"),
        ("whsec_", "has 0 bytes; expected 24 to 64"),
        (secret_text(b"x" * 23), "has 23 bytes"),
        (secret_text(b"x" * 65), "has 65 bytes"),
        ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLa-_", "not base64"),
        ("whsec_MfKQ9r8GKYqrTwjU PD8ILPZIo2LaLaSw", "not base64"),
        ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS\u00e9", "not base64"),
    ],
)
def test_an_invalid_secret_is_an_error_that_does_not_show_it(text: str, reason: str):
    with pytest.raises(ValueError, match=reason) as caught:
        SigningSecret.parse(text)
    shown = text.removeprefix("whsec_")
    assert len(shown) < 5 or shown not in str(caught.value)


def test_a_secret_shows_itself_nowhere():
    secret = SigningSecret.parse(SECRET)
    for text in (repr(secret), str(secret), f"{secret}", repr([secret])):
        assert "MfKQ" not in text


def test_an_id_is_new_each_time_and_has_no_full_stop():
    ids = {webhook.new_id() for _ in range(100)}
    assert len(ids) == 100
    assert not any("." in message for message in ids)


def test_the_body_of_a_change_has_the_members_of_the_json_interface():
    info = UserInfo("ada", "\U0001f3e0 At home\nuntil five", "Ada", NOW, None, {"pronouns": "she"})
    assert json.loads(webhook.changed(info, NOW)) == {
        "type": "status.changed",
        "timestamp": "2026-11-30T12:00:00Z",
        "data": {
            "user": "ada",
            "status": "\U0001f3e0 At home\nuntil five",
            "emoji": "\U0001f3e0",
            "line": "At home",
            "name": "Ada",
            "since": "2026-11-30T12:00:00Z",
            "until": None,
            "details": {"pronouns": "she"},
        },
    }


def test_the_other_two_bodies():
    assert json.loads(webhook.removed("ada", NOW)) == {
        "type": "status.removed",
        "timestamp": "2026-11-30T12:00:00Z",
        "data": {"user": "ada"},
    }
    assert json.loads(webhook.test("team", NOW))["data"] == {"webhook": "team"}


def test_the_digest_changes_with_everything_that_a_receiver_sees():
    info = UserInfo("ada", "home", "Ada", NOW, None, {})
    others = [
        UserInfo("ada", "away", "Ada", NOW, None, {}),
        UserInfo("ada", "home", "Ada L.", NOW, None, {}),
        UserInfo("ada", "home", "Ada", NOW, NOW, {}),
        UserInfo("ada", "home", "Ada", NOW, None, {"project": "engine"}),
    ]
    assert webhook.digest(info) == webhook.digest(UserInfo("ada", "home", "Ada", NOW, None, {}))
    assert len({webhook.digest(each) for each in [info, *others]}) == 5


def test_what_a_status_means():
    judged = {status: judge(status) for status in range(100, 600)}
    assert [status for status, verdict in judged.items() if verdict is Verdict.DELIVERED] == list(range(200, 300))
    assert [status for status, verdict in judged.items() if verdict is Verdict.GONE] == [410]
    unavailable = [status for status, verdict in judged.items() if verdict is Verdict.UNAVAILABLE]
    assert unavailable == [408, 425, 429, 502, 503, 504]
    assert judge(301) is judge(404) is judge(500) is Verdict.REJECTED


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, 0),
        ("120", 120),
        (" 7 ", 7),
        ("0", 0),
        ("-5", 0),
        ("1.5", 0),
        ("99999999999", 0),
        ("soon", 0),
        ("", 0),
        ("Mon, 30 Nov 2026 12:01:30 GMT", 90),
        ("Mon, 30 Nov 2026 12:01:30", 90),
        ("Mon, 30 Nov 2026 11:59:00 GMT", 0),
        ("Mon, 99 Nov 2026 11:59:00 GMT", 0),
    ],
)
def test_retry_after(value: str | None, seconds: float):
    assert parse_retry_after(value, NOW) == seconds


@given(st.text())
def test_any_retry_after_gives_seconds(value: str):
    assert parse_retry_after(value, NOW) >= 0
