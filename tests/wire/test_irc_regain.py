"""Getting the wanted nick back."""

from __future__ import annotations

import pytest

from fingertrio.wire.irc_client import IRCClient
from fingertrio.wire.irc_login import Login
from fingertrio.wire.irc_secrets import Secret

SERVICES = Login(nick="bot", account="acc", account_password=Secret("pw"), services="NickServ")


class Session:
    def __init__(self, login=None, nick="bot1", supports="", **options):
        options = {"secure": True, "uniform": lambda a, b: (a + b) / 2, **options}
        self.client = IRCClient(login or Login(nick="bot"), **options)
        self.now = 0.0
        self.client.start(0.0)
        self.say("421 * CAP :?", f":s.x 001 {nick} :hi", f":s.x 005 {nick} {supports} :are supported")
        self.say(f":s.x 900 {nick} {nick}!f@h acc :in") if login is SERVICES else None
        self.first = self.say(f":s.x 376 {nick} :end")

    def say(self, *lines: str) -> list[str]:
        self.client.receive("".join(f"{line}\r\n" for line in lines).encode(), self.now)
        return [line.decode().removesuffix("\r\n") for line in self.client.take_urgent()]

    def until(self, time: float) -> list[tuple[float, str]]:
        lines = []
        while self.client.deadline <= time:
            self.now = self.client.deadline
            self.client.tick(self.now)
            lines += [(self.now, line.decode().strip()) for line in self.client.take_urgent()]
        self.now = time
        return lines


def test_the_nick_is_asked_for_with_growing_pauses_whatever_the_traffic():
    session = Session()
    lines = session.until(3000)
    assert [time for time, _ in lines] == [15, 45, 105, 225, 465, 945, 1545, 2145, 2745]
    assert {line for _, line in lines} == {"NICK bot"}
    session.say(":bot1!f@h NICK bot")
    assert session.client.regain.is_held
    assert session.until(9000) == []


@pytest.mark.parametrize("line", [":bot!f@h NICK Guest123", ":bot!f@h NICK :other", ":s.x 001 forced :hello again"])
def test_a_nick_that_is_taken_away_is_asked_for_again(line: str):
    session = Session(nick="bot")
    assert session.until(100) == []
    assert session.say(line) == []
    assert not session.client.regain.is_held
    assert session.until(115) == [(115, "NICK bot")]


def test_monitor_tells_when_the_nick_is_free():
    session = Session(supports="MONITOR=100")
    assert session.first == ["MONITOR + bot"]
    assert session.say(":s.x 730 bot1 :bot!u@h") == []
    assert session.until(500) == [], "while it is in use nothing is tried"
    assert session.say(":s.x 731 bot1 bot") == ["NICK bot"]
    assert session.say(":bot1!f@h NICK bot") == ["MONITOR - bot"]


def test_a_full_monitor_list_leaves_the_timer():
    session = Session(supports="MONITOR=1")
    session.say(":s.x 734 bot1 1 bot :Monitor list is full")
    assert session.until(15) == [(15, "NICK bot")]


def test_a_quit_that_is_seen_in_a_channel_is_used_but_not_to_flood():
    session = Session()
    assert session.say(":bot!u@h QUIT :bye") == ["NICK bot"]
    assert session.say(*[":bot!u@h QUIT :bye"] * 20) == []


@pytest.mark.parametrize("numeric", ["432", "433", "436", "437", "438", "447", "484"])
def test_a_refused_nick_after_registration_ends_nothing(numeric: str):
    session = Session()
    session.until(15)
    assert session.say(f":s.x {numeric} bot1 bot :no") == []
    assert session.client.nick == "bot1"
    assert session.until(80), "it is tried again"


def test_too_fast_waits_twice_as_long():
    session = Session()
    session.until(15)
    session.say(":s.x 438 bot1 bot :Nick change too fast")
    assert session.until(74) == []
    assert session.until(75) == [(75, "NICK bot")]


def test_services_are_asked_after_two_failures_and_three_times_an_hour():
    session = Session(SERVICES)
    asked = []
    for _ in range(30):
        session.until(session.now + 600)
        asked += [line for line in session.say(":s.x 433 bot1 bot :in use") if "REGAIN" in line]
        if session.now >= 3600:
            break
    assert asked == ["PRIVMSG NickServ :REGAIN bot"] * 3, "without the password: we are logged in"


def test_a_nick_that_services_hold_is_released_first():
    session = Session(SERVICES)
    session.until(15)
    assert session.say(":s.x 432 bot1 bot :held for registered user") == []
    session.until(45)
    assert session.say(":s.x 432 bot1 bot :held") == ["PRIVMSG NickServ :RELEASE bot"]
    assert session.until(47) == [(47, "NICK bot")]


def test_not_logged_in_the_password_goes_along_if_nobody_can_read_it():
    login = Login(nick="bot", account_password=Secret("pw"), services="NickServ")
    for secure, expected in ((True, ["PRIVMSG NickServ :REGAIN bot pw"]), (False, [])):
        session = Session(login, secure=secure)
        session.until(600)
        session.say(":s.x 433 bot1 bot :in use")
        assert session.say(":s.x 433 bot1 bot :in use") == expected


def test_a_nick_that_the_server_cut_is_all_that_can_be_had():
    session = Session(Login(nick="statusserver"), nick="statusser", supports="NICKLEN=9")
    assert session.client.regain.is_held
    assert session.until(9000) == []
    session = Session(Login(nick="statusserver"), nick="statusse1", supports="NICKLEN=9")
    assert not session.client.regain.is_held


def test_another_wish_is_asked_for_at_once():
    session = Session(nick="bot")
    session.client.adopt(Login(nick="status"), 5.0)
    assert session.say() == ["NICK status"]
    assert not session.client.regain.is_held
