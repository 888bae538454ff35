from harness import Step, reset


async def attack(step: Step) -> None:
    """A client resets its connection: the other clients must not notice."""
    async with step.running(), await step.connect() as other:
        await reset(await step.connect())
        await other.send_all(b"moshez\r\n")
        assert await step.read(other) == b"No such user\r\n"
