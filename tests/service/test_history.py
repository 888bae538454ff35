from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from fingertrio.backend import BackendError, UserInfo
from fingertrio.backends.memory import MemoryBackend
from fingertrio.service import FingerService
from fingertrio.service.history import HISTORY_LIMIT
from tests.helpers import ANYONE

MOMENT = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Historian(MemoryBackend):
    def __init__(self) -> None:
        super().__init__({"ada": "x"})
        self.calls: Counter[str] = Counter()

    async def get_history(self, user: str, limit: int, before: datetime | None = None) -> Sequence[UserInfo]:
        self.calls[user] += 1
        infos = [UserInfo(user, f"{day}", since=MOMENT - timedelta(days=day)) for day in range(5)]
        return [info for info in infos if before is None or (info.since and info.since < before)][:limit]


async def test_pages_follow_each_other():
    async with FingerService.open(Historian()) as service:
        assert service.history.is_kept
        first = (await service.history.ask("ada", 3)).value
        assert ([info.status for info in first.statuses], first.next) == (["0", "1", "2"], MOMENT - timedelta(days=2))
        second = (await service.history.ask("ada", 3, first.next)).value
        assert ([info.status for info in second.statuses], second.next) == (["3", "4"], None)


async def test_a_page_is_kept_until_something_changes():
    backend = Historian()
    async with FingerService.open(backend) as service:
        answer = await service.history.ask("ada", 3)
        assert await service.history.ask("ada", 3) is answer
        await service.set_user("ada", "y", writer=ANYONE)
        assert answer.expires < 0
        await service.history.ask("ada", 3)
        assert backend.calls["ada"] == 2


async def test_limits_and_what_is_missing():
    async with FingerService.open(Historian()) as service:
        for limit in (0, HISTORY_LIMIT + 1):
            with pytest.raises(ValueError, match="limit"):
                await service.history.ask("ada", limit)
    async with FingerService.open(MemoryBackend({})) as service:
        assert not service.history.is_kept
        with pytest.raises(BackendError, match="No history"):
            await service.history.ask("ada", 3)
