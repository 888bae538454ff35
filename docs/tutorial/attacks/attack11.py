import contextlib
import signal

import trio

from harness import Step


async def attack(step: Step) -> None:
    """The program is asked to stop while a client is typing: that client gets its answer, and the exit status is 0."""
    async with step.process() as process, await step.connect() as stream:
        await stream.send_all(b"mosh")
        assert await step.ask(b"ada\r\n"), "not even one answer"  # so the connection before it has been accepted
        process.send_signal(signal.SIGTERM)
        await step.refuses()
        answer = b""
        with contextlib.suppress(trio.BrokenResourceError):
            await stream.send_all(b"ez\r\n")
            answer = await step.read(stream)
        assert answer == b"Happy and well\r\n", f"the client got {answer!r} instead of its answer"
        await stream.aclose()
        assert await process.wait() == 0
