"""Addresses in a configuration that cannot be listened on together, although each is right by itself.

Without this, the second of two doors at one address would fail with "another program listens there already", and the
operator would not look for that program in the configuration.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

from fingertrio.config.sections import ListeningSection
from fingertrio.net.address import Address, parse_ip


def address_conflicts(doors: Mapping[str, Any]) -> Iterator[str]:
    """One line for each pair of addresses that exclude each other, at the door that opens later.

    Args:
        doors: the sections of front ends by name, in the order in which they open; None: one with mistakes.
    """
    seen: list[tuple[str, Address]] = []
    for name, section in doors.items():
        for address in section.listen if isinstance(section, ListeningSection) else ():
            for other_name, other in seen:
                if _exclude(address, other):
                    yield _explain(name, address, other_name, other)
                    break
            seen.append((name, address))


def _exclude(one: Address, other: Address) -> bool:
    if one.path is not None or other.path is not None:
        return one.path is not None and other.path is not None and _same_file(one, other)
    if one.port != other.port or one.port == 0:
        return False
    return _overlap(_host(one), _host(other))


def _same_file(one: Address, other: Address) -> bool:
    return os.path.realpath(str(one.path)) == os.path.realpath(str(other.path))


def _host(address: Address) -> str:
    """In lower case; "localhost" as the address that it always has. Not every machine gives it ::1 as well."""
    host = address.host.lower()
    return "127.0.0.1" if host == "localhost" else host


def _overlap(one: str, other: str) -> bool:
    """Whether two hosts are the same, or one is every address of the other's family.

    Sockets of IPv6 take no IPv4 connections (`net.listen`), so 0.0.0.0 and :: go together. Names are not resolved.
    """
    mine, theirs = parse_ip(one), parse_ip(other)
    if mine is None or theirs is None or "%" in one + other:
        return one == other
    return mine == theirs or (mine.version == theirs.version and (mine.is_unspecified or theirs.is_unspecified))


def _explain(name: str, address: Address, other_name: str, other: Address) -> str:
    whose = "twice" if name == other_name else f"also at [{other_name}]"
    if str(address) == str(other):
        return f'[{name}] listen: "{address}" is listed {whose}; each door needs addresses of its own'
    return f'[{name}] listen: "{address}" and "{other}" of [{other_name}] exclude each other; use another port for one'
