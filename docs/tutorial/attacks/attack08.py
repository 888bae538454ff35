from harness import Step


class Broken(dict[str, str]):
    """Users on a disk that cannot be read."""

    def get(self, user: str, default: str = "") -> str:  # type: ignore[override] # only what a step calls
        if user == "ada":
            raise OSError("Input/output error: /dev/sda1")
        return super().get(user, default)


async def attack(step: Step) -> None:
    """Looking a user up fails: that client gets an answer without the details, and the server goes on."""
    async with step.running(users=Broken(moshez="Happy and well")):
        answer = await step.ask(b"ada\r\n")
        assert answer == b"Internal error in server\r\n", f"the client got {answer!r}"
        assert await step.ask(b"moshez\r\n") == b"Happy and well\r\n"
