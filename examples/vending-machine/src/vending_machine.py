"""A vending machine on the network, as in RFC 1288 section 2.5.5. An example of a backend in a package of your own.

    finger @machine         lists all items currently available for purchase and possible consumption
    finger tea@machine      gives a detailed count of that product

"Vending machines should NEVER NEVER EVER eat money": `buy` either takes the price, hands out the item and returns the
change, or takes nothing at all. It contains no await, so a cancellation cannot interrupt it halfway.

The entry point in pyproject.toml names `open_vending_machine`; `use = "vending_machine"` in [backend] finds it.
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
    """The contents of one slot. Prices are in cents."""

    name: str
    price: int = Field(gt=0)
    count: int = Field(ge=0)


class VendingMachineOptions(BaseModel):
    """The `[backend]` table: `[backend.slots.tea] name = "Green tea"`, `price = 120`, `count = 5`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    slots: dict[str, Item] = Field(description="the contents of the machine; each key is a name to finger")


class NotSoldError(Exception):
    """Nothing was sold, and no money was taken."""


class VendingMachine:
    """The machine: a backend that shows the items, and `buy`."""

    def __init__(self, slots: dict[str, Item]) -> None:
        self._slots = dict(slots)

    async def get_users(self) -> Sequence[str]:
        """{C}: the slots that are not empty."""
        return [slot for slot, item in self._slots.items() if item.count]

    async def get_user(self, user: str) -> UserInfo | None:
        """{U}{C}: the count and the price. An empty slot is shown as sold out."""
        if (item := self._slots.get(user)) is None:
            return None
        count = f"{item.count} left" if item.count else "sold out"
        return UserInfo(user, f"{count}, {item.price / 100:.2f} each", name=item.name)

    def buy(self, slot: str, money: int) -> int:
        """Sell one item of `slot` for `money` cents. Returns the change.

        Raises:
            NotSoldError: the slot does not exist or is empty, or the money is not enough.
        """
        item = self._slots.get(slot)
        if item is None or not item.count:
            raise NotSoldError("sold out")
        if money < item.price:
            raise NotSoldError(f"{item.price - money} more cents needed")
        self._slots[slot] = replace(item, count=item.count - 1)
        return money - item.price


@asynccontextmanager
async def open_vending_machine(options: VendingMachineOptions) -> AsyncIterator[VendingMachine]:
    """The function that the entry point names."""
    yield VendingMachine(options.slots)
