import trio

from harness import Step


async def attack(step: Step) -> None:
    """A user sets a status; then the setter's port is taken, and a program with half of its doors must not start."""
    async with step.running(users={"moshez": "Happy and well"}):
        assert await step.ask(b"moshez\r\nGiving a tutorial\r\n", port=1079) == b"OK\r\n"
        assert await step.ask(b"moshez\r\n") == b"Giving a tutorial\r\n"
        second = Step(step.name)
        second.host = step.host
        try:
            with trio.fail_after(60):
                await second.main(host=step.host, port=7980)
        except* OSError:
            pass
        assert not await second.listens(7980), "the finger door stays open without its setter"
