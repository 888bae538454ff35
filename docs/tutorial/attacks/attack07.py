from harness import Step

QUERIES = [b"moshez\r\n", b"moshez\n", b"/W moshez\r\n", b"/w moshez \r\n", b" Moshez\r\n"]
OTHERS = [b"/W\r\n", b"\r\n", b"/Wmoshez\r\n", b"moshez /W\r\n", b"\xff\xfe\r\n", b"moshez shadchan\r\n"]


async def attack(step: Step) -> None:
    """Real clients ask in many ways (finger sends /W, elinks a blank): all of them mean the same user."""
    async with step.running(users={"moshez": "Happy and well"}):
        for query in QUERIES:
            assert await step.ask(query) == b"Happy and well\r\n", f"{query!r} is not understood"
        for query in OTHERS:
            assert await step.ask(query) == b"No such user\r\n", f"{query!r} is misunderstood"
