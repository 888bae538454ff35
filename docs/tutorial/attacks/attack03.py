import trio.testing

from harness import Step


async def attack(step: Step) -> None:
    """A client asks a question that the server does not read: its answer must arrive, with an end and not a reset."""
    async with step.running(), await step.connect() as stream:
        await stream.send_all(b"moshez\r\n")
        await trio.testing.wait_all_tasks_blocked()
        assert await step.read(stream) == b"No statuses yet\r\n"


CLOCK_JUMPS = True
