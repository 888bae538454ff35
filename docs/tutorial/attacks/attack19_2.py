import trio

from harness import Step

CLOCK_JUMPS = True


class Bad:
    """A backend that breaks every sentence of its contract."""

    async def get_user(self, user: str) -> str | None:
        await trio.lowlevel.checkpoint()
        match user:
            case "hangs":
                await trio.sleep_forever()
            case "raises":
                raise ZeroDivisionError
            case "shouts":
                return "\x1b[31mALARM\x07"
        return "Happy and well"


async def attack(step: Step) -> None:
    """The backend hangs, raises what it likes, returns escape sequences: each door still answers in time."""
    async with step.running(backend=Bad()):
        for user in ("hangs", "raises"):
            with trio.move_on_after(10):
                assert await step.ask(f"{user}\r\n".encode()) == b"Internal error in server\r\n", f"{user}: no answer"
                assert (await step.request(f"/{user}"))[0] == 503, f"{user}: no answer"
                continue
            raise AssertionError(f"{user}: no answer in time")
        assert b"\x1b" not in await step.ask(b"shouts\r\n")
        assert await step.ask(b"moshez\r\n") == b"Happy and well\r\n"
