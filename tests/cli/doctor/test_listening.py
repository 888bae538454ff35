"""Which program has each address."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from fingertrio.cli.doctor.listening import CHECK
from fingertrio.cli.doctor.machine import Machine
from tests.cli.doctor.kit import FakeMachine, faults, installation, levels, look, only, running

FINGER = {"finger": {"listen": ["127.0.0.1:7979"]}}


async def test_our_own_sockets_are_fine(fake: FakeMachine):
    fake.listen("127.0.0.1:7979", 11)
    fake.listen("unix:/run/x/http.sock", 12)
    fake.process(812, "/opt/bin/fingertrio serve", 11, 12)
    table = {**FINGER, "http": {"listen": ["unix:/run/x/http.sock"]}}
    results = await look(CHECK, installation(table, machine=fake.machine, server=running(812)))
    assert [(result.level, result.what) for result in results] == [
        ("ok", "[finger] 127.0.0.1:7979: fingertrio, pid 812"),
        ("ok", "[http] unix:/run/x/http.sock: fingertrio, pid 812"),
    ]


@pytest.mark.parametrize("at", ["127.0.0.1:7979", "0.0.0.0:7979", "[::]:7979"])
async def test_another_program_is_named_with_what_to_do(fake: FakeMachine, at: str):
    fake.listen(at, 11)
    fake.process(44, "in.fingerd -w", 11, unit="inetd.service")
    found = await only(CHECK, installation(FINGER, machine=fake.machine), "problem")
    assert found.what == "[finger] 127.0.0.1:7979: pid 44 (in.fingerd -w) of inetd.service listens there"
    assert "systemctl disable --now inetd.service" in found.next


async def test_a_program_without_a_unit_is_to_be_stopped_by_its_number(fake: FakeMachine):
    fake.listen("127.0.0.1:7979", 11)
    fake.process(44, "nc -l", 11)
    assert "kill 44" in (await only(CHECK, installation(FINGER, machine=fake.machine), "problem")).next


async def test_a_second_fingertrio_is_recognised(fake: FakeMachine):
    fake.listen("127.0.0.1:7979", 11)
    fake.process(44, "/usr/bin/python3 /opt/fingertrio/bin/fingertrio serve", 11)
    found = await only(CHECK, installation(FINGER, machine=fake.machine, server=running(45)), "problem")
    assert "pid 44 (python3 fingertrio serve) listens there" in found.what
    assert "another fingertrio" in found.why


async def test_other_ports_other_states_and_other_addresses_do_not_count(fake: FakeMachine):
    fake.listen("127.0.0.1:80", 11)
    fake.listen("127.0.0.1:7979", 12, state="01")  # a connection
    fake.listen("192.0.2.1:7979", 13)
    assert await faults(CHECK, installation(FINGER, machine=fake.machine)) == []


async def test_nobody_listens_although_the_server_runs(fake: FakeMachine):
    found = await only(CHECK, installation(FINGER, machine=fake.machine, server=running(812)), "problem")
    assert "no program listens there, although pid 812 runs" in found.what
    assert "systemctl restart" in found.next


async def test_an_address_that_this_machine_lacks(fake: FakeMachine):
    place = installation({"finger": {"listen": ["198.51.100.7:79"]}}, machine=fake.machine)
    assert "does not have this address" in (await only(CHECK, place, "problem")).what


async def test_a_process_that_this_user_may_not_see(fake: FakeMachine):
    fake.listen("127.0.0.1:7979", 11)
    assert (await only(CHECK, installation(FINGER, machine=fake.machine), "warning")).next.startswith("run this")
    fake.listen("unix:/run/x/s", 12)
    says_so = running(812, doors={"finger": ["127.0.0.1:7979"], "setter": ["unix:/run/x/s"]})
    table = {**FINGER, "setter": {"listen": ["unix:/run/x/s"]}}
    assert await levels(CHECK, installation(table, machine=fake.machine, server=says_so)) == ["ok", "ok"]


async def test_sockets_that_systemd_holds(fake: FakeMachine):
    fake.listen("127.0.0.1:7979", 11)
    fake.process(1, "/sbin/init", 11)
    assert await levels(CHECK, installation(FINGER, machine=fake.machine)) == ["ok"]
    found = await only(CHECK, installation(FINGER, machine=fake.machine, server=running(812)), "problem")
    assert "has not passed the socket" in found.what


async def test_the_addresses_of_passed_sockets_are_those_that_the_server_reports(fake: FakeMachine):
    fake.listen("0.0.0.0:79", 11)
    fake.process(812, "fingertrio serve", 11)
    server = running(812, doors={"finger": ["0.0.0.0:79"]})
    place = installation({"finger": {"listen": []}}, machine=fake.machine, server=server)
    assert [result.what for result in await look(CHECK, place)] == ["[finger] 0.0.0.0:79: fingertrio, pid 812"]


async def test_unix_sockets(tmp_path: Path, fake: FakeMachine):
    stale, file, live = tmp_path / "stale", tmp_path / "file", tmp_path / "live"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(stale))
    file.write_text("x")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(live))
        sock.listen()
        listen = [f"unix:{path}" for path in (stale, file, live, tmp_path / "none/s", tmp_path / "free")]
        place = installation({"finger": {"listen": listen}}, machine=fake.machine)
        results = await look(CHECK, place)
    assert [result.level for result in results] == ["warning", "problem", "warning", "problem", "ok"]
    assert "stale socket file" in results[0].what
    assert stale.exists()  # looked at, not removed
    assert "is not a socket" not in results[0].what
    assert "is a file and not a socket" in results[1].what
    assert "a program listens there" in results[2].what
    assert "there is no directory" in results[3].what


async def test_a_host_name_without_an_address(fake: FakeMachine):
    place = installation({"finger": {"listen": ["nowhere.invalid:79"]}}, machine=fake.machine)
    assert "the name has no address" in (await only(CHECK, place, "problem")).what


async def test_the_real_proc_shows_our_own_socket():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        place = installation({"finger": {"listen": [f"127.0.0.1:{port}"]}}, machine=Machine(), server=running())
        assert [result.what for result in await look(CHECK, place)] == [
            f"[finger] 127.0.0.1:{port}: fingertrio, pid {os.getpid()}"
        ]
