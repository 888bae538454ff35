from harness import Step


class Frozen:
    async def get_user(self, _user: str) -> str | None:
        return "Happy and well"


class Open(Frozen):
    def __init__(self) -> None:
        self.stored: dict[str, str] = {}

    async def set_user(self, user: str, status: str) -> None:
        self.stored[user] = status


async def attack(step: Step) -> None:
    """A setter is wanted for statuses that cannot be set: the start must fail, and not each user later."""
    said = ""
    try:
        async with step.running(backend=Frozen(), setter_port=1079):
            pass
    except BaseExceptionGroup as group:
        if (expected := group.subgroup(SystemExit)) is None:
            raise
        said = repr(expected.exceptions)
    except SystemExit as error:
        said = str(error)
    assert "can only be read" in said, "it starts, and every user gets an error"
    backend = Open()
    async with step.running(backend=backend, setter_port=1079):
        assert await step.ask(b"Ada\r\nWeaving\r\n", port=1079) == b"OK\r\n"
    assert backend.stored == {"ada": "Weaving"}
