"""Why sessions end, and what follows."""

from __future__ import annotations

import random

import pytest

from fingertrio.wire.irc_ends import Ended, Verdict, end_by_error, end_by_numeric
from fingertrio.wire.irc_pauses import Decision, Pauses


def middle(least: float, most: float) -> float:
    return (least + most) / 2


def pauses(servers: int = 1, after_ban: float | None = None) -> Pauses:
    return Pauses(servers, after_ban=after_ban, uniform=middle)


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("Closing Link: bot[127.0.0.1] (K-Lined: spam)", Verdict.BANNED),
        ("Closing link: (fingertrio@127.0.0.1) [G-lined: test]", Verdict.BANNED),
        ("You are banned from this server", Verdict.BANNED),
        ("AKILLED: abuse", Verdict.BANNED),
        ("Closing link: (f@h) [Throttled: Reconnecting too fast]", Verdict.THROTTLED),
        ("Trying to reconnect too fast.", Verdict.THROTTLED),
        ("Too many connections from your IP", Verdict.TOO_MANY),
        ("Closing Link: h (Too many user sessions)", Verdict.TOO_MANY),
        ("Closing link: [Excess Flood]", Verdict.FLOODED),
        ("Access denied: Bad server password?", Verdict.PASSWORD),
        ("Closing link: (f@h) [Incorrect password]", Verdict.PASSWORD),
        ("Unauthorized connection", Verdict.PASSWORD),
        ("Closing Link: h (Killed (oper (spamming)))", Verdict.KILLED),
        ("Killed (NickServ (GHOST command used by x))", Verdict.AGAIN),
        ("Killed (irc.x.y (Nick collision))", Verdict.AGAIN),
        ("Killed (oper (GHOST command used))", Verdict.AGAIN),
        ("Server going down", Verdict.AGAIN),
        ("", Verdict.AGAIN),
    ],
)
def test_the_text_of_an_error_decides(text: str, verdict: Verdict):
    assert end_by_error(text, registered=False).verdict is verdict


def test_a_password_is_not_the_reason_once_registered():
    assert end_by_error("password expired", registered=True).verdict is Verdict.AGAIN


def test_numerics():
    assert end_by_numeric("464", "x") == Ended("x", Verdict.STOP)
    assert end_by_numeric("465", "x") == Ended("x", Verdict.BANNED, outcome="banned")
    assert end_by_numeric("433", "x") is None


def test_pauses_double_to_five_minutes_and_vary_by_a_quarter():
    machine = pauses()
    assert [machine.ended(Ended("x"), 0).pause for _ in range(8)] == [5, 10, 20, 40, 80, 160, 300, 300]
    varied = [Pauses(1, uniform=random.Random(n).uniform).ended(Ended("x"), 0).pause for n in range(100)]
    assert 3.75 <= min(varied) < 4.2
    assert 5.8 < max(varied) <= 6.25


def test_the_servers_of_the_list_follow_each_other():
    machine = pauses(3)
    decisions = [machine.ended(Ended("x"), 0) for _ in range(7)]
    assert [(each.server, each.pause) for each in decisions] == [
        (1, 2),
        (2, 2),
        (0, 5),
        (1, 2),
        (2, 2),
        (0, 10),
        (1, 2),
    ]


def test_a_session_of_five_minutes_begins_again_with_the_first_server():
    machine = pauses(2)
    for _ in range(5):
        machine.ended(Ended("x"), 0)
    assert machine.ended(Ended("x"), 0, registered_for=299) == Decision(stop=False, pause=20, server=0)
    machine.ended(Ended("x"), 0)
    assert machine.ended(Ended("x"), 0, registered_for=300) == Decision(stop=False, pause=5, server=0)


def test_the_same_refusal_three_times_stops():
    machine = pauses()
    end = end_by_error("Access denied: Bad password?", registered=False)
    assert [machine.ended(end, 0).stop for _ in range(3)] == [False, False, True]
    machine = pauses()
    ends = [end, end, Ended("other"), end, end]
    assert not any(machine.ended(each, 0).stop for each in ends)


def test_a_ban_stops_or_waits_for_an_hour_at_least():
    end = end_by_numeric("465", "banned")
    assert end is not None
    assert pauses(3).ended(end, 0).stop
    assert pauses(3, after_ban=6 * 3600).ended(end, 0) == Decision(stop=False, pause=6 * 3600, server=0)
    assert pauses(after_ban=60).ended(end, 0).pause == 3600


def test_an_operators_kill_waits_ten_minutes_and_the_third_in_a_day_stops():
    kill = end_by_error("Killed (oper (no bots))", registered=True)
    machine = pauses()
    assert machine.ended(kill, 0, registered_for=9999).pause == 600
    assert machine.ended(kill, 1000, registered_for=9999).pause == 600
    assert machine.ended(kill, 80_000, registered_for=9999).stop
    machine = pauses()
    for time in (0, 50_000, 100_000):
        assert not machine.ended(kill, time, registered_for=9999).stop


def test_throttling_waits_a_minute_and_doubles():
    throttled = end_by_error("Throttled", registered=False)
    machine = pauses(2)
    assert [machine.ended(throttled, 0).pause for _ in range(3)] == [60, 120, 240]


def test_other_reasons_have_their_own_least_pause():
    assert pauses(2).ended(end_by_error("too many connections", registered=False), 0).pause == 300
    assert pauses().ended(Ended("x", Verdict.LATER, 60), 0).pause == 60
    tls = Ended("x", Verdict.LATER, 300, "tls")
    machine = pauses(2)
    assert machine.ended(tls, 0) == Decision(stop=False, pause=2, server=1), "another server may have a valid one"
    assert machine.ended(tls, 0).pause == 300
