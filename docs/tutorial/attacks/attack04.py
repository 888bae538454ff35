import trio
import trio.testing

from harness import Step

CLOCK_JUMPS = True


async def attack(step: Step) -> None:
    """Slow, endless and silent clients: a line may come in pieces, but it may not be long, and it must end in time."""
    async with step.running():
        async with await step.connect() as stream:
            for byte in b"moshez\r":
                await stream.send_all(bytes([byte]))
                await trio.testing.wait_all_tasks_blocked()
            with trio.move_on_after(0.001) as scope:
                await stream.receive_some()
            assert scope.cancelled_caught, "it answers before the question is complete"
            await stream.send_all(b"\n")
            assert await step.read(stream) == b"No statuses yet\r\n"
        assert await step.ask(b"x" * 2000) == b"Query too long\r\n"
        async with await step.connect() as silent:
            with trio.fail_after(31):
                assert await silent.receive_some() == b"", "it waits for a silent client without end"
