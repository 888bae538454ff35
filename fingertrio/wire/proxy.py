r"""Parses the header of the PROXY protocol, version 1 or 2: what a proxy sends before the bytes of its client. Sans-IO.

The specification is HAProxy's doc/proxy-protocol.txt. Version 1 (section 2.1) is a line of at most 107 bytes:

    header ::= "PROXY" SP ( "TCP4" | "TCP6" ) SP source SP destination SP port SP port CRLF
             | "PROXY" SP "UNKNOWN" *octet CRLF

Version 2 (section 2.2) is binary:

    header ::= signature (12 bytes), version and command, family and transport, length (16 bit), addresses, *TLV
    TLV    ::= type (8 bit), length (16 bit), value

Whether a header is to be expected is never guessed (section 5): the caller knows it from the configuration. What does
not begin like a header is an error at its first wrong byte, so a proxy without the protocol is noticed at once. Both
versions are read strictly: one space, only CRLF ends the line, no leading zeros, no unknown command or family. The
differences and their reasons:

- An IPv6 address may end in the dotted form of an IPv4 address. Section 2.1 does not have it, but inet_ntop writes
  ::ffff:192.0.2.1 in this way, and so do proxies.
- UDP (DGRAM) and Unix sockets are valid and carry no address that a TCP server could use: like UNSPEC (2.2).
- A header of version 2 can have 65,551 bytes. More than 4096 are refused, as by nginx: senders keep it within one
  segment.
- TLVs are skipped, all but the checksum (2.2.3), which is verified. They must fill the header exactly.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from fingertrio.wire import PROXY_HEADER as SIGNATURE
from fingertrio.wire import ProtocolError

# Bytes of the longest line of version 1, with CRLF (2.1).
LINE_LIMIT = 107

# Bytes of a header of version 2 that are accepted. The longest part that is in use, for TLS, has some hundred.
HEADER_LIMIT = 4096

_LINE_START = b"PROXY "
_HEAD = 16  # bytes before the addresses
_CRC32C = 3  # PP2_TYPE_CRC32C

# Bytes of the addresses by family (the high half of byte 14): UNSPEC, INET, INET6, UNIX.
_ADDRESSES = (0, 12, 36, 216)
_STREAM, _DGRAM = 1, 2

_PORT = re.compile("0|[1-9][0-9]{0,4}")


class ProxyHeaderError(ProtocolError):
    """There is no valid header. Section 2.1: abort the connection at once, so that the sender can notice it."""


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """What a proxy reports about a connection.

    Attributes:
        size: bytes of the header; the client's own bytes follow.
        client: the address of the client, an IPv4-mapped one as IPv4. Empty: not reported; the connection counts as one
            of the proxy itself.
        port: of the client; 0 without an address.
        is_local: the proxy itself made this connection, for a health check (LOCAL).
    """

    size: int
    client: str = ""
    port: int = 0
    is_local: bool = False


def read_header(received: bytes) -> ProxyHeader | None:
    """The header at the beginning of `received`; None: more is needed, and all of `received` belongs to the header.

    Raises:
        ProxyHeaderError: `received` cannot be the beginning of a header.
    """
    if received.startswith(SIGNATURE):
        return _read_binary(received)
    if received.startswith(_LINE_START):
        return _read_line(received)
    if SIGNATURE.startswith(received) or _LINE_START.startswith(received):
        return None
    raise ProxyHeaderError("there is no PROXY protocol header")


def _read_line(received: bytes) -> ProxyHeader | None:
    end = received.find(b"\n", 0, LINE_LIMIT)
    if end < 0:
        if len(received) >= LINE_LIMIT:
            raise ProxyHeaderError(f"the PROXY line is longer than {LINE_LIMIT} bytes")
        return None
    if received[end - 1 : end] != b"\r":
        raise ProxyHeaderError("the PROXY line does not end with CRLF")
    size = end + 1
    protocol, *fields = received[len(_LINE_START) : end - 1].decode("latin-1").split(" ")
    if protocol == "UNKNOWN":
        return ProxyHeader(size)
    if protocol not in {"TCP4", "TCP6"} or len(fields) != 4:
        raise ProxyHeaderError("the PROXY line is not in the grammar of version 1")
    version: type[ipaddress.IPv4Address | ipaddress.IPv6Address] = (
        ipaddress.IPv4Address if protocol == "TCP4" else ipaddress.IPv6Address
    )
    source, destination, *ports = fields
    try:
        client = _plain(version(source))
        version(destination)
    except ValueError:
        raise ProxyHeaderError(f"the PROXY line has an address that does not belong to {protocol}") from None
    if "%" in source + destination or not all(_PORT.fullmatch(port) and int(port) <= 65535 for port in ports):
        raise ProxyHeaderError("the PROXY line has an invalid port or a zone")
    return ProxyHeader(size, client, int(ports[0]))


def _read_binary(received: bytes) -> ProxyHeader | None:
    # The version, the command and the family are wrong as soon as they are here.
    version, command = divmod(received[12], 16) if len(received) > 12 else (2, 0)
    if version != 2 or command > 1:
        raise ProxyHeaderError("the PROXY header has an unknown version or command")
    family, transport = divmod(received[13], 16) if len(received) > 13 else (0, 0)
    if command == 1 and (family >= len(_ADDRESSES) or transport > _DGRAM):
        raise ProxyHeaderError("the PROXY header has an unknown address family or transport")
    if len(received) < _HEAD:
        return None
    size = _HEAD + int.from_bytes(received[14:16], "big")
    if size > HEADER_LIMIT:
        raise ProxyHeaderError(f"the PROXY header is longer than {HEADER_LIMIT} bytes")
    if len(received) < size:
        return None
    if command == 0:  # "discard the protocol block including the family"
        return ProxyHeader(size, is_local=True)
    header = received[:size]
    addresses = _ADDRESSES[family] if transport else 0
    if size < _HEAD + addresses:
        raise ProxyHeaderError("the PROXY header is too short for its addresses")
    if family and transport:  # of UNSPEC, nothing says where the addresses end
        _check_extensions(header, _HEAD + addresses)
    if transport != _STREAM or addresses not in {12, 36}:
        return ProxyHeader(size)
    length = 4 if addresses == 12 else 16
    packed = header[_HEAD : _HEAD + length]
    port = int.from_bytes(header[_HEAD + 2 * length : _HEAD + 2 * length + 2], "big")
    return ProxyHeader(size, _plain(ipaddress.ip_address(packed)), port)


def _check_extensions(header: bytes, start: int) -> None:
    """Walk through the TLVs, and verify the checksum if there is one."""
    while start < len(header):
        value = start + 3
        end = value + int.from_bytes(header[start + 1 : value], "big")
        if value > len(header) or end > len(header):
            raise ProxyHeaderError("the PROXY header ends within an extension")
        if header[start] == _CRC32C:
            given = int.from_bytes(header[value:end], "big")
            if end - value != 4 or crc32c(header[:value] + bytes(4) + header[end:]) != given:
                raise ProxyHeaderError("the PROXY header has a wrong checksum")
        start = end


def _plain(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def _crc_entry(value: int) -> int:
    for _ in range(8):
        value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    return value


_CRC_TABLE = tuple(map(_crc_entry, range(256)))


def crc32c(data: bytes) -> int:
    """The checksum of RFC 4960, appendix B (Castagnoli), which the standard library does not have."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _CRC_TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF
