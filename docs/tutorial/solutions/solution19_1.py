"""Two backends one after the other: the first that knows a user answers."""

import trio

from finger19_1 import Backend, DictBackend
from finger19_1 import main as serve
from harness import Step


class Layers:
    def __init__(self, *backends: Backend) -> None:
        self._backends = backends

    async def get_user(self, user: str) -> str | None:
        for backend in self._backends:
            if (status := await backend.get_user(user)) is not None:
                return status
        return None


async def main(host: str = "127.0.0.1", *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    layers = Layers(DictBackend({"ada": "Weaving"}), DictBackend())
    await serve(layers, host, task_status=task_status)


async def check(step: Step) -> None:
    async with step.running():
        assert await step.ask(b"ada\r\n") == b"Weaving\r\n"
        assert await step.ask(b"moshez\r\n") == b"Happy and well\r\n"
        assert await step.ask(b"nobody\r\n") == b"No such user\r\n"


if __name__ == "__main__":
    trio.run(main)
