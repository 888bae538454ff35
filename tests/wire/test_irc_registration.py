"""Registration: what is sent in each state, and that every sequence of lines ends in a state."""

from __future__ import annotations

import base64

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fingertrio.wire.irc_authentication import STEP_SECONDS
from fingertrio.wire.irc_client import IRCClient
from fingertrio.wire.irc_ends import Ended, Verdict
from fingertrio.wire.irc_events import Event, LoginFailed, Ready, Registered
from fingertrio.wire.irc_login import Login
from fingertrio.wire.irc_registration import Phase
from fingertrio.wire.irc_secrets import Secret
from fingertrio.wire.irc_sts import STSDuration, STSPort

BOT = Login(nick="bot")
SASL = Login(
    nick="bot",
    account="acc",
    account_password=Secret("pass word"),
    sasl=("external", "plain"),
    sasl_required=True,
)
OPTIONAL = Login(nick="bot", account="acc", account_password=Secret("pw"), sasl=("plain",))


class Session:
    """A client, and what it has sent."""

    def __init__(self, login: Login = BOT, *, hold: bool = False, tls: bool = False, secure: bool = True) -> None:
        self.client = IRCClient(login, hold=hold, tls=tls, secure=secure, uniform=lambda a, b: (a + b) / 2)
        self.events: list[Event] = []
        self.now = 0.0
        self.client.start(0.0)

    def sent(self) -> list[str]:
        """The lines since the last call."""
        return [line.decode().removesuffix("\r\n") for line in self.client.take_urgent()]

    def say(self, *lines: str) -> list[str]:
        """Lines of the server; the lines that follow."""
        self.events += self.client.receive("".join(f"{line}\r\n" for line in lines).encode(), self.now)
        return self.sent()

    def wait(self, seconds: float) -> list[str]:
        """Let time pass; the lines that are due."""
        self.now += seconds
        self.events += self.client.tick(self.now)
        return self.sent()

    @property
    def end(self) -> Ended:
        [end] = {event for event in self.events if isinstance(event, Ended)}
        return end


def test_everything_goes_in_one_write_with_the_password_before_the_nick():
    session = Session(Login(nick="bot", password=Secret("user/net:secret")))
    assert session.sent() == [
        "CAP LS 302",
        "PASS user/net:secret",
        "NICK bot",
        "USER fingertrio 0 * :Send me a user's name to learn their status",
    ]


def test_wanted_capabilities_are_requested_and_nothing_else():
    session = Session()
    session.sent()
    assert session.say(":s.x CAP * LS * :multi-prefix echo-message batch sts=duration=5") == []
    assert session.say(":s.x CAP * LS :account-tag server-time sasl=PLAIN") == [
        "CAP REQ :server-time account-tag batch"
    ]
    assert session.say(":s.x CAP * ACK :batch server-time account-tag") == ["CAP END"]
    assert session.client.state.caps == {"batch", "server-time", "account-tag"}


def test_a_rejected_request_is_repeated_one_by_one_and_only_once():
    session = Session()
    session.sent()
    session.say(":s.x CAP * LS :batch setname")
    assert session.say(":s.x CAP * NAK :batch setname") == ["CAP REQ batch", "CAP REQ setname"]
    assert session.say(":s.x CAP * NAK :batch") == []
    assert session.say(":s.x CAP * ACK :setname") == ["CAP END"]
    assert session.client.state.caps == {"setname"}


def test_a_long_request_is_split():
    session = Session()
    session.sent()
    caps = session.client.registration._caps
    caps._wanted = [f"capability-number-{number}" for number in range(40)]
    lines = session.say(f":s.x CAP * LS :{' '.join(caps._wanted[:20])}")
    assert len(lines) == 2
    assert all(len(line) <= 410 for line in lines)


@pytest.mark.parametrize(
    "line",
    [
        ":s.x 421 * CAP :Unknown command",
        "421 CAP :Unknown command",
        ":s.x 451 * :You have not registered",
        ":s.x 410 * CAP :Invalid CAP command",
        ":s.x 001 bot :Welcome",
        ":s.x CAP * LS :",
    ],
)
def test_a_server_without_capabilities_is_registered(line: str):
    session = Session()
    session.sent()
    session.say(line)
    session.say(":s.x 001 bot :Welcome", ":s.x 422 bot :none")
    assert [event for event in session.events if isinstance(event, Registered | Ready)] == [Registered("bot"), Ready()]


def test_after_ten_seconds_of_silence_there_are_no_capabilities():
    session = Session()
    session.sent()
    assert session.wait(9.9) == []
    assert session.wait(0.1) == ["CAP END"]
    assert session.client.registration.phase is Phase.DONE


# STS: nothing precedes it.


def test_on_a_plain_connection_to_a_name_nothing_is_sent_before_the_list():
    session = Session(Login(nick="bot", password=Secret("x")), hold=True)
    assert session.sent() == ["CAP LS 302"]
    assert session.say(":s.x NOTICE * :looking up your hostname") == []
    assert session.say(":s.x CAP * LS :sts=duration=9,port=6697 sasl") == []
    assert session.events == [STSPort(6697)]


@pytest.mark.parametrize("value", ["", "=duration=5", "=port=0", "=port=70000", "=port=x"])
def test_an_sts_value_without_a_port_is_ignored(value: str):
    session = Session(hold=True)
    session.sent()
    assert session.say(f":s.x CAP * LS :sts{value}")[0] == "NICK bot"
    assert session.events == []


@pytest.mark.parametrize("line", ["421 * CAP :?", "451 * :not registered", ":s.x CAP * LS :batch"])
def test_any_answer_to_the_list_ends_the_hold(line: str):
    session = Session(hold=True)
    session.sent()
    assert session.say(line)[0] == "NICK bot"


def test_two_seconds_of_silence_end_the_hold():
    session = Session(hold=True)
    session.sent()
    assert session.wait(1.9) == []
    assert session.wait(0.1)[0] == "NICK bot"


def test_over_tls_the_duration_counts_and_the_port_does_not():
    session = Session(tls=True)
    session.sent()
    session.say(":s.x CAP * LS :sts=port=1,duration=60,other=2", ":s.x CAP bot NEW :sts=duration=0")
    assert session.events == [STSDuration(60), STSDuration(0)]


def test_a_later_offer_of_sts_counts_too():
    session = Session(hold=True)
    session.sent()
    session.say(":s.x CAP * LS :", ":s.x 001 bot :hi")
    session.say(":s.x CAP bot NEW :sts=port=6697")
    assert session.events[-1] == STSPort(6697)


# SASL.


def authenticating(login: Login = SASL, offered: str = "sasl=PLAIN,EXTERNAL") -> Session:
    session = Session(login)
    session.sent()
    session.say(f":s.x CAP * LS :{offered}")
    return session


def test_mechanisms_are_tried_in_turn():
    session = authenticating()
    assert session.say(":s.x CAP * ACK :sasl") == ["AUTHENTICATE EXTERNAL"]
    assert session.say("AUTHENTICATE +") == ["AUTHENTICATE +"]
    assert session.say(":s.x 904 bot :SASL authentication failed") == ["AUTHENTICATE PLAIN"]
    secret = base64.b64encode(b"acc\0acc\0pass word").decode()
    assert session.say("AUTHENTICATE :+") == [f"AUTHENTICATE {secret}"]
    assert session.say(":s.x 900 bot bot!~f@h acc :You are logged in", ":s.x 903 bot :ok") == ["CAP END"]
    assert session.client.state.account == "acc"


@pytest.mark.parametrize(("size", "pieces"), [(292, [400, 1]), (592, [400, 400, 1]), (300, [400, 12]), (289, [396])])
def test_a_response_is_cut_into_pieces_of_400(size: int, pieces: list[int]):
    login = Login(nick="bot", account="acc", account_password=Secret("x" * size), sasl=("plain",), sasl_required=True)
    session = authenticating(login)
    session.say(":s.x CAP * ACK :sasl")
    lines = session.say("AUTHENTICATE +")
    assert [len(line.removeprefix("AUTHENTICATE ")) for line in lines] == pieces
    text = "".join(line.removeprefix("AUTHENTICATE ").replace("+", "", line.endswith(" +")) for line in lines)
    assert base64.b64decode(text) == b"acc\0acc\0" + b"x" * size
    assert (len(base64.b64encode(b"acc\0acc\0" + b"x" * size)) % 400 == 0) == (lines[-1] == "AUTHENTICATE +")


@pytest.mark.parametrize("numeric", ["902", "904", "905"])
def test_a_rejected_account_stops(numeric: str):
    session = authenticating(offered="sasl=PLAIN")
    session.say(":s.x CAP * ACK :sasl")
    session.say(f":s.x {numeric} bot :rejected")
    assert (session.end.verdict, session.end.outcome) == (Verdict.STOP, "sasl")
    assert session.end.reason == "SASL login failed: rejected"


def test_no_common_mechanism_stops():
    session = authenticating(offered="sasl=SCRAM-SHA-512")
    session.say(":s.x CAP * ACK :sasl")
    assert session.end.verdict is Verdict.STOP


def test_908_narrows_the_mechanisms():
    session = authenticating(offered="sasl")
    assert session.say(":s.x CAP * ACK :sasl") == ["AUTHENTICATE EXTERNAL"]
    session.say(":s.x 908 bot SCRAM-SHA-512 :are available")
    session.say(":s.x 904 bot :no")
    assert session.end.verdict is Verdict.STOP


def test_services_that_never_answer_are_a_temporary_fault():
    session = authenticating()
    session.say(":s.x CAP * ACK :sasl")
    assert session.wait(STEP_SECONDS - 0.1) == []
    assert session.wait(0.1) == ["AUTHENTICATE *"]
    assert (session.end.verdict, session.end.least) == (Verdict.LATER, 60)


@pytest.mark.parametrize(
    "line", ["421 bot AUTHENTICATE :Unknown command", ":s.x FAIL AUTHENTICATE X :no", ":s.x 906 bot :aborted"]
)
def test_authentication_that_is_not_possible_now_is_a_temporary_fault(line: str):
    session = authenticating(offered="sasl=PLAIN")
    session.say(":s.x CAP * ACK :sasl")
    session.say(line)
    assert session.end.verdict is Verdict.LATER


@pytest.mark.parametrize("line", [":s.x CAP * LS :batch", ":s.x CAP * LS :", "421 * CAP :?", ":s.x 001 bot :hi"])
def test_without_sasl_no_session_where_it_is_required(line: str):
    session = Session(SASL)
    session.sent()
    session.say(line, ":s.x CAP * ACK :batch")
    assert session.end.verdict is Verdict.LATER
    assert not session.client.registered


@pytest.mark.parametrize("lines", [["AUTHENTICATE +", ":s.x 904 bot :no"], [":s.x 906 bot :no"]])
def test_without_a_login_the_session_goes_on_where_it_is_not_required(lines: list[str]):
    session = authenticating(OPTIONAL, "sasl=PLAIN")
    session.say(":s.x CAP * ACK :sasl")
    assert session.say(*lines)[-1] == "CAP END"
    session.say(":s.x 001 bot :hi")
    assert LoginFailed("no") in session.events
    assert Registered("bot") in session.events


def test_a_password_is_not_sent_by_plain_where_others_can_read_it():
    session = Session(OPTIONAL, secure=False)
    session.sent()
    session.say(":s.x CAP * LS :sasl=PLAIN")
    assert session.say(":s.x CAP * ACK :sasl") == ["CAP END"]


def test_services_that_come_back_are_used():
    session = Session(OPTIONAL)
    session.sent()
    session.say(":s.x CAP * LS :batch", ":s.x CAP * ACK :batch", ":s.x 001 bot :hi")
    assert session.say(":s.x CAP bot NEW :sasl=PLAIN") == ["CAP REQ sasl"]
    assert session.say(":s.x CAP bot ACK :sasl") == ["AUTHENTICATE PLAIN"]
    session.say("AUTHENTICATE +")
    assert session.say(":s.x 900 bot bot!f@h acc :ok", ":s.x 903 bot :ok") == []
    assert session.client.state.account == "acc"
    session.say(":s.x 901 bot bot!f@h :logged out")
    assert session.client.state.account is None


# Nicks, and other ends.


def test_alternates_come_before_numbers_and_all_refused_is_temporary():
    session = Session(Login(nick="bot", alternates=("bot_",)))
    session.sent()
    assert session.say(":s.x 433 * bot :in use") == ["NICK bot_"]
    assert session.say(":s.x 432 * bot_ :Services reserved nickname") == ["NICK bot1"]
    for _ in range(9):
        session.say(":s.x 433 * x :in use")
    assert (session.end.verdict, session.end.least) == (Verdict.LATER, 300)


def test_a_server_that_accepts_no_nick_as_valid_stops():
    session = Session()
    session.sent()
    for _ in range(10):
        last = session.say(":s.x 432 * x :Erroneous nickname")
    assert session.end.verdict is Verdict.STOP
    assert last == ["QUIT :no nickname left to try"]


def test_an_account_that_is_required_stops_without_sasl():
    session = Session()
    session.sent()
    session.say(":s.x FAIL * ACCOUNT_REQUIRED_TO_CONNECT 127.0.0.1 :You need an account")
    assert session.end.verdict is Verdict.STOP


@pytest.mark.parametrize("line", [":s.x 010 bot other.x 6667 :go there", ":s.x 005 bot :Try server other.x, port 6667"])
def test_a_redirection_is_for_the_next_server_of_the_list(line: str):
    session = Session()
    session.sent()
    session.say(line)
    assert session.end.verdict is Verdict.NEXT


lines = st.sampled_from(
    [
        ":s CAP * LS * :sasl",
        ":s CAP * LS :sasl=PLAIN batch",
        ":s CAP * LS :",
        ":s CAP * ACK :sasl",
        ":s CAP * ACK :batch",
        ":s CAP * ACK :sasl batch",
        ":s CAP * NAK :sasl batch",
        ":s CAP * NAK :batch",
        ":s CAP * NEW :sasl",
        ":s CAP * DEL :sasl",
        "AUTHENTICATE +",
        "AUTHENTICATE " + "A" * 400,
        "AUTHENTICATE ?",
        "900 x x!y@z acc :in",
        "901 x x!y@z :out",
        "903 x :ok",
        "904 x :no",
        "906 x :aborted",
        "907 x :already",
        "908 x PLAIN :mechs",
        "433 * x :taken",
        "432 * x :bad",
        "421 * CAP :?",
        "421 * AUTHENTICATE :?",
        "451 * :no",
        "001 x :hi",
        "005 x MONITOR=5 :are supported",
        "376 x :end",
        "731 x x",
        "PING a",
        "FAIL AUTHENTICATE X :no",
        "ERROR :bye",
        "464 x :password",
    ]
)


@example([":s CAP * LS :sasl=PLAIN batch", "900 x x!y@z acc :in", ":s CAP * ACK :sasl batch", "001 x :hi"], SASL, True)
@given(st.lists(lines, max_size=14), st.sampled_from([BOT, SASL, OPTIONAL]), st.booleans())
def test_every_sequence_of_lines_ends_in_a_state(sent: list[str], login: Login, hold: bool):
    """After any lines, and then silence, each wait has an end: registered, ended, or waiting for 001 alone."""
    session = Session(login, hold=hold)
    for line in sent:
        session.say(line)
        if any(isinstance(event, Ended) for event in session.events):
            return
    for _ in range(20):
        if session.client.registered or session.client.deadline > 1e9:
            break
        session.wait(max(session.client.deadline - session.now, 0))
        if any(isinstance(event, Ended) for event in session.events):
            return
    registration = session.client.registration
    assert session.client.registered or registration.deadline > 1e9
    if session.client.registered:
        assert registration.phase is Phase.DONE
        assert not login.sasl_required or session.client.state.account is not None or registration.phase is Phase.DONE
    else:
        # Nothing waits but for the server: the whole registration has a deadline of its own.
        assert registration.phase in {Phase.REQ, Phase.END, Phase.DONE}


# SCRAM: no daemon of the tests has it, so the server is RFC 7677's.

SCRAM = Login(
    nick="bot", account="user", account_password=Secret("pencil"), sasl=("scram-sha-256", "plain"), sasl_required=True
)
FIRST = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
FINAL = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="


def authenticate(data: bytes) -> str:
    return f"AUTHENTICATE {base64.b64encode(data).decode()}"


@pytest.fixture
def scram(monkeypatch: pytest.MonkeyPatch) -> Session:
    monkeypatch.setattr("fingertrio.wire.irc_sasl.secrets.token_urlsafe", lambda _size: "rOprNGfwEbeRWgbNEkqO")
    session = authenticating(SCRAM, "sasl=PLAIN,SCRAM-SHA-256")
    assert session.say(":s.x CAP * ACK :sasl") == ["AUTHENTICATE SCRAM-SHA-256"]
    assert session.say("AUTHENTICATE +") == [authenticate(b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO")]
    return session


def test_scram_logs_in_and_the_server_proves_itself(scram: Session):
    [proof] = scram.say(authenticate(FIRST))
    assert b"p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=" in base64.b64decode(proof.split()[1])
    assert scram.say(authenticate(FINAL)) == ["AUTHENTICATE +"]
    assert scram.say(":s.x 903 bot :ok") == ["CAP END"]
    assert scram.client.registration.mechanism == "SCRAM-SHA-256"
    assert scram.client.state.account == "user", "no 900 has come"


def test_a_server_with_a_wrong_signature_is_refused_and_gets_no_password_by_plain(scram: Session):
    scram.say(authenticate(FIRST))
    assert scram.say(authenticate(b"v=AAAA")) == ["AUTHENTICATE *"]
    assert (scram.end.verdict, scram.end.outcome) == (Verdict.STOP, "sasl")
    assert "signature is wrong" in scram.end.reason
    assert scram.say("AUTHENTICATE +", ":s.x 903 bot :ok", ":s.x 906 bot :aborted") == []
    assert scram.client.state.account is None


@pytest.mark.parametrize("line", ["AUTHENTICATE ?!", authenticate(FIRST.replace(b"i=4096", b"i=1"))])
def test_a_challenge_that_is_not_valid_aborts(scram: Session, line: str):
    assert scram.say(line) == ["AUTHENTICATE *"]
    assert scram.end.verdict is Verdict.STOP


def test_success_without_the_servers_proof_is_no_success(scram: Session):
    scram.say(authenticate(FIRST))
    scram.say(":s.x 903 bot :ok")
    assert (scram.end.verdict, scram.end.outcome) == (Verdict.STOP, "sasl")
    assert "did not prove" in scram.end.reason


def test_a_password_that_sasl_prohibits_is_no_reason_to_crash():
    login = Login(
        nick="bot", account="a", account_password=Secret("\u0007"), sasl=("scram-sha-256",), sasl_required=True
    )
    session = authenticating(login, "sasl=SCRAM-SHA-256")
    session.say(":s.x CAP * ACK :sasl")
    assert "prohibits" in session.end.reason
