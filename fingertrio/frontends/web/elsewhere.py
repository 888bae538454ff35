"""Commands that a page shows: how to read a status without a browser, and how to set the first one.

Each works as it stands in a shell: names and hosts are quoted, and the address is that of the request or the configured
one.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from fingertrio.frontends.web.text import href
from fingertrio.net.address import Address

_FINGER_PORT = 79  # RFC 1288 section 2.1
PROGRAM = "fingertrio"

# Addresses that need no quotes. Brackets hold an IPv6 address; a pattern of file names would need an existing file.
_PLAIN_URL = re.compile(r"[\w.~:/\[\]%@+=,-]*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Places:
    """Where this server can be reached, as the reader of a page sees it.

    Attributes:
        base: the address of the site, without a slash at its end; empty: not known.
        finger: the addresses on which the finger front end listens.
        program: the command line of fingertrio on this machine.
    """

    base: str
    finger: Sequence[Address] = ()
    program: str = PROGRAM

    @property
    def host(self) -> str:
        """The host of the site, in brackets if it is an IPv6 address; empty: not known."""
        host = urlsplit(self.base).hostname or "" if self.base else ""
        return f"[{host}]" if ":" in host else host

    @property
    def is_local(self) -> bool:
        """Whether the reader is on this machine."""
        return Address(self.host.strip("[]")).is_local


def reading(places: Places, user: str, *, watches: bool) -> list[str]:
    """Commands that print a user's status.

    Args:
        places: of this server.
        user: the login name.
        watches: whether the live feed is served.
    """
    return [*_fingers(places, user), *_fetches(places, user, watches=watches)]


def _fingers(places: Places, user: str) -> Iterator[str]:
    """By finger; if it is on another port, by curl, since no other program that people have can reach one."""
    host, is_local = places.host, places.is_local
    ports = [address.port for address in places.finger if address.path is None and (is_local or not address.is_local)]
    if not host or not ports:
        return
    if _FINGER_PORT in ports:
        yield f"finger {shlex.quote(user + '@' + host.strip('[]'))}"
    else:
        yield f"curl {_word(f'gopher://{host}:{ports[0]}/0{href(user)}')}"


def _fetches(places: Places, user: str, *, watches: bool) -> Iterator[str]:
    if places.base:
        yield f"curl {_word(f'{places.base}/{href(user)}')}"
        if watches:
            program = places.program if places.is_local else PROGRAM
            yield f"{program} watch --url {_word(places.base)} {shlex.quote(user)}"


def _word(url: str) -> str:
    """A URL as one word of a shell. Its host may come from a link that somebody made: `$(...)` is valid in a Host."""
    return url if _PLAIN_URL.fullmatch(url) else shlex.quote(url)


@dataclass(frozen=True, slots=True)
class FirstSteps:
    """How to set the first status.

    Attributes:
        by_program: sets it.
        by_curl: sets it by HTTP; empty: the address of the site is not known.
        by_page: makes the token with which one signs in on the web.
    """

    by_program: str
    by_curl: str
    by_page: str


def first_steps(places: Places) -> FirstSteps:
    """Commands that set a status for the user who types them, on the machine of this server."""
    program = places.program if places.is_local else PROGRAM
    token = f"{program} token add $(whoami)"
    header = f'-H "Authorization: Bearer $({token})"'
    return FirstSteps(
        by_program=f"{program} set Happy and well",
        by_curl=f'curl {header} -d "Happy and well" {_word(places.base)}/api/users/$(whoami)/status'
        if places.base
        else "",
        by_page=token,
    )
