from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from fingertrio.backend import Recency
from fingertrio.wire.by_time import ByTime

MOMENT = datetime(2026, 3, 1, 12, tzinfo=UTC)

_names = st.sampled_from(["ada", "Ada", "bob", "zo\u00eb"])
_times = st.one_of(st.none(), st.integers(0, 3).map(lambda days: MOMENT + timedelta(days)))
_steps = st.lists(st.one_of(st.tuples(_names, _times), st.tuples(_names, st.just("discard"))), max_size=12)


@given(_steps, _names, _times)
def test_the_order_is_that_of_the_contract(steps: list[tuple[str, object]], name: str, time: datetime | None):
    order = ByTime()
    expected: dict[str, datetime | None] = {}
    for user, step in steps:
        if step == "discard":
            order.discard(user)
            expected.pop(user, None)
        else:
            assert step is None or isinstance(step, datetime)
            order.put(user, step)
            expected[user] = step
    right = [place.user for place in sorted(Recency(since, user) for user, since in expected.items())]
    assert order.first(9) == right
    assert order.first(2) == right[:2]
    assert ByTime(expected.items()).first(9) == right
    assert all((user in order) == (user in expected) for user in ("ada", "Ada", "bob"))
    behind = [user for user in right if Recency(time, name) < Recency(expected[user], user)]
    assert order.behind(9, time, name) == behind
    assert order.behind(1, time, name) == behind[:1]
