from harness import Step

EVIL = [
    b"moshez\r\n\x1b]0;owned\x07\x1b[2J\r\n",  # escape sequences that clear the reader's terminal
    b"moshez\r\n" + b"x" * 1000 + b"\r\n",
    b"moshez \x08\x08\r\nI am somebody else\r\n",
    b"\r\nNobody\r\n",
]


async def attack(step: Step) -> None:
    """A status would take over the terminals of its readers, and names are set that no user can have."""
    async with step.running(users={"moshez": "Happy and well"}):
        for lines in EVIL:
            answer = await step.ask(lines, port=1079)
            assert answer != b"OK\r\n", f"{lines[:40]!r} was accepted"
        assert await step.ask(b"moshez\r\n") == b"Happy and well\r\n"
        assert await step.ask(b"moshez\r\nGoing for a walk\r\n", port=1079) == b"OK\r\n"
        assert await step.ask(b"moshez\r\n") == b"Going for a walk\r\n"
