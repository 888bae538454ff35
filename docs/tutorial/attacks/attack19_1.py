from harness import Step


class Shelf:
    """A backend from somebody else: one status reads like an error, and one user cannot be looked up."""

    def __init__(self, failure: type[Exception]) -> None:
        self._failure = failure

    async def get_user(self, user: str) -> str | None:
        if user == "top":
            raise self._failure("the ladder is broken")
        return {"ada": "No such user"}.get(user)


async def attack(step: Step) -> None:
    """A backend fails, and a user's status is "No such user": no door may take one thing for the other."""
    async with step.running(backend=Shelf(step["BackendError"])):
        assert await step.ask(b"top\r\n") == b"Internal error in server\r\n"
        assert (await step.request("/top"))[0] == 503
        assert (await step.request("/ada"))[0] == 200
        assert (await step.request("/nobody"))[0] == 404
