"""Units and sockets of systemd, as systemctl shows them."""

from __future__ import annotations

import pytest

from fingertrio.cli.doctor.systemd import CHECK
from tests.cli.doctor.kit import FakeMachine, faults, installation, look, only, running

LISTED = "fingertrio-finger.socket enabled enabled\nfingertrio-http.socket disabled enabled\n"
FINGER = "ActiveState=active\nUnitFileState=enabled\nFileDescriptorName=finger\nListen=[::]:79 (Stream)\n"
HTTP = "ActiveState=inactive\nUnitFileState=disabled\nFileDescriptorName=http\nListen=127.0.0.1:8000 (Stream)\n"
TABLE: dict[str, dict[str, list[str]]] = {"finger": {"listen": []}}


def service(**changes: str) -> str:
    found = {
        "LoadState": "loaded",
        "ActiveState": "active",
        "SubState": "running",
        "Result": "success",
        "UnitFileState": "enabled",
        "MainPID": "812",
        "NRestarts": "0",
        "NeedDaemonReload": "no",
    } | changes
    return "".join(f"{name}={value}\n" for name, value in found.items())


@pytest.fixture
def systemd(fake: FakeMachine) -> FakeMachine:
    fake.booted = True
    fake.programs = {
        "systemctl show fingertrio.service": service(),
        "systemctl show fingertrio-finger.socket": FINGER,
        "systemctl show fingertrio-http.socket": HTTP,
        "systemctl list-unit-files": LISTED,
    }
    return fake


async def test_a_service_as_the_guide_installs_it(systemd: FakeMachine):
    results = await look(CHECK, installation(TABLE, machine=systemd.machine, server=running(812)))
    assert [(result.level, result.what) for result in results] == [
        ("ok", "fingertrio.service: active (running), enabled"),
        ("ok", "fingertrio-finger.socket: [::]:79 for [finger]"),
    ]


@pytest.mark.parametrize(
    ("changes", "level", "said"),
    [
        (
            {"ActiveState": "failed", "SubState": "failed", "Result": "exit-code"},
            "problem",
            "failed (failed), exit-code",
        ),
        ({"ActiveState": "activating", "SubState": "auto-restart"}, "problem", "auto-restart"),
        ({"UnitFileState": "disabled"}, "warning", "is disabled"),
        ({"NeedDaemonReload": "yes"}, "warning", "has changed since systemd read it"),
        ({"NRestarts": "4"}, "warning", "was restarted 4 times"),
        ({"MainPID": "99"}, "warning", "pid 812 was started by something else"),
        ({"LoadState": "not-found"}, "warning", "is not installed"),
    ],
)
async def test_a_service_that_is_not_well(systemd: FakeMachine, changes: dict[str, str], level: str, said: str):
    systemd.programs["systemctl show fingertrio.service"] = service(**changes)
    place = installation(TABLE, machine=systemd.machine, server=running(812))
    assert said in (await only(CHECK, place, level)).what


async def test_a_socket_without_a_section(systemd: FakeMachine):
    place = installation({"http": {"listen": ["127.0.0.1:8000"]}}, machine=systemd.machine)
    found = await only(CHECK, place, "problem")
    assert 'passes a socket named "finger", and there is no section [finger]' in found.what
    assert "systemctl disable --now fingertrio-finger.socket" in found.next


async def test_a_section_without_a_socket(systemd: FakeMachine):
    place = installation({**TABLE, "http": {"listen": []}}, machine=systemd.machine)
    found = await only(CHECK, place, "problem")
    assert 'no enabled socket unit is named "http"' in found.what
    assert "systemctl enable --now fingertrio-http.socket" in found.next


async def test_a_socket_that_is_not_open(systemd: FakeMachine):
    systemd.programs["systemctl show fingertrio-finger.socket"] = FINGER.replace("active", "failed", 1)
    assert "is enabled, and failed" in (await only(CHECK, installation(TABLE, machine=systemd.machine), "problem")).what


async def test_a_socket_that_replaces_addresses(systemd: FakeMachine):
    place = installation({"finger": {"listen": ["127.0.0.1:7979"]}}, machine=systemd.machine)
    assert "is not used" in (await only(CHECK, place, "warning")).what


async def test_systemctl_that_does_not_answer(systemd: FakeMachine):
    systemd.programs = {}
    found = await faults(CHECK, installation({"finger": {"listen": ["127.0.0.1:79"]}}, machine=systemd.machine))
    assert found == ["warning: fingertrio.service is not installed"]


def test_it_does_not_apply_without_systemd(fake: FakeMachine):
    assert CHECK.skip(installation(machine=fake.machine)) == "systemd does not run this machine"
