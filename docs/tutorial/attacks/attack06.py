from harness import Step


async def attack(step: Step) -> None:
    """The users are given from outside: a server with Ada must know Ada, and no other server may know her."""
    ada = Step(step.name)
    async with step.running(), ada.running(users={"ada": "Weaving"}):
        assert await ada.ask(b"ada\r\n") == b"Weaving\r\n"
        assert await step.ask(b"ada\r\n") == b"No such user\r\n"
