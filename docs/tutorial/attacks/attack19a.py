from harness import Step


async def attack(step: Step) -> None:
    """Somebody sets statuses for invented users, again and again: the memory must not grow for ever."""
    backend = step["MemoryBackend"]({"moshez": "Happy and well"}, limit=4)
    async with step.running(backend=backend):
        answers = [await step.ask(b"user%d\r\nHello\r\n" % number, port=1079) for number in range(6)]
        assert answers == [b"OK\r\n"] * 3 + [b"Internal error in server\r\n"] * 3
        assert await step.ask(b"moshez\r\nStill here\r\n", port=1079) == b"OK\r\n"
        assert await step.ask(b"moshez\r\n") == b"Still here\r\n"
