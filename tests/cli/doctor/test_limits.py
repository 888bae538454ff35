"""Open files against connections, and versions against their bounds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from importlib.metadata import PackageNotFoundError

import pytest

import fingertrio
from fingertrio.cli.doctor.limits import CHECK as LIMITS
from fingertrio.cli.doctor.versions import CHECK as VERSIONS
from fingertrio.cli.doctor.versions import look_at_versions
from tests.cli.doctor.kit import FakeMachine, faults, installation, levels, only, running

TABLE = {"finger": {"listen": ["127.0.0.1:79"], "max_connections": 500}}


def limits(number: int) -> str:
    return f"Limit  Soft Limit  Hard Limit  Units\nMax open files            {number}   524288   files\n"


async def test_enough_files(fake: FakeMachine):
    fake.process(812, "fingertrio", limits=limits(1024))
    found = await only(LIMITS, installation(TABLE, machine=fake.machine, server=running(812)), "ok")
    assert found.what == "pid 812: 1,024 open files, enough for 500 connections"


async def test_fewer_files_than_connections(fake: FakeMachine):
    fake.process(812, "fingertrio", limits=limits(600))
    found = await only(LIMITS, installation(TABLE, machine=fake.machine, server=running(812)), "warning")
    assert "LimitNOFILE=700" in found.next


async def test_nearly_all_files_are_open(fake: FakeMachine):
    fake.process(812, "fingertrio", *range(90), limits=limits(100))
    found = await only(LIMITS, installation(TABLE, machine=fake.machine, server=running(812)), "problem")
    assert found.what == "90 of 100 files are open"


async def test_the_limit_of_the_unit_before_the_server_runs(fake: FakeMachine):
    fake.booted = True
    fake.programs = {"systemctl show fingertrio.service": "LoadState=loaded\nLimitNOFILESoft=65536\n"}
    found = await only(LIMITS, installation(TABLE, machine=fake.machine), "ok")
    assert found.what.startswith("fingertrio.service: 65,536 open files")


def versions(needed: str, found: Mapping[str, str]):
    def installed(name: str) -> str:
        if name == "fingertrio":
            return fingertrio.version
        if name not in found:
            raise PackageNotFoundError
        return found[name]

    return replace(VERSIONS, look=partial(look_at_versions, requirements=[needed], installed=installed))


@pytest.mark.parametrize(
    ("needed", "found", "fits"),
    [
        ("hypercorn==0.18.*", "0.18.1", True),
        ("hypercorn==0.18.*", "0.19.0", False),
        ("coredis<7,>=6.9", "6.9.0", True),
        ("coredis<7,>=6.9", "6.10.2", True),
        ("coredis<7,>=6.9", "7.0.0", False),
        ("coredis<7,>=6.9", "7.0.0b1", False),
        ("coredis<7,>=6.9", "6.8", False),
        ("trio>=0.30", "0.30", True),
        ("trio>=0.30", "0.4", False),
        ("trio!=0.31", "0.31.0", False),
        ("trio~=0.30.1", "0.30.7", True),
        ("trio~=0.30.1", "0.31", False),
        ("trio>0.30", "0.30.0", False),
    ],
)
async def test_a_package_within_its_bounds_or_not(needed: str, found: str, *, fits: bool):
    name = needed.rstrip("0123456789.*<>=!~,")
    name = "".join(letter for letter in name if letter.isalpha())
    result = await faults(versions(needed, {name: found}), installation())
    assert (result == []) is fits, result
    if not fits:
        assert f"{name} {found}; fingertrio needs" in result[0]


async def test_a_package_that_is_missing_and_one_that_is_not_used():
    assert "is not installed" in (await only(versions("trio>=0.30", {}), installation(), "problem")).what
    assert await faults(versions("coredis>=6.9; extra == 'redis'", {}), installation()) == []
    redis = installation({"backend": {"use": "redis"}})
    assert (
        "coredis is not installed"
        in (await only(versions("coredis>=6.9; extra == 'redis'", {}), redis, "problem")).what
    )


async def test_what_the_tests_run_with_fits():
    assert await levels(VERSIONS, installation()) == ["ok"]


async def test_a_server_of_another_installation(fake: FakeMachine):
    fake.process(812, "/opt/other/bin/python /opt/other/bin/fingertrio serve")
    found = await only(VERSIONS, installation(machine=fake.machine, server=running(812)), "warning")
    assert "runs with /opt/other/bin/python" in found.what
    assert found.next == "/opt/other/bin/fingertrio doctor"
