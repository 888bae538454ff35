"""A site that looks alive: people with statuses of all kinds, for pictures and browser tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from fingertrio.backend import UserInfo
from fingertrio.backends.memory import MemoryBackend

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


@dataclass(frozen=True)
class Person:
    """One user; `ago` is when the status was set, `ahead` when it ends.

    `before` has earlier statuses, the oldest first: how many days ago, the text, and after how many hours it ended.
    """

    user: str
    status: str
    ago: timedelta
    name: str | None = None
    ahead: timedelta | None = None
    details: Mapping[str, str] = field(default_factory=dict)
    before: Sequence[tuple[float, str, float]] = ()


KEN = """Release notes for the weekend

  /\\_/\\        .-------------------.
 ( o.o )  ---> | 日本語 café        |
  > ^ <        '-------------------'

Done
  * RFC 1288, all of it
  * the pages: https://example.org/~ken/plan

Next
\ttask\tdays\twho
\tgopher\t2\tken
\tgemini\t3\tradia

┌──────────┬─────────┐
│ box      │ drawing │
└──────────┴─────────┘
Everything else waits until Monday, when there is time again and the tea is hot."""


def _busy_year() -> list[tuple[float, str, float]]:
    """Some statuses a week with pauses, always the same ones."""
    said = [
        "🍽️ Lunch",
        "Reading other people's plans",
        "Deleting code",
        "🚂 On a train, with the laptop open",
        "Writing",
    ]
    days = [day for day in range(364, 1, -1) if (day * day * 7 + day * 3) % 11 < 3 and day % 90 > 9]
    days += [*range(200, 160, -3), *range(60, 3, -4), *range(60, 3, -4)]
    return [
        (day + place / 200, said[(day + place) % len(said)], 1.0 if (day + place) % 5 == 0 else 0)
        for place, day in sorted(enumerate(sorted(days, reverse=True)), key=lambda pair: -pair[1] - pair[0] / 200)
    ]


PEOPLE = (
    Person(
        "ada",
        "☕ Coffee, then the analytical engine: https://example.org/engine",
        4 * MINUTE,
        "Ada Lovelace",
        36 * MINUTE,
        {"pronouns": "she/her", "timezone": "Europe/London", "project": "Notes A to G"},
    ),
    Person("moshez", "Happy and well", 21 * MINUTE, "Moshe Zadka"),
    Person("grace", "🐛 Debugging a relay; do not disturb", 64 * MINUTE, "Grace Hopper", 3 * HOUR),
    Person("zoë", "Grüße aus Köln", 2 * HOUR, "Zoë Mårtensson", None, {"pronouns": "they/them"}),
    Person(
        "ken",
        KEN,
        3 * HOUR,
        "Ken",
        36 * HOUR,
        {
            "pronouns": "he/him",
            "timezone": "America/New_York",
            "project": "Plan 10",
            "home": "https://example.org/~ken",
            "git": "https://git.example.org/ken",
            "pubkey": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJl3dIeudNqd0DPMRD6OIh65tjkxFNOtwGcWB2gCgPhk ken@example",
        },
        _busy_year(),
    ),
    Person("yuki", "❄️ 雪が降っている。散歩に行ってきます", 5 * HOUR, "山田 雪"),
    Person("salma", "أكتب الشعر هذا المساء", 9 * HOUR, "سلمى الجيوسي"),
    Person(
        "radia",
        "🌳 Planting the last of the apple trees before the frost\n\nThen soup.\nThen bridges.\nThen a tree.",
        26 * HOUR,
        "Radia Perlman",
    ),
    Person("dennis", "🏖️ On holiday", 2 * DAY, "Dennis Ritchie", 6 * DAY),
    Person("barbara", "Reviewing other people's patches, with substitutions", 3 * DAY, "Barbara Liskov"),
    Person("tux", "🐧", 4 * DAY),
    Person("linus", "Merging", 8 * DAY, "Linus T."),
)


class People(MemoryBackend):
    """The memory backend, with a clock that a test can set.

    Attributes:
        moment: what its clock shows; None: the real time.
        age: since when its source is away; None: it is not.
    """

    def __init__(self) -> None:
        self.moment: datetime | None = None
        self.age: datetime | None = None
        self._said: dict[str, list[UserInfo]] = {}  # oldest first
        super().__init__({}, now=lambda: self.moment or datetime.now(UTC))

    async def set_user(self, user: str, status: str, *, until: datetime | None = None) -> UserInfo:
        """Like the memory backend, and keep it."""
        info = await super().set_user(user, status, until=until)
        self._said.setdefault(user, []).append(info)
        return info

    async def get_history(self, user: str, limit: int, before: datetime | None = None) -> Sequence[UserInfo]:
        """As the contract says."""
        kept = [info for info in self._said.get(user, ()) if before is None or (info.since or EPOCH) < before]
        return kept[::-1][:limit]

    def stale_since(self) -> datetime | None:
        """As the test says."""
        return self.age

    async def enter(self, *people: Person) -> None:
        """Set the statuses as if at their times."""
        present = datetime.now(UTC)
        for person in sorted(people, key=lambda person: person.ago, reverse=True):
            until = None if person.ahead is None else present + person.ahead
            for days, status, hours in person.before:
                self.moment = present - days * DAY
                await self.set_user(person.user, status, until=self.moment + hours * HOUR if hours else None)
            self.moment = present - person.ago
            await self.set_user(person.user, person.status, until=until)
            if person.name or person.details:
                await self.set_details(person.user, person.name, person.details)
        self.moment = None
