"""A vending machine on the network, as RFC 1288 section 2.5.5 wants it: a backend as anybody could write one.

    finger @machine         lists all items currently available for purchase and possible consumption
    finger tea@machine      gives a detailed count of that product

"Vending machines should NEVER NEVER EVER eat money": `buy` either takes the price, hands out the item and returns the
change, or takes nothing at all. It does so without an await in between, so that nobody can be cancelled halfway.

To install it, give a package of yours this line, and `use = "vending_machine"` in [backend] finds it:

    [project.entry-points."fingertrio.backends"]
    vending_machine = "vending_machine:open_vending_machine"
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

from pydantic import BaseModel, ConfigDict, Field
from pydantic.dataclasses import dataclass

from fingertrio import UserInfo


@dataclass(frozen=True)
class Item:
    """What one slot holds. Money is counted in cents."""

    name: str
    price: int = Field(gt=0)
    count: int = Field(ge=0)


class VendingMachineOptions(BaseModel):
    """The `[backend]` table: `[backend.slots.tea] name = "Green tea"`, `price = 120`, `count = 5`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    slots: dict[str, Item] = Field(description="what the machine was filled with; the key is the name to finger")


class NotSoldError(Exception):
    """Nothing was sold, and the money is still yours."""


class VendingMachine:
    """The machine: a backend for those who look, and a counter for those who buy."""

    def __init__(self, slots: dict[str, Item]) -> None:
        self._slots = dict(slots)

    async def get_users(self) -> Sequence[str]:
        """{C}: the slots that have something in them."""
        return [slot for slot, item in self._slots.items() if item.count]

    async def get_user(self, user: str) -> UserInfo | None:
        """{U}{C}: how many there are, and for how much. A slot that is empty is still a slot."""
        if (item := self._slots.get(user)) is None:
            return None
        count = f"{item.count} left" if item.count else "sold out"
        return UserInfo(user, f"{count}, {item.price / 100:.2f} each", name=item.name)

    def buy(self, slot: str, money: int) -> int:
        """One item out of `slot` for `money` cents: the change.

        Raises:
            NotSoldError: there is no such slot, it is empty, or the money does not suffice.
        """
        item = self._slots.get(slot)
        if item is None or not item.count:
            raise NotSoldError("there is none")
        if money < item.price:
            raise NotSoldError(f"{item.price - money} cents are missing")
        self._slots[slot] = replace(item, count=item.count - 1)
        return money - item.price


@asynccontextmanager
async def open_vending_machine(options: VendingMachineOptions) -> AsyncIterator[VendingMachine]:
    """The backend, as the entry point names it."""
    yield VendingMachine(options.slots)
