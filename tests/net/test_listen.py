"""Binding: what is bound really listens, what cannot be bound says why and leaves nothing behind."""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from fingertrio.net.address import Address, parse_address
from fingertrio.net.listen import BACKLOG, BindError, SocketAccess, address_of, bind, close_all, tune
from tests.helpers import open_descriptors

LOOPBACK = Address("127.0.0.1", 0)


@pytest.fixture
def sockets() -> Iterator[list[socket.socket]]:
    """Put what was bound in here; it is closed at the end."""
    bound: list[socket.socket] = []
    yield bound
    close_all(bound)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_free_port_is_taken_and_told(host: str, sockets: list[socket.socket]):
    sockets += bind(Address(host, 0))
    (sock,) = sockets
    place = parse_address(address_of(sock))
    assert place.host == host
    assert place.port > 0
    assert not sock.getblocking()
    with socket.create_connection((place.host, place.port)):
        sock.setblocking(True)
        ours, _ = sock.accept()
        ours.close()


def test_a_name_listens_at_each_of_its_addresses(sockets: list[socket.socket]):
    sockets += bind(Address("localhost", 0))
    names = {(sock.family, sock.getsockname()[0]) for sock in sockets}
    assert (socket.AF_INET, "127.0.0.1") in names
    assert len(names) == len(sockets)


def test_ipv6_leaves_ipv4_alone(sockets: list[socket.socket]):
    """Both wildcards can stand in one list."""
    sockets += bind(Address("::", 0))
    port = sockets[0].getsockname()[1]
    sockets += bind(Address("0.0.0.0", port))
    assert [address_of(sock) for sock in sockets] == [f"[::]:{port}", f"0.0.0.0:{port}"]


def test_a_port_that_is_taken_is_refused_in_one_line(sockets: list[socket.socket]):
    sockets += bind(LOOPBACK)
    place = address_of(sockets[0])
    before = open_descriptors()
    with pytest.raises(BindError) as refusal:
        bind(parse_address(place))
    assert str(refusal.value) == f"cannot listen on {place}: another program listens there already"
    assert open_descriptors() == before


def test_a_port_is_free_again_while_old_connections_still_end(sockets: list[socket.socket]):
    first = bind(LOOPBACK)
    place = parse_address(address_of(first[0]))
    with socket.create_connection((place.host, place.port)):
        first[0].setblocking(True)
        ours, _ = first[0].accept()
        ours.close()  # ours first: the connection stays in the kernel for a while
        close_all(first)
    sockets += bind(place)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("192.0.2.1:0", "this machine does not have this address"),
        ("a..b:0", "label"),  # Python on an invalid host name
        ("x" * 64 + ".example:0", "label"),
        ("unix:/nul\x00", "embedded null"),
        ("unix:/no/such/directory/socket", "the directory does not exist"),
    ],
)
def test_what_cannot_be_listened_at_is_said_in_one_line(text: str, reason: str):
    before = open_descriptors()
    with pytest.raises(BindError, match=reason) as refusal:
        bind(parse_address(text))
    assert str(refusal.value).startswith(f"cannot listen on {text}: ")
    assert open_descriptors() == before


def test_an_unknown_name_is_reported_with_the_resolvers_text(monkeypatch: pytest.MonkeyPatch):
    """Its numbers are not those of errno."""

    def fail(*_args: object, **_options: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(BindError, match=r"^cannot listen on nobody\.invalid:79: Name or service not known$"):
        bind(Address("nobody.invalid", 79))


def test_accepted_connections_inherit_what_was_tuned(sockets: list[socket.socket]):
    sockets += bind(LOOPBACK)
    tune(sockets[0], defer_accept=False)
    with socket.create_connection(sockets[0].getsockname()):
        sockets[0].setblocking(True)
        ours, _ = sockets[0].accept()
        with ours:
            assert ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 30_000
            assert ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_silent_connection_stays_with_the_kernel(sockets: list[socket.socket]):
    sockets += bind(LOOPBACK)
    tune(sockets[0], defer_accept=True)
    with socket.create_connection(sockets[0].getsockname()) as peer:
        with pytest.raises(BlockingIOError):
            sockets[0].accept()
        peer.sendall(b"now\r\n")
        sockets[0].settimeout(5)
        ours, _ = sockets[0].accept()
        ours.close()


def test_a_burst_of_connections_waits_in_the_kernel(sockets: list[socket.socket]):
    """All that arrive between two turns of the accept loop get in, within what the kernel allows."""
    sockets += bind(LOOPBACK)
    somaxconn = int(Path("/proc/sys/net/core/somaxconn").read_text())
    # For a listening socket the kernel shows the backlog it granted where an established one's unsent bytes are.
    info = sockets[0].getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    (granted,) = struct.unpack_from("I", info, 28)
    assert granted == min(BACKLOG, somaxconn)


def test_a_unix_socket_is_a_file_that_goes_with_its_listener(tmp_path: Path, sockets: list[socket.socket]):
    address = Address(path=tmp_path / "finger.sock")
    sockets += bind(address)
    assert address_of(sockets[0]) == str(address)
    tune(sockets[0], defer_accept=True)  # means nothing here, and does no harm
    with socket.socket(socket.AF_UNIX) as peer:
        peer.connect(str(address.path))
    close_all(sockets)
    assert list(tmp_path.iterdir()) == []
    close_all(sockets)  # once more is nothing


@pytest.mark.parametrize("umask", [0o000, 0o077])
@pytest.mark.parametrize(
    ("access", "mode"), [(SocketAccess(), 0o600), (SocketAccess(0o660), 0o660), (SocketAccess(0o666), 0o666)]
)
def test_a_unix_socket_has_the_given_mode_whatever_the_umask(
    tmp_path: Path, sockets: list[socket.socket], umask: int, access: SocketAccess, mode: int
):
    path = tmp_path / "finger.sock"
    before = os.umask(umask)
    try:
        sockets += bind(Address(path=path), access)
        assert os.umask(umask) == umask
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == mode


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_unix_socket_has_the_given_owner_and_group(tmp_path: Path, sockets: list[socket.socket]):
    path = tmp_path / "finger.sock"
    sockets += bind(Address(path=path), SocketAccess(0o660, 65534, 12345))
    assert (path.stat().st_uid, path.stat().st_gid) == (65534, 12345)


def test_a_group_that_is_not_permitted_is_an_error_and_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_args: object, **_options: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "chown", refuse)
    with pytest.raises(BindError, match=r"finger\.sock: not permitted: socket_group is not a group of the user"):
        bind(Address(path=tmp_path / "finger.sock"), SocketAccess(0o660, -1, 12345))
    assert list(tmp_path.iterdir()) == []


def test_a_socket_file_whose_program_is_gone_is_replaced(tmp_path: Path, sockets: list[socket.socket]):
    path = tmp_path / "finger.sock"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    assert path.exists()
    sockets += bind(Address(path=path))
    with socket.socket(socket.AF_UNIX) as peer:
        peer.connect(str(path))


@pytest.mark.parametrize("backlog", [1, 0], ids=["listening", "listening with a full backlog"])
def test_a_unix_socket_in_use_is_left_alone(backlog: int, tmp_path: Path):
    path = tmp_path / "finger.sock"
    peers = [socket.socket(socket.AF_UNIX) for _ in range(3)]
    try:
        with socket.socket(socket.AF_UNIX) as theirs:
            theirs.bind(str(path))
            theirs.listen(backlog)
            if backlog == 0:
                for peer in peers:
                    peer.setblocking(False)
                    try:
                        peer.connect(str(path))
                    except BlockingIOError:
                        break
                else:
                    pytest.fail("the backlog is not full")
            with pytest.raises(BindError, match="another program listens there already"):
                bind(Address(path=path))
            assert path.exists()
    finally:
        for peer in peers:
            peer.close()


def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path):
    path = tmp_path / "precious"
    path.write_text("data")
    with pytest.raises(BindError, match="a file with this name exists and is not a socket"):
        bind(Address(path=path))
    assert path.read_text() == "data"


def test_a_link_to_a_socket_is_left_alone(tmp_path: Path):
    target, link = tmp_path / "target", tmp_path / "link"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(target))
    link.symlink_to(target)
    with pytest.raises(BindError, match="a file with this name exists and is not a socket"):
        bind(Address(path=link))
    assert target.exists()
