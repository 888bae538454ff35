import os
import pwd
from pathlib import Path
from tempfile import TemporaryDirectory

import trio

from harness import Step

BEFORE = "finger19a"  # the last step before that has a setter
CLOCK_JUMPS = True


async def set_locally(path: Path, text: bytes) -> bytes:
    """Send lines to the Unix socket, and return the answer."""
    answer = bytearray()
    async with await trio.open_unix_socket(path) as stream:
        await stream.send_all(text)
        async for data in stream:
            answer += data
    return bytes(answer)


async def attack(step: Step) -> None:
    """Somebody sets the status of somebody else, without a token, with a wrong one, and with thousands of guesses."""
    mallory = b"ada\r\nI am a fool\r\n"
    async with step.running():
        assert await step.ask(mallory, port=1079) != b"OK\r\n", "anybody can speak for Ada"
    from tokens31 import digest, new_token  # noqa: PLC0415 - they are new in this step

    token = new_token()
    me = pwd.getpwuid(os.getuid()).pw_name
    with TemporaryDirectory() as folder:
        path = Path(folder, "finger.sock")
        async with step.running(tokens={digest(token): "ada"}, path=path):
            assert await step.ask(mallory, port=1079) == b"This token is not known\r\n"
            assert await step.ask(f"{token}\r\nWeaving\r\n".encode(), port=1079) == b"OK\r\n"
            assert await step.ask(b"ada\r\n") == b"Weaving\r\n"
            assert await set_locally(path, b"At the terminal\r\n") == b"OK\r\n"
            assert await step.ask(f"{me}\r\n".encode()) == b"At the terminal\r\n"
            guesses = [await step.ask(b"guess%d\r\nHello\r\n" % number, port=1079) for number in range(10)]
            assert guesses[-1] == b"Too many wrong tokens, try again later\r\n"
            assert await step.ask(f"{token}\r\nStill here\r\n".encode(), port=1079) != b"OK\r\n"  # that address waits
            await trio.sleep(61)
            assert await step.ask(f"{token}\r\nStill here\r\n".encode(), port=1079) == b"OK\r\n"
            assert await step.ask(b"ada\r\n") == b"Still here\r\n"
