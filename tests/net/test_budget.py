"""The byte budget: nothing beyond the limit, and shared bytes count once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fingertrio.net.budget import ByteBudget


def test_takes_up_to_the_limit_and_no_byte_more():
    budget = ByteBudget(10)
    assert budget.take(4)
    assert budget.take(6)
    assert not budget.take(1)
    budget.give_back(4)
    assert budget.take(4)


def test_bytes_held_by_many_count_once():
    budget, shared = ByteBudget(10), b"12345678"
    assert budget.hold(shared)
    assert budget.hold(shared)
    assert budget.used == 8
    budget.release(shared)
    assert budget.used == 8
    budget.release(shared)
    assert budget.used == 0


def test_equal_bytes_in_two_objects_count_twice():
    budget = ByteBudget(10)
    one, other = bytes(bytearray(b"12345678")), bytes(bytearray(b"12345678"))
    assert budget.hold(one)
    assert not budget.hold(other)


def test_a_lower_limit_refuses_until_enough_has_been_given_back():
    budget = ByteBudget(10)
    assert budget.take(8)
    budget.limit = 5
    assert not budget.take(1)
    budget.give_back(8)
    assert budget.take(5)


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=30))
def test_everything_released_leaves_nothing_used(steps: list[tuple[int, bool]]):
    objects = [bytes(bytearray(b"x" * (n + 1) * 10)) for n in range(4)]
    budget = ByteBudget(80)
    held: list[bytes] = []
    for number, release in steps:
        if release and held:
            budget.release(held.pop())
        elif budget.hold(objects[number]):
            held.append(objects[number])
        assert budget.used == sum(len(found) for found in {id(found): found for found in held}.values()) <= 80
    for found in held:
        budget.release(found)
    assert budget.used == 0
