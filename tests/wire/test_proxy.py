"""The PROXY header: the examples of the specification, every split, everything built, and hostile bytes."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fingertrio.wire import PROXY_HEADER
from fingertrio.wire.proxy import (
    HEADER_LIMIT,
    LINE_LIMIT,
    ProxyHeader,
    ProxyHeaderError,
    crc32c,
    read_header,
)

LOCAL, PROXY = 0x20, 0x21
V4 = bytes([192, 0, 2, 1, 192, 0, 2, 2]) + b"\x04\xd2\x00\x4f"
V6 = ipaddress.IPv6Address("2001:db8::1").packed + ipaddress.IPv6Address("2001:db8::2").packed + b"\x04\xd2\x00\x4f"


def v2(command: int, family: int, rest: bytes = b"") -> bytes:
    return PROXY_HEADER + bytes([command, family]) + len(rest).to_bytes(2, "big") + rest


def tlv(kind: int, value: bytes) -> bytes:
    return bytes([kind]) + len(value).to_bytes(2, "big") + value


def with_checksum(family: int, addresses: bytes, *before: bytes, after: bytes = b"") -> bytes:
    zero = v2(PROXY, family, addresses + b"".join(before) + tlv(3, bytes(4)) + after)
    place = 16 + len(addresses) + sum(map(len, before)) + 3
    return zero[:place] + crc32c(zero).to_bytes(4, "big") + zero[place + 4 :]


LONGEST_UNKNOWN = b"PROXY UNKNOWN ffff:" + b"f" * (LINE_LIMIT - 21) + b"\r\n"

VALID = {
    # The lines of section 2.1.
    b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n": ("192.168.0.1", 56324, False),
    b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n": ("255.255.255.255", 65535, False),
    b"PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n": ("0.0.0.0", 0, False),
    b"PROXY TCP6 2001:DB8::1 ::1 1 79\r\n": ("2001:db8::1", 1, False),
    b"PROXY TCP6 " + b":".join([b"ffff"] * 8) + b" " + b":".join([b"ffff"] * 8) + b" 65535 65535\r\n": (
        "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        65535,
        False,
    ),
    # What inet_ntop writes for an IPv4 client of a dual-stack proxy.
    b"PROXY TCP6 ::ffff:192.0.2.1 ::ffff:192.0.2.2 1 2\r\n": ("192.0.2.1", 1, False),
    b"PROXY UNKNOWN\r\n": ("", 0, False),
    b"PROXY UNKNOWN \x00\xff\r anything\r\n": ("", 0, False),
    LONGEST_UNKNOWN: ("", 0, False),
    # Section 2.2.
    v2(PROXY, 0x11, V4): ("192.0.2.1", 1234, False),
    v2(PROXY, 0x21, V6): ("2001:db8::1", 1234, False),
    v2(PROXY, 0x21, ipaddress.IPv6Address("::ffff:192.0.2.1").packed + V6[16:]): ("192.0.2.1", 1234, False),
    v2(PROXY, 0x31, b"/run/client".ljust(108, b"\0") + bytes(108)): ("", 0, False),
    v2(PROXY, 0x32, bytes(216)): ("", 0, False),
    v2(PROXY, 0x12, V4): ("", 0, False),
    v2(PROXY, 0x22, V6): ("", 0, False),
    v2(PROXY, 0x00): ("", 0, False),
    v2(PROXY, 0x00, b"whatever"): ("", 0, False),
    v2(PROXY, 0x10, b"x"): ("", 0, False),
    v2(LOCAL, 0x00): ("", 0, True),
    v2(LOCAL, 0x11, V4): ("", 0, True),
    v2(LOCAL, 0xFF, b"the family and the block are ignored"): ("", 0, True),
    # Extensions.
    v2(PROXY, 0x11, V4 + tlv(0x02, b"example.org") + tlv(0xE0, b"") + tlv(0x04, bytes(300))): (
        "192.0.2.1",
        1234,
        False,
    ),
    with_checksum(0x11, V4): ("192.0.2.1", 1234, False),
    with_checksum(0x21, V6, tlv(0x05, b"id"), after=tlv(0x20, bytes(9))): ("2001:db8::1", 1234, False),
    v2(PROXY, 0x11, V4 + tlv(0x04, bytes(HEADER_LIMIT - 16 - 12 - 3))): ("192.0.2.1", 1234, False),
}

HOSTILE = {
    b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\n": "CRLF",
    b"PROXY TCP4  192.168.0.1 192.168.0.11 56324 443\r\n": "grammar",
    b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443 \r\n": "grammar",
    b"PROXY TCP4 192.168.0.1 192.168.0.11 56324\r\n": "grammar",
    b"PROXY\r\n": "no PROXY",
    b"PROXY \r\n": "grammar",
    b"PROXY UNKNOWNS\r\n": "grammar",
    b"PROXY tcp4 192.168.0.1 192.168.0.11 56324 443\r\n": "grammar",
    b"PROXY UDP4 192.168.0.1 192.168.0.11 56324 443\r\n": "grammar",
    b"PROXY TCP4 192.168.00.1 192.168.0.11 56324 443\r\n": "address",
    b"PROXY TCP4 192.168.1 192.168.0.11 56324 443\r\n": "address",
    b"PROXY TCP4 192.168.0.256 192.168.0.11 56324 443\r\n": "address",
    b"PROXY TCP4 \xb2.0.0.1 192.168.0.11 56324 443\r\n": "address",
    b"PROXY TCP4 ::1 ::1 1 2\r\n": "address",
    b"PROXY TCP6 192.0.2.1 192.0.2.1 1 2\r\n": "address",
    b"PROXY TCP6 1::2::3 ::1 1 2\r\n": "address",
    b"PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n": "zone",
    b"PROXY TCP4 192.168.0.1 localhost 1 2\r\n": "address",
    b"PROXY TCP4 192.168.0.1 192.168.0.11 65536 443\r\n": "port",
    b"PROXY TCP4 192.168.0.1 192.168.0.11 01 443\r\n": "port",
    b"PROXY TCP4 192.168.0.1 192.168.0.11 +1 443\r\n": "port",
    b"PROXY TCP4 192.168.0.1 192.168.0.11 1 \r\n": "port",
    b"PROXY UNKNOWN" + b"x" * LINE_LIMIT: "longer",
    LONGEST_UNKNOWN[:-2] + b"f\r\n": "longer",
    b"moshez\r\n": "no PROXY",
    b"\r\nmoshez": "no PROXY",
    b"\r\n\r\n\r\n": "no PROXY",
    b"\x16\x03\x01": "no PROXY",
    b"GET / HTTP/1.1\r\n": "no PROXY",
    PROXY_HEADER + b"\x11": "version or command",
    PROXY_HEADER + b"\x22": "version or command",
    PROXY_HEADER + b"\x31": "version or command",
    PROXY_HEADER + b"\x21\x41": "family",
    PROXY_HEADER + b"\x21\x13": "family",
    v2(PROXY, 0x11, V4[:-1]): "too short",
    v2(PROXY, 0x21, V4): "too short",
    v2(PROXY, 0x31, bytes(215)): "too short",
    v2(PROXY, 0x11, V4 + b"\x04"): "extension",
    v2(PROXY, 0x11, V4 + b"\x04\x00"): "extension",
    v2(PROXY, 0x11, V4 + b"\x04\x00\x02x"): "extension",
    v2(PROXY, 0x11, V4 + tlv(3, b"\0\0\0\1")): "checksum",
    v2(PROXY, 0x11, V4 + tlv(3, b"")): "checksum",
    with_checksum(0x11, V4).replace(b"\xc0\x00\x02\x01", b"\xc0\x00\x02\x03"): "checksum",
    PROXY_HEADER + b"\x20\x00\xff\xff": "longer",
}


@pytest.mark.parametrize("header", VALID)
def test_a_valid_header_whole_byte_by_byte_and_with_what_follows(header: bytes) -> None:
    client, port, is_local = VALID[header]
    expected = ProxyHeader(len(header), client, port, is_local)
    assert read_header(header) == expected
    for following in (b"moshez\r\n", b"\r\n", header, bytes(5000)):
        assert read_header(header + following) == expected
    steps = range(len(header)) if len(header) < 400 else (*range(40), *range(40, len(header), 97), len(header) - 1)
    for size in steps:
        assert read_header(header[:size]) is None


@pytest.mark.parametrize("header", HOSTILE)
def test_a_hostile_header_is_rejected_and_never_waited_for(header: bytes) -> None:
    with pytest.raises(ProxyHeaderError, match=HOSTILE[header]):
        read_header(header)


def test_the_checksum_is_that_of_rfc_3720() -> None:
    """Appendix B.4 has these examples."""
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(b"\xff" * 32) == 0x62A8AB43
    assert crc32c(bytes(range(32))) == 0x46DD794E


addresses = st.ip_addresses()
ports = st.integers(0, 65535)
extensions = st.lists(st.tuples(st.integers(0, 255).filter(lambda kind: kind != 3), st.binary(max_size=40)), max_size=4)


@given(addresses, addresses, ports, ports)
def test_every_line_is_read_as_it_was_written(source, destination, port, other) -> None:
    if source.version != destination.version:
        destination = source
    header = f"PROXY TCP{source.version} {source} {destination} {port} {other}\r\n".encode()
    mapped = source.ipv4_mapped if source.version == 6 else None
    assert read_header(header + b"x") == ProxyHeader(len(header), str(mapped or source), port)


@given(addresses, ports, extensions, st.booleans(), st.binary(max_size=30))
def test_every_binary_header_is_read_as_it_was_written(source, port, more, checked, following) -> None:
    length = len(source.packed)
    block = source.packed + bytes(length) + port.to_bytes(2, "big") + b"\0\0"
    family = 0x11 if source.version == 4 else 0x21
    extra = [tlv(kind, value) for kind, value in more]
    header = with_checksum(family, block, *extra) if checked else v2(PROXY, family, block + b"".join(extra))
    mapped = source.ipv4_mapped if source.version == 6 else None
    assert read_header(header + following) == ProxyHeader(len(header), str(mapped or source), port)


@given(
    st.one_of(
        st.binary(max_size=300),
        st.binary(max_size=300).map(PROXY_HEADER.__add__),
        st.binary(max_size=120).map(b"PROXY TCP4 ".__add__),
        st.tuples(st.sampled_from(sorted(VALID)), st.integers(0, 300), st.integers(1, 255)).map(
            lambda each: bytes(
                byte ^ each[2] if index == each[1] % len(each[0]) else byte for index, byte in enumerate(each[0])
            )
        ),
    )
)
def test_any_bytes_are_a_header_or_the_beginning_of_one_or_rejected(received: bytes) -> None:
    """A prefix of what is rejected may be waited for; what is read once is not changed by more bytes."""
    try:
        header = read_header(received)
    except ProxyHeaderError:
        return
    if header is None:
        assert len(received) < HEADER_LIMIT
    else:
        assert header.size <= len(received)
        assert read_header(received[: header.size]) == header
