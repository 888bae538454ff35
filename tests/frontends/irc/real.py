"""Real IRC servers for tests, on free ports of loopback; each ends with its fixture.

InspIRCd and Atheme refuse to run as root, so as root they are started as the user irc, which their packages create.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trustme

from fingertrio.frontends.irc import TLSSettings
from fingertrio.observe.observer import Observer

PATIENCE = 30  # seconds for each step, which takes milliseconds unless the machine is busy

HOST = "irc.test"  # the name in the certificate
OTHER = "other.test"

# No penalties, which would delay the asking client. The other options disable DNS, PAM, and files outside of the test's
# directory. ngircd started as root changes to the user nobody.
NGIRCD = """
[Global]
Name = irc.test.example
Info = a test
AdminEMail = nobody@test.example
Listen = 127.0.0.1
Ports = {port}
MotdPhrase = hello
PidFile =
Password = {password}
[Limits]
MaxConnectionsIP = 0
MaxPenaltyTime = 0
[Options]
DNS = no
Ident = no
PAM = no
"""

_INSPIRCD = """
<define name="here" value="{here}">
<admin name="t" nick="t" email="t@localhost">
<files motd="{here}/motd">
<dns server="127.0.0.1" timeout="1">
<options casemapping="rfc1459" defaultmodes="not">
<security hideulines="no">
<performance nouserdns="yes" clonesonconnect="no" quietbursts="yes">
<limits maxnick="30" maxchan="64" maxident="10" maxhost="64" maxreal="128" maxline="512">
<log method="file" type="* -USERINPUT -USEROUTPUT" level="default" target="{here}/insp.log">
<connect name="strict" allow="*" port="{strict}" timeout="20" pingfreq="2m" threshold="10" commandrate="1000"
 fakelag="yes" recvq="10K" {common}>
<connect name="locked" allow="*" port="{locked}" password="right" timeout="20" pingfreq="2m" threshold="100000"
 commandrate="100000" fakelag="no" recvq="1M" {common}>
<connect name="main" allow="*" port="{plain},{tls}" timeout="20" pingfreq="2m" threshold="100000"
 commandrate="100000" fakelag="no" recvq="1M" {common}>
{modules}
<sasl target="services.test" requiressl="no">
<sts host="*" duration="60" port="{tls}" preload="no">
<sslprofile name="Clients" provider="gnutls" certfile="{here}/server.pem" keyfile="{here}/server.key" hash="sha256"
 mindhbits="1024" priority="NORMAL">
<oper name="oper" password="oper" host="*@*" type="All">
<class name="All" commands="*" privs="*" usermodes="*" chanmodes="*">
<type name="All" classes="All">
<link name="services.test" ipaddr="127.0.0.1" port="{link}" allowmask="127.0.0.0/8" timeout="5m" recvpass="svc"
 sendpass="svc">
<uline server="services.test" silent="yes">
<badnick nick="badnick" reason="Q-lined nick">
<server name="insp.test" description="a" network="InspTest" id="1AA">
<bind address="127.0.0.1" port="{plain}" type="clients">
<bind address="127.0.0.1" port="{locked}" type="clients">
<bind address="127.0.0.1" port="{strict}" type="clients">
<bind address="127.0.0.1" port="{tls}" type="clients" sslprofile="Clients">
<bind address="127.0.0.1" port="{link}" type="servers">
<pid file="{here}/insp.pid">
<path configdir="{here}" datadir="{here}" logdir="{here}" moduledir="{moduledir}" runtimedir="{here}">
"""
_COMMON = (
    'maxchans="20" localmax="3000" globalmax="3000" useident="no" resolvehostnames="no" useconnflood="no" '
    'hardsendq="1M" softsendq="10240"'
)
_MODULES = """
cap ircv3 ircv3_accounttag ircv3_batch ircv3_capnotify ircv3_chghost ircv3_ctctags ircv3_invitenotify ircv3_servertime
ircv3_sts sasl services_account spanningtree botmode monitor setname chghost sslinfo ssl_gnutls callerid deaf sajoin
sanick svshold blockcolor banredirect redirect sslmodes cban permchannels password_hash sha256
"""

_ATHEME = """
loadmodule "modules/protocol/inspircd";
loadmodule "modules/backend/opensex";
loadmodule "modules/crypto/pbkdf2v2";
loadmodule "modules/nickserv/main"; loadmodule "modules/nickserv/ghost"; loadmodule "modules/nickserv/identify";
loadmodule "modules/nickserv/group"; loadmodule "modules/nickserv/register"; loadmodule "modules/nickserv/cert";
loadmodule "modules/nickserv/enforce"; loadmodule "modules/nickserv/logout"; loadmodule "modules/nickserv/return";
loadmodule "modules/chanserv/main"; loadmodule "modules/chanserv/register"; loadmodule "modules/chanserv/invite";
loadmodule "modules/chanserv/flags"; loadmodule "modules/saslserv/main"; loadmodule "modules/saslserv/plain";
loadmodule "modules/saslserv/external";
serverinfo {{
    name = "services.test"; desc = "Atheme"; numeric = "00A"; recontime = 2; netname = "InspTest";
    hidehostsuffix = "users.test"; adminname = "t"; adminemail = "t@localhost"; registeremail = "n@localhost";
    hidden; mta = "/bin/true"; loglevel = {{ error; info; network; }};
    maxcertfp = 5; maxlogins = 50; maxusers = 50; emaillimit = 100; emailtime = 300; auth = none;
    casemapping = rfc1459;
}};
uplink "insp.test" {{ host = "127.0.0.1"; port = {link}; send_password = "svc"; receive_password = "svc"; }};
nickserv {{ spam; nick = "NickServ"; user = "NickServ"; host = "services.test"; real = "N"; enforcetime = 5;
    enforceprefix = "Guest"; }};
chanserv {{ nick = "ChanServ"; user = "ChanServ"; host = "services.test"; real = "C"; }};
saslserv {{ nick = "SaslServ"; user = "SaslServ"; host = "services.test"; real = "S"; }};
general {{ commit_interval = 5; default_clone_allowed = 200; flood_msgs = 1000; flood_time = 10;
    ratelimit_uses = 5000; ratelimit_period = 60; }};
"""


def program(name: str, package: str) -> str:
    """The path of a server; the test is skipped where it is not installed."""
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")  # often missing from PATH
    if found is None:
        pytest.skip(f"needs {name} (Debian package {package})")
    return found


def der(pem: Path) -> bytes:
    """The first certificate in a file."""
    text = pem.read_text()
    begin = text.index("-----BEGIN CERTIFICATE-----")
    end = text.index("-----END CERTIFICATE-----", begin) + len("-----END CERTIFICATE-----")
    return ssl.PEM_cert_to_DER_cert(f"{text[begin:end]}\n")


def listens(port: int) -> bool:
    """Whether something accepts connections there."""
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def free_ports(number: int) -> list[int]:
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports


@contextmanager
def directory() -> Iterator[Path]:
    """A directory that the user irc can use too; pytest's own is for its user alone."""
    with tempfile.TemporaryDirectory(prefix="fingertrio-irc-") as name:
        path = Path(name)
        path.chmod(0o755)
        yield path


class Running:
    """A server's process."""

    def __init__(self, arguments: list[str], log: Path, ready: Callable[[], bool], *, unprivileged: bool) -> None:
        if unprivileged and os.geteuid() == 0:
            arguments = ["setpriv", "--reuid=irc", "--regid=irc", "--clear-groups", *arguments]
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                arguments, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )
        self._log = log
        try:
            self._wait(ready)
        except BaseException:
            self.stop()
            raise

    def _wait(self, ready: Callable[[], bool]) -> None:
        until = time.monotonic() + PATIENCE
        while not ready():
            assert self.process.poll() is None, self._log.read_text(errors="replace")[-2000:]
            assert time.monotonic() < until, self._log.read_text(errors="replace")[-2000:]
            time.sleep(0.02)

    def pause(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
        self.process.wait()


class Insp:
    """InspIRCd with Atheme.

    Ports: plain and tls; locked, which needs the password "right"; strict, which delays who sends too fast, as networks
    do.
    """

    def __init__(self, here: Path, ca: trustme.CA) -> None:
        inspircd, atheme = program("inspircd", "inspircd"), program("atheme-services", "atheme-services")
        self.plain, self.locked, self.tls, self.strict, link = free_ports(5)
        self._here = here
        certificate = ca.issue_cert(HOST)
        certificate.private_key_and_cert_chain_pem.write_to_path(here / "server.key")
        (here / "server.pem").write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
        self.certificate = certificate
        modules = "".join(f'<module name="{name}">' for name in _MODULES.split())
        moduledir = next(
            path for path in ("/usr/lib/inspircd/modules", "/usr/lib/x86_64-linux-gnu/inspircd") if Path(path).is_dir()
        )
        text = _INSPIRCD.format(
            here=here,
            modules=modules,
            moduledir=moduledir,
            link=link,
            strict=self.strict,
            common=_COMMON,
            plain=self.plain,
            locked=self.locked,
            tls=self.tls,
        )
        (here / "inspircd.conf").write_text(text)
        (here / "atheme.conf").write_text(_ATHEME.format(link=link))
        (here / "motd").write_text("hello\n")
        if os.geteuid() == 0:
            for path in (here, *here.iterdir()):
                shutil.chown(path, "irc", "irc")
        self._atheme = [atheme, "-n", "-c", str(here / "atheme.conf"), "-D", str(here), "-p", str(here / "atheme.pid")]
        self.server = Running(
            [inspircd, "--nofork", f"--config={here}/inspircd.conf"],
            here / "out",
            lambda: listens(self.plain),
            unprivileged=True,
        )
        try:
            self.services = self.start_services()
        except BaseException:
            self.server.stop()
            raise

    def start_services(self) -> Running:
        log = self._here / "atheme.out"
        arguments = [*self._atheme, "-l", str(self._here / "atheme.log")]
        return Running(arguments, log, lambda: b"finished synching" in log.read_bytes(), unprivileged=True)

    def stop(self) -> None:
        self.services.stop()
        self.server.stop()

    @property
    def der(self) -> bytes:
        """The server's certificate."""
        return der(self._here / "server.pem")


class Person:
    """A small IRC client that shares no code with ours."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._buffer = b""
        self.seen: list[str] = []

    async def send(self, *lines: str) -> None:
        await self._stream.send_all("".join(f"{line}\r\n" for line in lines).encode())

    async def line(self) -> str:
        """The next line; PING is answered."""
        with trio.fail_after(PATIENCE):
            while True:
                while b"\r\n" not in self._buffer:
                    data = await self._stream.receive_some()
                    assert data, f"the server has closed; before: {self.seen[-3:]}"
                    self._buffer += bytes(data)
                raw, self._buffer = self._buffer.split(b"\r\n", 1)
                line = raw.decode(errors="replace")
                if line.startswith("PING"):
                    await self.send(line.replace("PING", "PONG", 1))
                else:
                    self.seen.append(line)
                    return line

    async def until(self, *parts: str) -> str:
        """The next line that has all of `parts`."""
        while True:
            line = await self.line()
            if all(part in line for part in parts):
                return line

    async def text(self, command: str, *parts: str) -> str:
        """The text of the next such message that has all of `parts`."""
        return (await self.until(f" {command} ", *parts)).split(f" {command} ", 1)[1].split(" ", 1)[1].removeprefix(":")

    async def ask(self, whom: str, text: str, command: str = "PRIVMSG", *, bot: str = "") -> str:
        await self.send(f"PRIVMSG {whom} :{text}")
        return await self.text(command, f":{bot or whom}!")

    async def settled(self) -> list[str]:
        """Everything that the server has sent us until now."""
        before = len(self.seen)
        await self.send("PING :settled")
        await self.until("PONG", "settled")
        return self.seen[before:-1]


@asynccontextmanager
async def person(port: int, nick: str, *, user: str = "", caps: str = "", password: str = "") -> AsyncIterator[Person]:
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        one = Person(stream)
        if caps:
            await one.send("CAP LS 302", f"CAP REQ :{caps}")
        if password:
            await one.send(f"PASS {password}")
        await one.send(f"NICK {nick}", f"USER {user or nick} 0 * :{nick}", *(["CAP END"] if caps else []))
        await one.until(" 001 ")
        await one.until(" 376 ") if caps else None
        yield one


class Watcher(Observer):
    """Lets a test wait for an event."""

    def __init__(self, stream: Any = None) -> None:
        super().__init__(stream, human=False, level="debug")
        self.seen: list[tuple[str, dict[str, object]]] = []
        self._news = trio.Event()

    def _note(self, event: str, fields: dict[str, object]) -> None:
        self.seen.append((event, fields))
        self._news.set()

    def info(self, event: str, **fields: object) -> None:
        super().info(event, **fields)
        self._note(event, fields)

    def warning(self, event: str, *, exc: BaseException | None = None, **fields: object) -> None:
        super().warning(event, exc=exc, **fields)
        self._note(event, fields)

    def error(self, event: str, *, exc: BaseException | None = None, **fields: object) -> None:
        super().error(event, exc=exc, **fields)
        self._note(event, fields)

    async def wait(self, event: str, **wanted: object) -> dict[str, object]:
        """The fields of the next such event, seen or not; each is returned once."""
        with trio.fail_after(PATIENCE):
            while True:
                for number, (name, fields) in enumerate(self.seen):
                    if name == event and wanted.items() <= fields.items():
                        del self.seen[number]
                        return fields
                self._news = trio.Event()
                await self._news.wait()


# Starts a bot on a port, with settings of its network; the events stop it, and are set when it has stopped.
Start = Callable[..., Awaitable[tuple[trio.Event, trio.Event]]]


async def attempt_tls(start: Start, watcher: Watcher, port: int, good: TLSSettings, pin: str) -> None:
    """Five bots with settings that are right or wrong, and what must be reported of each."""
    for nick, settings, host, reason in [
        ("tlsone", good, HOST, None),
        ("tlstwo", TLSSettings(), HOST, "untrusted issuer"),
        ("tlsthree", good, OTHER, "wrong name"),
        ("tlsfour", TLSSettings(fingerprints=(pin,)), OTHER, None),
        ("tlsfive", TLSSettings(fingerprints=(f"sha-256:{'0' * 64}",)), HOST, pin),
    ]:
        await start(port, nick=nick, host=host, tls=settings)
        if reason is None:
            assert (await watcher.wait("irc_registered"))["nick"] == nick
        else:
            assert reason in str((await watcher.wait("irc_tls_refused"))["reason"])


async def require_registered_by_tls(port: int) -> None:
    """Of the bots of `attempt_tls`, the server has the two whose settings are right, and has heard of no other."""
    async with person(port, "looker") as looker:
        await looker.send("ISON tlsone tlstwo tlsthree tlsfour tlsfive")
        assert (await looker.until(" 303 ")).split(" :")[1].split() == ["tlsone", "tlsfour"]
