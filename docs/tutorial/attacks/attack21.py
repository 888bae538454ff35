import trio

from harness import Step
from watch21 import follow


async def attack(step: Step) -> None:
    """A watcher is away while a status changes fifty times: back again, it gets the newest, once."""
    async with step.running():
        assert (await step.request("/api/watch"))[0] != 404, "there is no feed"

        async def set_status(user: str, status: str) -> None:
            assert await step.ask(f"{user}\r\n{status}\r\n".encode(), port=1079) == b"OK\r\n"

        url = f"ws://{step.host}:8000/api/watch"
        with trio.fail_after(60):
            await set_status("ada", "Weaving")
            async with follow(url) as changes:
                first = await changes.receive()
                assert (first.user, first.status) == ("ada", "Weaving")
            for number in range(50):
                await set_status("moshez", f"Mood {number}")
            await set_status("ada", "Reading")
            async with follow(url, first.since) as changes:
                news = [await changes.receive(), await changes.receive()]
                assert [(each.user, each.status) for each in news] == [("moshez", "Mood 49"), ("ada", "Reading")]
                await set_status("ada", "Sleeping")
                assert (await changes.receive()).status == "Sleeping"
            async with follow(url, "0badcafe:9") as changes:  # a mark from before a restart: everything is new
                assert {(await changes.receive()).user, (await changes.receive()).user} == {"ada", "moshez"}
