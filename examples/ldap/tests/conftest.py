"""A real slapd for tests, with its configuration and its data in a temporary directory and on ports of loopback.

It is a process of its own, ended by its process id. The service of Debian's package plays no part, running or not.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

SUFFIX = "dc=example,dc=org"
PEOPLE = f"ou=people,{SUFFIX}"
ROOT = f"cn=root,{SUFFIX}"
READER = f"cn=reader,{SUFFIX}"
PATIENCE = 30.0  # seconds for a start, which takes a fraction of one unless the machine is busy

# finger* are attributes as a directory made for fingertrio would have them: names that differ in case are different.
_CONFIG = """
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
attributetype ( 1.3.6.1.4.1.4203.666.1.1 NAME 'fingerLogin' EQUALITY caseExactMatch
 SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 SINGLE-VALUE )
attributetype ( 1.3.6.1.4.1.4203.666.1.2 NAME 'fingerStatus' EQUALITY caseExactMatch
 SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 SINGLE-VALUE )
attributetype ( 1.3.6.1.4.1.4203.666.1.3 NAME 'fingerSince' EQUALITY generalizedTimeMatch
 SYNTAX 1.3.6.1.4.1.1466.115.121.1.24 SINGLE-VALUE )
objectclass ( 1.3.6.1.4.1.4203.666.2.1 NAME 'fingerUser' SUP top STRUCTURAL MUST fingerLogin
 MAY ( fingerStatus $ fingerSince $ cn ) )
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile {here}/pid
loglevel stats
{tls}
database mdb
suffix "{suffix}"
rootdn "{root}"
rootpw root
directory {here}/data
maxsize 16777216
dbnosync
access to attrs=userPassword by anonymous auth
access to * by dn.exact="{reader}" read by users write by anonymous read
"""

_TLS = """
TLSCACertificateFile {here}/ca.pem
TLSCertificateFile {here}/cert.pem
TLSCertificateKeyFile {here}/key.pem
"""

_ENTRIES = f"""
dn: {SUFFIX}
objectClass: dcObject
objectClass: organization
o: Example
dc: example

dn: {PEOPLE}
objectClass: organizationalUnit
ou: people

dn: {READER}
objectClass: organizationalRole
objectClass: simpleSecurityObject
cn: reader
userPassword: reads

dn: uid=moshez,{PEOPLE}
objectClass: inetOrgPerson
uid: moshez
cn: Moshe Zadka
sn: Zadka
description: Happy and well
telephoneNumber: 555 1234

dn: uid=ada,{PEOPLE}
objectClass: inetOrgPerson
uid: ada
cn: Ada
sn: Lovelace
description: At the engine
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


class Slapd:
    """The server. A restart finds the same data and the same ports.

    Attributes:
        url: of its plain port; with a CA, StartTLS works there.
        ldaps_url: of its TLS port, under the name in the certificate.
    """

    def __init__(self, here: Path, ca: trustme.CA | None = None) -> None:
        program = shutil.which("slapd", path=f"{os.environ['PATH']}:/usr/sbin")  # often missing from PATH
        if program is None or shutil.which("ldapmodify") is None:
            pytest.skip("needs slapd and ldapmodify (Debian packages slapd and ldap-utils)")
        self._program = program
        self._here = here
        self.port, self.tls_port = free_port(), free_port()
        self.url = f"ldap://127.0.0.1:{self.port}"
        self.ldaps_url = f"ldaps://localhost:{self.tls_port}"
        self._listen = self.url
        self._process: subprocess.Popen[bytes] | None = None
        (here / "data").mkdir()
        if ca is not None:
            certificate = ca.issue_cert("localhost")
            ca.cert_pem.write_to_path(here / "ca.pem")
            certificate.private_key_pem.write_to_path(here / "key.pem")
            certificate.cert_chain_pems[0].write_to_path(here / "cert.pem")
            self._listen += f" ldaps://127.0.0.1:{self.tls_port}"
        tls = "" if ca is None else _TLS.format(here=here)
        (here / "slapd.conf").write_text(_CONFIG.format(here=here, tls=tls, suffix=SUFFIX, root=ROOT, reader=READER))

    def start(self) -> None:
        with (self._here / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._program, "-f", str(self._here / "slapd.conf"), "-h", self._listen, "-d", "stats"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        until = time.monotonic() + PATIENCE
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > until:
                self.stop()
                raise RuntimeError(self.log()[-2000:])
            time.sleep(0.01)

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True

    def log(self) -> str:
        """What it logged: a line for each connection and each operation."""
        return (self._here / "log").read_text(errors="replace")

    def apply(self, ldif: str) -> None:
        """Change the data, through a client that shares nothing with ours."""
        subprocess.run(
            ["ldapmodify", "-x", "-a", "-H", self.url, "-D", ROOT, "-w", "root"],
            input=ldif.encode(),
            check=True,
            capture_output=True,
        )

    def show(self, dn: str, attribute: str) -> list[str]:
        """The values of an attribute, through such a client."""
        arguments = ["-x", "-LLL", "-o", "ldif-wrap=no", "-H", self.url, "-s", "base", "-b", dn, attribute]
        done = subprocess.run(["ldapsearch", *arguments], check=True, capture_output=True, text=True)
        return [line.partition(": ")[2] for line in done.stdout.splitlines() if line.startswith(f"{attribute}:")]

    def freeze(self) -> None:
        """Connections stay open, and nothing is answered."""
        self._send(signal.SIGSTOP)
        assert self._process is not None
        tasks = Path(f"/proc/{self._process.pid}/task")
        while any(stat.read_text().rpartition(") ")[2][0] != "T" for stat in tasks.glob("*/stat")):
            time.sleep(0.001)  # until each thread has stopped

    def thaw(self) -> None:
        self._send(signal.SIGCONT)

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGCONT)
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def slapd(tmp_path_factory: pytest.TempPathFactory, ca: trustme.CA) -> Iterator[Slapd]:
    """A directory with moshez and ada, for all tests of a module."""
    server = Slapd(tmp_path_factory.mktemp("slapd"), ca)
    server.start()
    try:
        server.apply(_ENTRIES)
        yield server
    finally:
        server.stop()
