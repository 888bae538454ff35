"""TLS over memory streams: what is refused, and that nothing but the handshake was sent then."""

from __future__ import annotations

import ssl
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trio
import trustme
from trio.testing import memory_stream_pair

from fingertrio.frontends.irc.settings import TLSSettings
from fingertrio.frontends.irc.tls import TLSRefusedError, fingerprint, make_context, shake_hands

HOST = "irc.test"


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def trusted(ca: trustme.CA, tmp_path: Path) -> Path:
    path = tmp_path / "ca.pem"
    ca.cert_pem.write_to_path(path)
    return path


def serving(ca: trustme.CA, *names: str, **options) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert(*names or (HOST,), **options).configure_cert(context)
    return context


async def attempt(settings: TLSSettings, server: ssl.SSLContext | bytes, host: str = HOST) -> tuple[str, bytes]:
    """Shake hands; the reason for a refusal, or "", and the bytes that the server decrypted."""
    near, far = memory_stream_pair()
    received = b""

    async def serve() -> None:
        nonlocal received
        if isinstance(server, bytes):
            await far.send_all(server)
            await far.aclose()
            return
        tls = trio.SSLStream(far, server, server_side=True, https_compatible=True)
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            received = bytes(await tls.receive_some())

    reason = ""
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            try:
                stream = await shake_hands(near, host, make_context(settings), settings.fingerprints)
            except TLSRefusedError as error:
                reason = str(error)
                await near.aclose()
            else:
                await stream.send_all(b"CAP LS 302\r\n")
    return reason, received


async def test_a_chain_that_is_trusted(ca: trustme.CA, trusted: Path):
    assert await attempt(TLSSettings(ca=trusted), serving(ca)) == ("", b"CAP LS 302\r\n")


async def test_a_fingerprint_replaces_the_chain(ca: trustme.CA):
    server = serving(ca, "any.name")
    reason, received = await attempt(TLSSettings(fingerprints=(f"sha-256:{'0' * 64}",)), server)
    assert received == b""
    pin = reason.rpartition("fingerprint: ")[2]
    assert await attempt(TLSSettings(fingerprints=(f"sha-256:{'0' * 64}", pin)), server) == ("", b"CAP LS 302\r\n")
    assert await attempt(TLSSettings(fingerprints=(pin.upper().replace("SHA", "sha"),)), server) == (
        "",
        b"CAP LS 302\r\n",
    )


@pytest.mark.parametrize(
    ("host", "ours", "reason"),
    [
        (HOST, False, "untrusted issuer"),
        ("other.test", True, "wrong name: the certificate is not for other.test"),
    ],
)
async def test_a_chain_that_is_not(ca: trustme.CA, trusted: Path, host: str, ours: bool, reason: str):
    found, received = await attempt(TLSSettings(ca=trusted if ours else None), serving(ca), host)
    assert reason in found
    assert received == b""


async def test_an_expired_certificate(ca: trustme.CA, trusted: Path):
    server = serving(ca, not_after=datetime(2020, 1, 1, tzinfo=UTC))
    reason, received = await attempt(TLSSettings(ca=trusted), server)
    assert (reason, received) == ("the certificate has expired", b"")


@pytest.mark.parametrize("greeting", [b":irc.test NOTICE * :*** Looking up your hostname\r\n", b"", b"ERROR :no\r\n"])
async def test_a_port_without_tls(greeting: bytes, trusted: Path):
    assert await attempt(TLSSettings(ca=trusted), greeting) == ("the server does not speak TLS on this port", b"")


async def test_old_versions_are_refused(ca: trustme.CA, trusted: Path):
    context = make_context(TLSSettings(ca=trusted))
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.check_hostname


def test_files_that_cannot_be_used_are_named(tmp_path: Path):
    (tmp_path / "empty").write_text("")
    for settings in (
        TLSSettings(ca=tmp_path / "missing"),
        TLSSettings(ca=tmp_path / "empty"),
        TLSSettings(certificate=tmp_path / "missing"),
        TLSSettings(certificate=tmp_path / "empty"),
    ):
        with pytest.raises(ValueError, match=r"tls_(ca|certificate): "):
            make_context(settings)


def test_the_fingerprint_is_written_as_it_is_configured():
    assert fingerprint(b"x").startswith("sha-256:")
    assert len(fingerprint(b"x")) == 8 + 64
