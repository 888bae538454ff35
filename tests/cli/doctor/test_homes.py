"""Whether homes and plans can be read by the user that the server runs as."""

from __future__ import annotations

import os
import pwd
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from fingertrio.cli.doctor.check import Check
from fingertrio.cli.doctor.homes import CHECK, look_at_homes
from fingertrio.server.access import ServerUser
from tests.cli.doctor.kit import FakeMachine, faults, installation, look, only

STRANGER = ServerUser("finger", 4711, frozenset({4711}))
PLAN = {"backend": {"use": "plan"}}


class Passwords:
    """A password database over homes in a directory."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._users: dict[str, pwd.struct_passwd] = {}

    def add(self, name: str, mode: int = 0o711, plan: int | None = 0o644, uid: int = 1000) -> None:
        home = self._root / name
        home.mkdir()
        if plan is not None:
            (home / ".plan").write_text("Here")
            (home / ".plan").chmod(plan)
        home.chmod(mode)
        self._users[name] = pwd.struct_passwd((name, "x", uid, uid, "", str(home), "/bin/sh"))

    def find(self, user: str) -> pwd.struct_passwd | None:
        return self._users.get(user)

    def names(self) -> Iterable[str]:
        return list(self._users)


@pytest.fixture
def users() -> Iterator[Passwords]:
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        Path(name).chmod(0o755)
        yield Passwords(Path(name))


def over(users: Passwords) -> Check:
    return replace(CHECK, look=partial(look_at_homes, passwords=users, account=STRANGER))


async def test_homes_that_can_be_searched(users: Passwords, fake: FakeMachine):
    users.add("ada")
    users.add("bob", 0o755, None)
    users.add("daemon", 0o700, uid=2)  # not a person
    results = await look(over(users), installation(PLAN, machine=fake.machine))
    assert [(result.level, result.what) for result in results] == [("ok", "finger can search 2 of 2 homes")]


async def test_no_home_can_be_searched(users: Passwords, fake: FakeMachine):
    users.add("ada", 0o700)
    users.add("bob", 0o750)
    found = await only(over(users), installation(PLAN, machine=fake.machine), "problem")
    assert "can search none of 2 homes" in found.what
    assert "chmod 711" in found.next


@pytest.mark.skipif(os.geteuid() != 0, reason="only root sees what is in a closed home")
async def test_plans_in_closed_homes_are_named(users: Passwords, fake: FakeMachine):
    users.add("ada")
    for number in range(7):
        users.add(f"user{number}", 0o700)
    found = await only(over(users), installation(PLAN, machine=fake.machine), "warning")
    assert found.what == "user0, user1, user2, user3, user4 and 2 more: a plan in a closed home"
    assert "chmod 711 ~" in found.next


async def test_root_shows_what_is_closed_to_others(users: Passwords, fake: FakeMachine):
    users.add("ada")
    root = replace(CHECK, look=partial(look_at_homes, passwords=users, account=ServerUser("root", 0, frozenset({0}))))
    assert "runs as root" in (await only(root, installation(PLAN, machine=fake.machine), "problem")).what


async def test_closed_homes_without_a_plan_are_as_their_owners_want(users: Passwords, fake: FakeMachine):
    users.add("ada")
    users.add("bob", 0o700, None)
    results = await look(over(users), installation(PLAN, machine=fake.machine))
    assert [result.level for result in results] == ["ok", "ok"]
    assert results[1].what == "bob: the home is closed, so they are hidden"


async def test_a_plan_that_cannot_be_read(users: Passwords, fake: FakeMachine):
    users.add("ada", plan=0o600)
    found = await only(over(users), installation(PLAN, machine=fake.machine), "warning")
    assert "ada: ~/.plan cannot be read by finger" in found.what
    assert "chmod 644 ~/.plan" in found.next


async def test_nobody_is_in_the_range_of_user_ids(users: Passwords, fake: FakeMachine):
    users.add("ada", uid=500)
    assert (
        "no account with a user id from 1000"
        in (await only(over(users), installation(PLAN, machine=fake.machine), "warning")).what
    )


@pytest.mark.parametrize(
    ("shown", "said"),
    [
        ("LoadState=loaded\nMainPID=0\nProtectHome=yes\nPrivateUsers=no\n", ["has ProtectHome=yes"]),
        ("LoadState=loaded\nMainPID=0\nProtectHome=read-only\nPrivateUsers=yes\n", ["has PrivateUsers=yes"]),
        ("LoadState=loaded\nMainPID=0\nProtectHome=read-only\nPrivateUsers=no\n", []),
        ("LoadState=not-found\nMainPID=0\nProtectHome=yes\nPrivateUsers=no\n", []),
    ],
)
async def test_a_unit_that_hides_homes(users: Passwords, fake: FakeMachine, shown: str, said: list[str]):
    users.add("ada")
    fake.booted, fake.programs = True, {"systemctl show fingertrio.service": shown}
    found = await faults(over(users), installation(PLAN, machine=fake.machine))
    assert len(found) == len(said)
    assert all(text in each for text, each in zip(said, found, strict=True))


def test_it_does_not_apply_to_other_backends():
    assert CHECK.skip(installation()) == "no backend is plan"
