"""A client: `python finger23.py user@host[:port]`. It trusts the server as little as the server trusts its clients."""

import sys

import trio

DEADLINE = 10.0  # seconds for everything, from the name's resolution to the last byte
LARGEST = 64 * 1024  # bytes of an answer


class NoAnswer(Exception):  # noqa: N818 - it is one of the two things that can come out
    """There is no answer, with the reason for the user."""


def printable(text: str) -> str:
    """Return a text that a terminal can only show: lines stay, other control characters become question marks."""
    lines = text.replace("\r\n", "\n").split("\n")
    return "\n".join("".join(each if each.isprintable() or each == "\t" else "?" for each in line) for line in lines)


async def read(stream: trio.abc.ReceiveStream) -> bytes:
    """Return everything up to the end."""
    answer = bytearray()
    async for data in stream:
        answer += data
        if len(answer) > LARGEST:
            raise NoAnswer(f"the answer is longer than {LARGEST} bytes")
    return bytes(answer)


async def ask(user: str, host: str, port: int = 79) -> str:
    """Return what a server says about a user. Raise NoAnswer."""
    if not user.isprintable():
        raise NoAnswer("a user name has no control characters")
    try:
        with trio.fail_after(DEADLINE):
            async with await trio.open_tcp_stream(host, port) as stream:
                await stream.send_all(f"{user}\r\n".encode())
                answer = await read(stream)
    except trio.TooSlowError:
        raise NoAnswer(f"{host} did not answer within {DEADLINE:g} seconds") from None
    except (OSError, trio.BrokenResourceError) as error:
        raise NoAnswer(f"{host}: {error}") from error
    return printable(answer.decode(errors="replace")).rstrip()


def parse(target: str) -> tuple[str, str, int]:
    """Return user, host and port of user@host[:port]. More hosts are for the server to ask: a@b@c asks c for a@b."""
    user, _, place = target.rpartition("@")
    host, _, port = place.partition(":")
    return user, host or "localhost", int(port or 79)


async def main(target: str = "") -> None:
    try:
        print(await ask(*parse(target or (sys.argv[1:] or ["@localhost"])[0])))
    except NoAnswer as error:
        sys.exit(f"finger: {error}")


if __name__ == "__main__":
    trio.run(main)
