"""The setter over TLS, opened by its door: our client, another one, plain text, and connections that are cut off."""

from __future__ import annotations

import io
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trustme
from trio.testing import MockClock, wait_all_tasks_blocked

from fingertrio.clients.setter import SetterError, set_status
from fingertrio.clients.setter_blocking import set_status as set_status_blocking
from fingertrio.config.doors import SetterSection
from fingertrio.config.sections import OptionError
from fingertrio.frontend import Door, TakesOptions
from fingertrio.frontends.setter.door import open_setter
from fingertrio.frontends.setter.frontend import READ_DEADLINE
from fingertrio.net.address import Address
from fingertrio.net.limits import ConnectionCaps, RateLimiter
from fingertrio.net.listen import bind, close_all
from fingertrio.observe.observer import Observer
from fingertrio.service import FingerService
from fingertrio.testing import FakeBackend
from tests.helpers import loopback_listener, no_accounts

REQUEST = b"ada\r\nWeaving\r\n"


class Files:
    """A certificate and its key, which can be issued again."""

    def __init__(self, directory: Path) -> None:
        self.certificate, self.key = directory / "cert.pem", directory / "key.pem"
        self._authority = trustme.CA()
        self.issue()
        self.trusting = ssl.create_default_context()
        self._authority.configure_trust(self.trusting)

    def issue(self, *names: str) -> None:
        pair = self._authority.issue_cert(*(names or ("localhost", "127.0.0.1")))
        pair.cert_chain_pems[0].write_to_path(self.certificate)
        pair.private_key_pem.write_to_path(self.key)


class Prefixed(trio.abc.Stream):
    """Sends some bytes in one segment with the first of the stream."""

    def __init__(self, stream: trio.SocketStream, prefix: bytes) -> None:
        self._stream = stream
        self._prefix = prefix

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        prefix, self._prefix = self._prefix, b""
        await self._stream.send_all(prefix + bytes(data))

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        return bytes(await self._stream.receive_some(max_bytes))

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self._stream.aclose()


class Place:
    """An open setter with TLS."""

    def __init__(self, port: int, service: FingerService, frontend: TakesOptions, files: Files) -> None:
        self.port = port
        self.service = service
        self.frontend = frontend
        self.files = files
        self.addresses: list[str] = []
        self.log = io.StringIO()

    async def set(self, user: str, status: str, **options: Any) -> None:
        """Set a status with both of our clients, which must agree."""
        options = {"host": "127.0.0.1", "tls": self.files.trusting, "port": self.port, **options}
        try:
            await set_status(user, status, **options)
        except SetterError as error:
            with pytest.raises(SetterError, match=f"^{re.escape(str(error))}$"):
                await trio.to_thread.run_sync(partial(set_status_blocking, user, status, **options))
            raise
        await trio.to_thread.run_sync(partial(set_status_blocking, user, status, **options))

    async def connect(self) -> trio.SocketStream:
        return await trio.open_tcp_stream("127.0.0.1", self.port)

    async def connect_tls(self) -> trio.SSLStream[trio.SocketStream]:
        stream = trio.SSLStream(await self.connect(), self.files.trusting, server_hostname="127.0.0.1")
        await stream.do_handshake()
        return stream

    async def is_cut_off(self) -> bool:
        """Whether a connection ends at its first bytes, those of TLS."""
        async with await self.connect() as stream:
            tls = trio.SSLStream(stream, self.files.trusting, server_hostname="127.0.0.1")
            with pytest.raises(trio.BrokenResourceError):
                await tls.do_handshake()
        return True

    async def status(self, user: str = "ada") -> str | None:
        info = await self.service.get_user(user)
        return None if info is None else info.status


def section(files: Files, **values: Any) -> SetterSection:
    return SetterSection.model_validate(
        {"listen": ["127.0.0.1:0"], "certfile": files.certificate, "keyfile": files.key, **values}
    )


@asynccontextmanager
async def opened(files: Files, **values: Any) -> AsyncIterator[Place]:
    listeners = bind(Address("127.0.0.1", 0))
    log = io.StringIO()
    observer = Observer(log, human=False)
    try:
        async with FingerService.open(FakeBackend({}), observer=observer) as service, trio.open_nursery() as nursery:
            door = Door(
                name="setter",
                service=service,
                accounts=values.pop("accounts", None) or no_accounts(),
                observer=observer,
                listeners=listeners,
                caps=ConnectionCaps(total=10, per_address=10),
                queries=RateLimiter(rate=1, burst=1),
                writes=RateLimiter(rate=100, burst=100),
            )
            frontend = open_setter(section(files, **values), door)
            assert isinstance(frontend, TakesOptions)
            stopping = trio.Event()
            place = Place(listeners[0].getsockname()[1], service, frontend, files)
            place.log = log
            place.addresses = await nursery.start(frontend.serve, stopping)
            yield place
            stopping.set()
    finally:
        close_all(listeners)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


V1 = b"PROXY TCP4 192.0.2.7 192.0.2.2 1234 1079\r\n"


@pytest.mark.parametrize("size", [0, 5, len(V1) - 1, len(V1)])
async def test_a_proxy_header_comes_before_the_handshake(files: Files, size: int):
    """In pieces, or in one segment with the ClientHello. The request is logged with the address of the client."""
    async with opened(files, auth="token", proxy_protocol=True, trusted_proxies=["127.0.0.1"]) as place:
        stream = await place.connect()
        if size:
            await stream.send_all(V1[:size])
            await wait_all_tasks_blocked()
        tls = trio.SSLStream(Prefixed(stream, V1[size:]), files.trusting, server_hostname="127.0.0.1")
        async with tls:
            await tls.send_all(REQUEST + b"end:\r\n")
            assert b"a token is needed" in await tls.receive_some()
        assert '"peer": "192.0.2.7"' in place.log.getvalue()
        assert await place.is_cut_off()


async def test_a_reload_switches_the_proxy_header_on_and_off(files: Files):
    async with opened(files, auth="token") as place:
        proxied = section(files, auth="token", proxy_protocol=True, trusted_proxies=["127.0.0.1"])
        place.frontend.prepare(proxied)()
        assert await place.is_cut_off()
        place.frontend.prepare(section(files, auth="token"))()
        await trio.aclose_forcefully(await place.connect_tls())


async def test_our_client_sets_a_status_and_the_token_is_never_in_plain_text(files: Files):
    accounts = no_accounts()
    secret, _ = await accounts.tokens.add("ada")
    async with opened(files, auth="token", accounts=accounts) as place:
        assert place.addresses == [f"tls://127.0.0.1:{place.port}"]
        await place.set("ada", "Weaving\nall day", token=secret)
        assert await place.status() == "Weaving\nall day"
        with pytest.raises(SetterError, match="a token is needed"):
            await place.set("ada", "Away")
        assert await place.status() == "Weaving\nall day"


async def test_openssl_is_a_client_too(files: Files):
    async with opened(files) as place:
        done = await trio.run_process(
            ["openssl", "s_client", "-quiet", "-verify_quiet", "-connect", f"127.0.0.1:{place.port}"],
            stdin=REQUEST + b"end:\r\n",
            capture_stdout=True,
            capture_stderr=True,
        )
        assert done.stdout == b"OK\r\n"
        assert await place.status() == "Weaving"


async def test_a_certificate_for_another_name_or_of_another_authority_is_not_accepted(files: Files, tmp_path: Path):
    (tmp_path / "other").mkdir()
    async with opened(files) as place:
        with pytest.raises(
            SetterError, match=r"nothing was set: the server's certificate is not accepted: .*unable to"
        ):
            await place.set("ada", "x", tls=Files(tmp_path / "other").trusting)
        files.issue("finger.example.org")
        place.frontend.prepare(section(files))()
        with pytest.raises(SetterError, match="not accepted: IP address mismatch"):
            await place.set("ada", "x")
        assert await place.status() is None


async def test_plain_text_gets_one_line_that_says_so(files: Files):
    async with opened(files) as place, await place.connect() as stream:
        await stream.send_all(b"AUTH ft_secret\r\n" + REQUEST)
        await stream.send_eof()
        answer = b"".join([chunk async for chunk in stream])
        assert answer.startswith(b"ERROR this address speaks TLS only; a token that was sent in plain text")
        assert await place.status() is None


async def test_what_is_cut_off_without_tls_close_sets_nothing(files: Files):
    """Somebody on the way can end the connection after any record, but cannot make the close that TLS authenticates."""
    async with opened(files) as place:
        stream = await place.connect_tls()
        await stream.send_all(REQUEST)
        await stream.transport_stream.send_eof()
        with pytest.raises(trio.BrokenResourceError):
            await stream.receive_some()
        await stream.transport_stream.aclose()
        assert await place.status() is None
        async with await place.connect_tls() as stream:  # the same, closed
            await stream.send_all(REQUEST)
            with pytest.raises(trio.BrokenResourceError):  # the answer comes, where OpenSSL reads a close only
                await stream.unwrap()
        assert await place.status() == "Weaving"


async def test_a_client_that_never_shakes_hands_is_let_go(files: Files, patient_clock: MockClock):
    async with opened(files) as place, await place.connect() as stream:
        await stream.send_all(b"\x16\x03")
        with trio.fail_after(READ_DEADLINE + 5):
            assert await stream.receive_some() == b""


async def test_a_server_that_does_not_speak_tls_is_not_waited_for_longer(files: Files):
    with loopback_listener() as silent:
        port = silent.getsockname()[1]
        ask = partial(set_status_blocking, "ada", "x", host="127.0.0.1", port=port, tls=files.trusting, timeout=0.05)
        with pytest.raises(SetterError, match="nothing was set: no TLS handshake in time"):
            await trio.to_thread.run_sync(ask)


async def test_a_failed_handshake_ends_with_its_alert(files: Files):
    async with opened(files) as place, await place.connect() as stream:
        await stream.send_all(b"\x16\x03\x01\x00\x04\x02\x00\x00\x00")
        assert (await stream.receive_some())[:3] == b"\x15\x03\x03"  # alert


async def test_a_reload_renews_the_certificate_and_never_switches_tls_off(files: Files):
    async with opened(files) as place:
        assert {"certfile", "keyfile"} < set(place.frontend.reloadable)
        async with await place.connect_tls() as old, await place.connect_tls() as other:
            first = other.getpeercert(binary_form=True)
            files.issue()
            place.frontend.prepare(section(files))()
            async with await place.connect_tls() as new:
                assert new.getpeercert(binary_form=True) != first
            await old.send_all(REQUEST + b"end:\r\n")
            assert await old.receive_some() == b"OK\r\n"
        files.key.write_text("no key")
        with pytest.raises(OptionError, match=r"keyfile: .*does not contain a private key"):
            place.frontend.prepare(section(files))
        with pytest.raises(OptionError, match="switched on or off at a restart"):
            place.frontend.prepare(SetterSection.model_validate({"listen": ["127.0.0.1:0"]}))
        await place.set("ada", "Still here")
