"""The finger query, RFC 1288 section 2.3, read and written. Sans-IO.

The grammar as the RFC gives it:

    {Q1} ::= [{W}|{W}{S}{U}]{C}             {U} ::= username
    {Q2} ::= [{W}{S}][{U}]{H}{C}            {W} ::= /W
    {H}  ::= @hostname | @hostname{H}       {S} ::= <SP> | <SP>{S}
                                            {C} ::= <CRLF>

and as it is read here, blanks between words being {S}:

    query ::= *switch [ name *( "@" host ) | 1*( "@" host ) ] *switch end
    end   ::= CRLF | LF | end of input

Where the two differ, and why ("be liberal in what you accept", section 2.3, is meant by *liberal*):

- A name without /W cannot be derived from {Q1} as printed, although section 2.3 itself sends one ("user<CRLF>, which
  corresponds to {Q1}") and 4.2 shows it. Read as `[{W}|[{W}{S}]{U}]{C}`.
- Liberal: LF alone, or the end of the input, ends the line (`printf moshez | nc`), and CR CR LF is CRLF written by a
  library that translates line ends. What follows the line is not part of the query (2.1: "a one line query").
- Liberal: blanks may lead, trail and repeat, and TAB is one (elinks sends a leading space, Debian's `finger -l @host` a
  trailing one).
- Liberal: /w is /W (lynx), and it may follow the name, where RFC 1196 had put it by mistake (1.4).
- Not liberal: "/Wmoshez". Section 1.4 says that this edition made {S} explicit to end the guessing, and guesses do
  differ: BSD's first server split the word, its later ones read it as the bare switch and answer with everybody. A
  slash opens a switch, and any switch but /W is refused. No name can begin with one, so nobody becomes unreachable.
- Not liberal: "a b". The grammar holds one name. Answering several makes guessing cheap (Solaris once listed its
  accounts when asked for "a b c d e f g h"), and answering the first alone would answer another question.
- Not liberal: "user@" and "@". A hostname is not optional in {H}.
- Stricter: a character that cannot be printed, telnet's IAC (FF) and all else that is not UTF-8 are refused. Section
  2.2 allows ASCII and "international data", and a query goes on to logs and other hosts, where nothing of it may steer
  a terminal. A telnet client that negotiates is told so in words; finger is TCP (2.1), and no option of telnet's.
- Stricter: 512 bytes. {H} has "no arbitrary limit" on its number; its length needs one (3.1: "SHOULD protect itself
  against malformed inputs"; the Morris worm used a finger server that read without one).

Whether `user` exists, or could, is no question of grammar: `-l`, `../x` and `|id` are read as names that nobody has.
"""

from __future__ import annotations

import re
from dataclasses import KW_ONLY, dataclass

from fingertrio.wire import ProtocolError, TooLongError

# The line without its end. A login name, a dozen hosts and /W fit in it; it is also what BSD's first server had room
# for (and did not check), so that no client was ever written that counts on more.
QUERY_LIMIT = 512

# Nearly every query is one ASCII name. The long way reads what this matches no differently, in twice the time.
_PLAIN = re.compile(rb"([A-Za-z0-9_][A-Za-z0-9_.+$-]{0,63})(?:\r?\n)?")


@dataclass(frozen=True, slots=True)
class Query:
    """One query line. `Query()` is {C}: everybody, please.

    Attributes:
        user: {U}, as it was written; empty where none was.
        verbose: {W} was given.
        hosts: {H}, from left to right, without the `@`; empty for {Q1}.
    """

    user: str = ""
    _: KW_ONLY
    verbose: bool = False
    hosts: tuple[str, ...] = ()

    def forward(self) -> tuple[str, Query]:
        """The host to ask and what to ask it: the right-most host and the query without it (section 2.4).

        Raises:
            ValueError: this is a {Q1}; there is nobody to forward it to.
        """
        if not self.hosts:
            raise ValueError("a query without hosts is answered, not forwarded")
        return self.hosts[-1], Query(self.user, verbose=self.verbose, hosts=self.hosts[:-1])


def query_line(received: bytes, *, ended: bool = False) -> bytes | None:
    """The query line without its end, out of all that was received so far; None: more is needed.

    Args:
        received: everything from the first byte on. Nothing beyond `QUERY_LIMIT` + 2 bytes is looked at, so that asking
            again after every byte stays cheap.
        ended: the peer will send no more; what there is, is the line. A peer that sent nothing at all has thereby
            asked {C}; whether such a one is worth an answer is for the caller to say.

    Raises:
        ProtocolError: the line is longer than `QUERY_LIMIT`, finished or not.
    """
    end = received.find(b"\n", 0, QUERY_LIMIT + 2)
    line = received[: end if end >= 0 else QUERY_LIMIT + 2].removesuffix(b"\r")
    if len(line) > QUERY_LIMIT:
        raise TooLongError("Query too long")
    return line if end >= 0 or ended else None


def parse_query(line: bytes) -> Query:
    """What `line` asks, with or without its line end.

    Raises:
        ProtocolError: it asks nothing that the grammar knows. Its message is a whole answer, fit to be sent.
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
    words = text.split()  # only at SP: every other white space has just been refused
    names = [word for word in words if word not in ("/W", "/w")]
    verbose = len(names) < len(words)
    if not names:
        return Query(verbose=verbose)
    if any(name.startswith("/") for name in names):
        raise ProtocolError("Unknown switch: there is only /W, and a space after it")
    if len(names) > 1:
        raise ProtocolError("One name at a time, please")
    user, *hosts = names[0].split("@")
    if not all(hosts):
        raise ProtocolError("A host name is missing after @")
    return Query(user, verbose=verbose, hosts=tuple(hosts))


def encode_query(query: Query) -> bytes:
    """`query` as it is sent, exactly as the RFC writes it, with CRLF.

    What `parse_query` returned can always be encoded. Of everything else only what the parser would read back as the
    same query: a CR, LF, NUL, blank or `@` in a name never gets onto the wire, nor a name that looks like a switch.

    Raises:
        ValueError: the query cannot be said in this protocol.
    """
    address = "@".join((query.user, *query.hosts))
    words = ["/W", address] if query.verbose else [address]
    try:
        line = " ".join(filter(None, words)).encode()
        same = parse_query(line) == query
    except (UnicodeEncodeError, ProtocolError) as error:
        raise ValueError(f"not a finger query: {error}") from error
    if not same:
        raise ValueError("not a finger query: a name holds a blank, an @ or a line end")
    return line + b"\r\n"
