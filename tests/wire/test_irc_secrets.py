"""No secret shows itself."""

from __future__ import annotations

import traceback

import pytest

from fingertrio.wire.irc_login import Login, pass_mistake
from fingertrio.wire.irc_secrets import Secret, mask_line

SECRET = "s3cr3t-Wort"


@pytest.mark.parametrize(
    "line",
    [
        f"PASS {SECRET}",
        f"PASS :{SECRET}",
        f"pass {SECRET}",
        f"AUTHENTICATE {SECRET}",
        f"PRIVMSG NickServ :IDENTIFY account {SECRET}",
        f"PRIVMSG NickServ@services.test :identify {SECRET}",
        f"PRIVMSG NickServ :REGAIN bot {SECRET}",
        f"PRIVMSG NickServ :GHOST bot {SECRET}",
        f"PRIVMSG NickServ :RELEASE bot {SECRET}",
        f"JOIN #a,#b {SECRET},x",
        f"OPER me {SECRET}",
        f":ChanServ!s@services.x NOTICE bot :Channel \x02#a\x02 key is: \x02{SECRET}\x02",
        f":op!u@h MODE #a +k {SECRET}",
        f":s.x MODE #a +ntk-o {SECRET} x",
        f"@time=x :a!b@c AUTHENTICATE {SECRET}",
    ],
)
def test_a_line_is_shown_without_its_secret(line: str):
    shown = mask_line(line.encode() + b"\r\n")
    assert SECRET not in shown
    assert shown.endswith("***")


@pytest.mark.parametrize(
    "line", ["AUTHENTICATE PLAIN", "AUTHENTICATE +", "AUTHENTICATE *", "JOIN #a", "PRIVMSG a :PASS x", "NICK bot"]
)
def test_other_lines_are_shown_whole(line: str):
    assert mask_line(line.encode()) == line


def test_neither_repr_nor_traceback_shows_a_secret():
    login = Login(nick="bot", password=Secret(SECRET), account="a", account_password=Secret(SECRET))
    assert SECRET not in repr(login)
    assert SECRET not in f"{Secret(SECRET)} {Secret(SECRET)!r}"
    assert Secret("a") == Secret("a") != Secret("b")
    with pytest.raises(ValueError) as caught:
        Login(nick="bot", password=Secret(f"{SECRET} with a blank"))
    assert SECRET not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("password", ["", "a b", ":x", "a\nb", "a\rb", "a\0b"])
def test_a_password_that_cannot_be_sent_is_reported(password: str):
    reason = pass_mistake(password)
    assert reason is not None
    assert not password or password not in reason
    with pytest.raises(ValueError):
        Login(nick="bot", password=Secret(password))
