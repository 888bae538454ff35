"""RFC 1288 section 2.5.5, through the contract kit, the renderers, and the real program."""

from __future__ import annotations

import socket
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fingertrio.backend import ListsUsers
from fingertrio.frontends.finger.text import render_full, render_list
from fingertrio.testing import check_backend
from fingertrio.testing.program import Configuration, running
from vending_machine import Item, NotSoldError, VendingMachine, VendingMachineOptions, open_vending_machine

OPTIONS = VendingMachineOptions.model_validate(
    {
        "slots": {
            "tea": {"name": "Green tea", "price": 120, "count": 2},
            "mate": {"name": "Club-Mate", "price": 250, "count": 1},
            "crisps": {"name": "Crisps", "price": 90, "count": 0},
        }
    }
)


async def menu(machine: VendingMachine) -> bytes:
    """The answer to {C}."""
    infos = [info for slot in await machine.get_users() if (info := await machine.get_user(slot))]
    return render_list(infos)


async def test_keeps_the_contract() -> None:
    known = {"tea": "2 left, 1.20 each", "mate": "1 left, 2.50 each"}
    assert await check_backend(lambda: open_vending_machine(OPTIONS), known=known)


async def test_lists_what_is_available() -> None:
    async with open_vending_machine(OPTIONS) as machine:
        assert isinstance(machine, ListsUsers)
        assert await menu(machine) == (
            b"Login  Name       Status\r\n"
            b"tea    Green tea  2 left, 1.20 each\r\n"
            b"mate   Club-Mate  1 left, 2.50 each\r\n"
        )


async def test_counts_one_product() -> None:
    async with open_vending_machine(OPTIONS) as machine:
        info = await machine.get_user("tea")
        assert info is not None
        assert render_full(info) == (
            b"Login: tea                              Name: Green tea\r\nPlan:\r\n2 left, 1.20 each\r\n"
        )
        assert await machine.get_user("gin") is None


async def test_what_was_bought_is_gone() -> None:
    async with open_vending_machine(OPTIONS) as machine:
        assert machine.buy("mate", 300) == 50
        assert b"mate" not in await menu(machine)
        info = await machine.get_user("mate")
        assert info is not None
        assert info.status == "sold out, 2.50 each"
    async with open_vending_machine(OPTIONS) as machine:
        assert b"mate" in await menu(machine)  # a machine opened anew is full again


@given(st.lists(st.tuples(st.sampled_from(["tea", "mate", "crisps", "gin"]), st.integers(0, 500))))
def test_never_never_ever_eats_money(customers: list[tuple[str, int]]) -> None:
    """A customer gets the item and the change, or the money back; and the machine gives nothing away."""
    machine = VendingMachine(OPTIONS.slots)
    for slot, money in customers:
        before = dict(machine._slots)
        try:
            change = machine.buy(slot, money)
        except NotSoldError:
            assert machine._slots == before
        else:
            assert change == money - before[slot].price >= 0
            assert counts(machine._slots) == {**counts(before), slot: before[slot].count - 1}


def counts(slots: Mapping[str, Item]) -> dict[str, int]:
    return {slot: item.count for slot, item in slots.items()}


@pytest.mark.parametrize("item", [{"price": 0, "count": 1}, {"price": 100, "count": -1}])
def test_machine_that_would_cheat_cannot_be_configured(item: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="greater"):
        VendingMachineOptions.model_validate({"slots": {"tea": {"name": "Tea", **item}}})


def test_the_program_serves_it() -> None:
    config: Configuration = {
        "backend": {"use": "vending_machine", "slots": {"tea": {"name": "Green tea", "price": 120, "count": 2}}},
        "finger": {"listen": ["127.0.0.1:0"]},
    }
    with running(config) as program:
        with socket.create_connection(program.address("finger"), timeout=10) as connection:
            connection.sendall(b"tea\r\n")
            with connection.makefile("rb") as answer:
                assert answer.read() == b"2 left, 1.20 each\r\n"
        program.end()
