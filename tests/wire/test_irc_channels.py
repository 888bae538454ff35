"""Channels: joining, being rejected, thrown out, invited; and the steps before."""

from __future__ import annotations

import pytest

from fingertrio.wire.irc_channel import ChannelPlan
from fingertrio.wire.irc_client import IRCClient
from fingertrio.wire.irc_events import ChannelJoined, ChannelLeft, Event, LoginFailed, Ready
from fingertrio.wire.irc_login import Login
from fingertrio.wire.irc_secrets import Secret

DEFAULT = (ChannelPlan("#a"),)


class Session:
    """A registered client with channels."""

    def __init__(self, plans=DEFAULT, *, login=None, supports="", secure=True, end="376", **options):
        self.client = IRCClient(login or Login(nick="bot"), channels=plans, secure=secure, **options)
        self.now = 0.0
        self.events: list[Event] = []
        self.client.start(0.0)
        self.say("421 * CAP :?", ":s.x 001 bot :hi", f":s.x 005 bot {supports} :are supported")
        self.first = self.say(f":s.x {end} bot :end") if end else []

    def say(self, *lines: str) -> list[str]:
        self.events += self.client.receive("".join(f"{line}\r\n" for line in lines).encode(), self.now)
        return self.sent()

    def sent(self) -> list[str]:
        return [line.decode().removesuffix("\r\n") for line in self.client.take_urgent()]

    def until(self, time: float) -> list[tuple[float, str]]:
        """The lines that are due until `time`, each with its time."""
        lines = []
        while self.client.deadline <= time:
            self.now = max(self.client.deadline, self.now)
            self.events += self.client.tick(self.now)
            lines += [(round(self.now, 1), line) for line in self.sent()]
        self.now = time
        return lines

    def join(self, name: str = "#a") -> None:
        self.until(self.now + 2)
        self.say(f":bot!f@h JOIN {name}")

    def last(self) -> Event:
        return self.events[-1]


# After the welcome.


def test_channels_wait_for_the_end_of_the_greeting_or_five_seconds():
    session = Session(end="")
    assert session.until(4.9) == []
    assert session.until(5) == [(5.0, "JOIN #a")]
    assert Ready() in session.events
    assert Session(end="422").until(0) == [(0, "JOIN #a")]


@pytest.mark.parametrize(
    ("supports", "modes", "sent"),
    [("BOT=b", "iwB", ["MODE bot +b"]), ("", "iwB", ["MODE bot +B"]), ("", "iw", []), ("BOT=", "iw", [])],
)
def test_it_is_marked_as_a_bot_once(supports: str, modes: str, sent: list[str]):
    session = Session((), end="", supports=supports)
    session.say(f":s.x 004 bot s.x v {modes} abc")
    assert session.say(":s.x 376 bot :end") == sent
    assert session.say(":s.x 501 bot :Unknown mode", ":s.x 376 bot :end") == []


def test_a_login_by_message_comes_before_channels():
    login = Login(nick="bot", account="acc", account_password=Secret("pw"), services="NickServ@services.test")
    session = Session(login=login)
    assert session.first == ["PRIVMSG NickServ@services.test :IDENTIFY acc pw"]
    assert session.until(1) == []
    session.say(":s.x 900 bot bot!f@h acc :You are now logged in")
    assert session.until(1) == [(1, "JOIN #a")]


def test_services_that_do_not_answer_delay_channels_for_ten_seconds():
    login = Login(nick="bot", account="acc", account_password=Secret("pw"), services="NickServ")
    session = Session(login=login)
    assert session.until(9.9) == []
    assert session.until(10) == [(10, "JOIN #a")]
    assert LoginFailed("NickServ did not confirm the login") in session.events


def test_a_password_never_goes_where_others_can_read_it():
    login = Login(nick="bot", account="acc", account_password=Secret("pw"), services="NickServ")
    session = Session(login=login, secure=False)
    assert session.first == []
    assert session.until(0) == [(0, "JOIN #a")]


# Joining.


def test_keys_come_first_and_lines_keep_their_distance():
    plans = [ChannelPlan(f"#{'x' * 50}{number}") for number in range(10)] + [ChannelPlan("#key", Secret("k1"))]
    lines = Session(plans).until(10)
    assert [time for time, _ in lines] == [0, 2]
    assert lines[0][1].startswith("JOIN #key,#x")
    assert lines[0][1].endswith(" k1")
    assert all(len(line) <= 410 for _, line in lines)
    assert sum(line.count("#") for _, line in lines) == 11


def test_a_channel_is_entered_when_our_own_join_comes_back():
    session = Session([ChannelPlan("#A[x]")])
    session.until(0)
    session.say(":s.x 353 bot = #a[x] :bot", ":s.x 366 bot #a[x] :end", ":alice!u@h JOIN #a[x]")
    assert session.client.channels.missing == ["#A[x]"]
    session.say(":BOT!f@h JOIN #a{X}")
    assert session.client.channels.is_inside("#a[x]")
    assert session.last() == ChannelJoined("#a{X}")


def test_a_name_that_the_server_cuts_is_that_channel():
    session = Session([ChannelPlan("#abcdefgh")])
    session.until(0)
    session.say(":bot!f@h JOIN #abcd")
    assert session.last() == ChannelJoined("#abcd")
    assert session.client.channels.is_inside("#abcd")


def test_a_join_without_an_answer_is_sent_once_more():
    session = Session()
    assert session.until(59) == [(0, "JOIN #a")]
    assert session.until(119) == [(60, "JOIN #a")]
    assert session.until(700) == []
    assert session.last() == ChannelLeft("#a", "the server does not answer JOIN", 600)
    assert session.until(721) == [(720, "JOIN #a")]


@pytest.mark.parametrize("numeric", ["471", "473", "474", "489", "520", "926"])
def test_a_rejected_join_is_repeated_with_growing_pauses(numeric: str):
    session = Session()
    session.until(0)
    for pause in (600, 1200, 2400, 4800, 9600, 19200, 21600, 21600):
        session.say(f":s.x {numeric} bot #a :Cannot join channel")
        assert session.last() == ChannelLeft("#a", "Cannot join channel", pause)
        [(time, line)] = session.until(session.now + pause)
        assert (round(time - session.now), line) == (0, "JOIN #a")


@pytest.mark.parametrize("numeric", ["475", "477", "403", "476", "479", "405"])
def test_some_rejections_are_final(numeric: str):
    session = Session()
    session.until(0)
    session.say(f":s.x {numeric} bot #a :no")
    assert session.last() == ChannelLeft("#a", "no")
    assert session.until(100_000) == []
    session.client.channels.update(DEFAULT, session.now)
    assert session.until(session.now) == [(session.now, "JOIN #a")], "a reload tries again"


def test_after_a_login_channels_that_need_one_are_tried_again():
    session = Session()
    session.until(0)
    session.say(":s.x 477 bot #a :you need to be identified")
    session.until(100)
    session.say(":s.x 900 bot bot!f@h acc :logged in")
    assert session.until(100) == [(100, "JOIN #a")]


def test_a_channel_that_a_netsplit_locks_is_tried_after_five_minutes():
    session = Session()
    session.until(0)
    session.say(":s.x 437 bot #a :Nick/channel is temporarily unavailable")
    assert session.until(301) == [(300, "JOIN #a")]


def test_chanserv_is_asked_once_if_the_operator_wants_that():
    session = Session(login=Login(nick="bot", ask_chanserv=True))
    session.until(0)
    assert session.say(":s.x 473 bot #a :invite only") == ["PRIVMSG ChanServ :INVITE #a"]
    assert session.say(":ChanServ!s@services.x INVITE bot #a") == []
    assert session.until(2) == [(2, "JOIN #a")]
    assert session.say(":s.x 473 bot #a :invite only") == []


def test_chanserv_is_asked_for_a_key_and_to_take_a_ban_away():
    session = Session([ChannelPlan("#a"), ChannelPlan("#b")], login=Login(nick="bot", ask_chanserv=True))
    session.until(0)
    assert session.say(":s.x 475 bot #a :bad key") == ["PRIVMSG ChanServ :GETKEY #a"]
    assert session.say(":eve!e@evil.example NOTICE bot :Channel #a key is: wrong") == []
    session.say(":ChanServ!s@services.x NOTICE bot :Channel \x02#a\x02 key is: \x02hush\x02")
    assert session.until(2) == [(2, "JOIN #a hush")]
    assert session.say(":s.x 474 bot #b :banned") == ["PRIVMSG ChanServ :UNBAN #b"]
    assert session.until(7) == [(7, "JOIN #b")]


@pytest.mark.parametrize(
    ("supports", "plans", "rejected"),
    [
        ("CHANLIMIT=#&:1", ["#a", "#b"], "#b"),
        ("CHANNELLEN=4", ["#a", "#abcd"], "#abcd"),
        ("CHANTYPES=#", ["#a", "+b"], "+b"),
    ],
)
def test_what_the_network_does_not_allow_is_not_tried(supports: str, plans: list[str], rejected: str):
    session = Session([ChannelPlan(name) for name in plans], supports=supports)
    assert session.until(100_000)[0] == (0, "JOIN #a")
    assert next(event.channel for event in session.events if isinstance(event, ChannelLeft)) == rejected


# Leaving.


def test_a_kick_is_final():
    session = Session()
    session.join()
    session.say(":op!u@h KICK #a bot :no bots")
    assert session.last() == ChannelLeft("#a", "kicked: no bots")
    assert not session.client.channels.may_speak("#a", session.now)
    assert session.until(100_000) == []
    session.say(":op!u@h INVITE bot #a")
    assert [line for _, line in session.until(session.now)] == ["JOIN #a"], "an invitation ends that"


def test_a_kick_with_rejoin_is_forgiven_three_times_a_day():
    session = Session(rejoin=3600.0)
    session.join()
    times = []
    for _ in range(5):
        session.say(":op!u@h KICK #a bot :out")
        lines = session.until(session.now + 3601)
        times += [time for time, _ in lines]
        if lines:
            session.say(":bot!f@h JOIN #a")
    assert len(times) == 3


def test_a_message_that_the_channel_rejects_silences_us_for_ten_minutes():
    session = Session()
    session.join()
    assert session.client.channels.may_speak("#a", session.now)
    session.say(":s.x 404 bot #a :Cannot send to channel")
    assert not session.client.channels.may_speak("#a", session.now + 599)
    assert session.client.channels.may_speak("#a", session.now + 600)


def test_a_forwarded_join_leaves_the_other_channel():
    session = Session()
    session.until(0)
    assert session.say(":s.x 470 bot #a ##overflow :Forwarding", ":bot!f@h JOIN ##overflow") == ["PART ##overflow"]
    assert session.client.channels.inside == []


def test_a_channel_that_an_operator_puts_us_into_is_left_quietly():
    session = Session()
    session.join()
    session.say(":bot!f@h JOIN #elsewhere")
    assert session.last() == ChannelJoined("#elsewhere", uninvited=True)
    assert not session.client.channels.may_speak("#elsewhere", session.now)
    assert [line for _, line in session.until(session.now + 600)] == ["PART #elsewhere"]


def test_invitations_are_only_followed_where_wanted():
    session = Session((), accept=("#B",))
    session.say(":alice!u@h INVITE bot #other", ":alice!u@h INVITE bot #b", ":alice!u@h INVITE eve #b")
    assert [line for _, line in session.until(1)] == ["JOIN #b"]
    everywhere = Session((), accept=None)
    for number in range(30):
        everywhere.say(f":alice!u@h INVITE bot #c{number}")
        everywhere.now += 13
    lines = " ".join(line for _, line in everywhere.until(everywhere.now + 10))
    assert lines.count("#") == 20
    burst = Session((), accept=None)
    burst.say(*(f":alice!u@h INVITE bot #c{number}" for number in range(30)))
    assert " ".join(line for _, line in burst.until(1)).count("#") == 5


def test_a_reload_leaves_and_joins_the_difference():
    session = Session([ChannelPlan("#a"), ChannelPlan("#b")])
    session.until(0)
    session.say(":bot!f@h JOIN #a", ":bot!f@h JOIN #b")
    session.client.channels.update([ChannelPlan("#B"), ChannelPlan("#c")], 10)
    assert session.sent() == ["PART #a"]
    assert session.until(10) == [(10, "JOIN #c")]
