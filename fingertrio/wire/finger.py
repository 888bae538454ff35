"""Parses and encodes the finger query of RFC 1288 section 2.3. Sans-IO.

The grammar as the RFC gives it:

    {Q1} ::= [{W}|{W}{S}{U}]{C}             {U} ::= username
    {Q2} ::= [{W}{S}][{U}]{H}{C}            {W} ::= /W
    {H}  ::= @hostname | @hostname{H}       {S} ::= <SP> | <SP>{S}
                                            {C} ::= <CRLF>

and as this parser reads it, with {S} for blanks between words:

    query ::= *switch [ name *( "@" host ) | 1*( "@" host ) ] *switch end
    end   ::= CRLF | LF | end of input

The differences and their reasons (*liberal* refers to "be liberal in what you accept", section 2.3):

- A name without /W cannot be derived from {Q1} as printed, although section 2.3 itself sends one ("user<CRLF>, which
  corresponds to {Q1}") and 4.2 shows it. Read as `[{W}|[{W}{S}]{U}]{C}`.
- Liberal: LF alone, or the end of the input, ends the line (`printf moshez | nc`). CR CR LF is CRLF sent by a library
  that translates line ends. Data after the line is not part of the query (2.1: "a one line query").
- Liberal: blanks may lead, trail and repeat, and TAB is a blank (elinks sends a leading space, Debian's
  `finger -l @host` a trailing space).
- Liberal: /w is /W (lynx), and /W may follow the name, where RFC 1196 put it by mistake (1.4).
- Not liberal: "/Wmoshez". Section 1.4 says that this edition made {S} explicit to remove an ambiguity, and servers did
  differ: BSD's first server split the word, its later servers read it as the bare switch and list all users. A slash
  starts a switch, and every switch except /W is rejected. User names cannot start with a slash, so every user stays
  reachable.
- Not liberal: "a b". The grammar allows one name. Answering several makes guessing cheap (Solaris once listed its
  accounts for the query "a b c d e f g h"), and answering only the first would answer a different query.
- Not liberal: "user@" and "@". A hostname is not optional in {H}.
- Stricter: unprintable characters, telnet's IAC (FF) and everything else that is not UTF-8 are rejected. Section 2.2
  allows ASCII and "international data", and a query is passed on to logs and other hosts, where it must not control a
  terminal. A telnet client that negotiates gets an error message; finger runs over TCP (2.1), without telnet options.
- Stricter: 512 bytes. The RFC sets "no arbitrary limit" on the number of {H}; the length needs a limit (3.1: "SHOULD
  protect itself against malformed inputs"; the Morris worm used a finger server that read without a limit).

The grammar does not decide whether `user` exists or could exist: `-l`, `../x` and `|id` are parsed as names, and no
user has such a name.
"""

from __future__ import annotations

import re
from dataclasses import KW_ONLY, dataclass

from fingertrio.wire import PROXY_HEADER, PROXY_REFUSAL, ProtocolError, TooLongError

# Bytes of the line without its end. A login name, a dozen hosts and /W fit. BSD's first server had a buffer of this
# size (and did not check it), so no client relies on more.
QUERY_LIMIT = 512

# Nearly every query is one ASCII name. The general parser reads it the same, in twice the time.
_PLAIN = re.compile(rb"([A-Za-z0-9_][A-Za-z0-9_.+$-]{0,63})(?:\r?\n)?")


@dataclass(frozen=True, slots=True)
class Query:
    """One query line. `Query()` is {C}: list all users.

    Attributes:
        user: {U}, as received; empty if there was none.
        verbose: {W} was present.
        hosts: {H}, from left to right, without the `@`; empty for {Q1}.
    """

    user: str = ""
    _: KW_ONLY
    verbose: bool = False
    hosts: tuple[str, ...] = ()

    def forward(self) -> tuple[str, Query]:
        """The host to forward to and the query for it: the right-most host, and this query without it (section 2.4).

        Raises:
            ValueError: this is a {Q1}, without a host to forward to.
        """
        if not self.hosts:
            raise ValueError("a query without hosts is answered, not forwarded")
        return self.hosts[-1], Query(self.user, verbose=self.verbose, hosts=self.hosts[:-1])


def query_line(received: bytes, *, ended: bool = False) -> bytes | None:
    """The query line without its end; None: more is needed.

    Args:
        received: everything received, from the first byte. Only the first `QUERY_LIMIT` + 2 bytes are examined, so
            that calling this again after every byte stays cheap.
        ended: the peer will send no more, so `received` is the line. For a peer that sent nothing, that is {C}; the
            caller decides whether to answer.

    Raises:
        ProtocolError: the line is longer than `QUERY_LIMIT`, finished or not; or this is a PROXY header.
    """
    if received.startswith(b"\r\n\r"):
        if received.startswith(PROXY_HEADER):
            raise ProtocolError(PROXY_REFUSAL)
        if not ended and may_be_proxy_header(received):
            return None
    end = received.find(b"\n", 0, QUERY_LIMIT + 2)
    line = received[: end if end >= 0 else QUERY_LIMIT + 2].removesuffix(b"\r")
    if len(line) > QUERY_LIMIT:
        raise TooLongError("Query too long")
    return line if end >= 0 or ended else None


def may_be_proxy_header(received: bytes) -> bool:
    """Whether this is more than an empty query, and all of it is the beginning of a PROXY header.

    A client sends no second line, so the rest of the header is close behind: the caller need not wait long for it.
    """
    return len(received) > len(b"\r\n") and PROXY_HEADER.startswith(received)


def parse_query(line: bytes) -> Query:
    """The query in `line`; the line end is optional.

    Raises:
        ProtocolError: the line does not match the grammar. The message is a complete answer for the client.
    """
    if plain := _PLAIN.fullmatch(line):
        return Query(plain[1].decode())
    line = line.rstrip(b"\r\n")
    if len(line) > QUERY_LIMIT:
        raise TooLongError("Query too long")
    try:
        text = line.decode().replace("\t", " ")
    except UnicodeDecodeError:
        raise ProtocolError("Query is not UTF-8 text") from None
    if not text.isprintable():
        raise ProtocolError("Query holds a character that cannot be printed")
    words = text.split()  # only at SP: other white space is not printable
    names = [word for word in words if word not in ("/W", "/w")]
    verbose = len(names) < len(words)
    if not names:
        return Query(verbose=verbose)
    if any(name.startswith("/") for name in names):
        raise ProtocolError("Unknown switch: there is only /W, and a space after it")
    if len(names) > 1:
        raise ProtocolError(PROXY_REFUSAL if names[0] == "PROXY" else "One name at a time, please")
    user, *hosts = names[0].split("@")
    if not all(hosts):
        raise ProtocolError("A host name is missing after @")
    return Query(user, verbose=verbose, hosts=tuple(hosts))


def encode_query(query: Query) -> bytes:
    """`query` as bytes, exactly as the RFC writes it, with CRLF.

    Every result of `parse_query` can be encoded. Any other query is encoded only if the parser would return the same
    query: a name with a CR, LF, NUL, blank or `@`, or one that looks like a switch, is never sent.

    Raises:
        ValueError: the query cannot be expressed in this protocol.
    """
    address = "@".join((query.user, *query.hosts))
    words = ["/W", address] if query.verbose else [address]
    try:
        line = " ".join(filter(None, words)).encode()
        same = parse_query(line) == query
    except (UnicodeEncodeError, ProtocolError) as error:
        raise ValueError(f"not a finger query: {error}") from error
    if not same:
        raise ValueError("not a finger query: a name contains a blank, an @ or a line end")
    return line + b"\r\n"
