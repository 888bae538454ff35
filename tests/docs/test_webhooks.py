"""The promises of docs/guide/webhooks.md have the numbers of the code."""

from __future__ import annotations

import re
from pathlib import Path

from fingertrio.clients.post import ANSWER_LIMIT
from fingertrio.config.webhook import Webhook
from fingertrio.frontends.webhook.following import _KNOWN, _NEWS
from fingertrio.frontends.webhook.sender import PENDING_LIMIT
from fingertrio.wire import webhook
from fingertrio.wire.backoff import Backoff
from fingertrio.wire.webhook import Verdict, judge
from fingertrio.wire.webhook_queue import AT_ONCE, DISTRUST, FIRST, LIFETIME, LONGEST, MOST_PATIENCE

PAGE = (Path(__file__).parents[2] / "docs/guide/webhooks.md").read_text("utf-8")


def test_the_table_of_retries_is_the_schedule():
    backoff = Backoff(FIRST, LONGEST, uniform=lambda _low, high: high)
    pauses = [backoff.pause() for _ in range(10)]
    rows = re.findall(r"^\| (\d.*|further) \| (.*) \|$", PAGE.partition("| attempt |")[2], re.MULTILINE)[:3]
    (first, last), *_ = [map(int, re.findall(r"\d+", cell)) for cell, _ in rows]
    assert [f"{pause:g} s" for pause in pauses[first - 2 : last - 1]] == rows[0][1].split(", ")
    assert rows[1] == (str(last + 1), f"{pauses[last - 1]:g} s")
    assert rows[2][1].startswith(f"{pauses[last] / 60:g} min")
    assert pauses[last] == LONGEST
    assert f"{LIFETIME / 3600:g} hours old" in PAGE
    assert _NEWS.total_seconds() == LIFETIME
    assert MOST_PATIENCE == 6 * 3600
    assert "up to six hours" in PAGE


def test_the_table_of_answers_is_the_verdict_of_the_code():
    busy = next(line for line in PAGE.splitlines() if line.startswith("| none in time"))
    named = [int(status) for status in re.findall(r"\b\d{3}\b", busy)]
    assert named == [status for status in range(100, 600) if judge(status) is Verdict.UNAVAILABLE]
    assert DISTRUST == 5
    assert "five users in a row" in PAGE


def test_the_bounds_are_those_of_the_code():
    assert f"{PENDING_LIMIT:,} users can wait" in PAGE
    assert f"{ANSWER_LIMIT // 1024} KB of an answer" in PAGE
    assert f"{Webhook.model_fields['timeout'].default:g} seconds" in PAGE
    assert f"The {_KNOWN:,} users who were reported last" in PAGE
    assert AT_ONCE == 4
    assert "Four requests at once to one receiver" in PAGE


def test_every_type_of_event_has_its_row():
    rows = re.findall(r"^\| `(status\.\w+)` \|", PAGE, re.MULTILINE)
    assert sorted(rows) == sorted([webhook.CHANGED, webhook.REMOVED, webhook.TEST])
