"""A share for each client: at most two forwarded queries at a time for one address."""

from collections import defaultdict

import trio

from finger24 import Forwarder
from harness import Step

SHARE = 2
CLOCK_JUMPS = True


class FairForwarder(Forwarder):
    def __init__(self, hosts: dict[str, tuple[str, int]]) -> None:
        super().__init__(hosts)
        self.busy: defaultdict[str, int] = defaultdict(int)

    async def ask_for(self, client: str, user: str, host: str) -> str:
        """Forward a query of the client with this address."""
        if self.busy[client] >= SHARE:
            return "You have too many queries under way"
        self.busy[client] += 1
        try:
            return await self.ask(user, host)
        finally:
            self.busy[client] -= 1
            if not self.busy[client]:
                del self.busy[client]  # addresses are many: remember only those that are busy


async def main() -> None:
    print(await FairForwarder({}).ask_for("127.0.0.1", "ada", "elsewhere"))


async def check(_step: Step) -> None:
    class Slow(FairForwarder):
        async def ask(self, user: str, host: str) -> str:
            await trio.sleep(1)
            return f"{user} is fine at {host}"

    forwarder = Slow({})
    answers: list[str] = []

    async def client(address: str) -> None:
        answers.append(await forwarder.ask_for(address, "ada", "elsewhere"))

    async with trio.open_nursery() as nursery:
        for address in ["10.0.0.1"] * 3 + ["10.0.0.2"]:
            nursery.start_soon(client, address)
    assert sorted(answers) == ["You have too many queries under way", *["ada is fine at elsewhere"] * 3]
    assert not forwarder.busy


if __name__ == "__main__":
    trio.run(main)
