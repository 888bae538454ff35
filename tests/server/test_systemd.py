"""Sockets passed by a service manager, and notifications to it; test_app.py has the part that needs a real process."""

import os
import socket

import pytest
import trio

from fingertrio.server.systemd import ServiceManager, take_passed_sockets


@pytest.fixture
def manager_socket(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.settimeout(2)
        yield sock


def notified(sock):
    return sock.recv(4096).decode().split("\n")


def test_it_tells_that_it_is_ready_reloading_and_stopping(manager_socket):
    manager = ServiceManager({"NOTIFY_SOCKET": manager_socket.getsockname()})
    manager.ready("serving")
    assert notified(manager_socket) == ["READY=1", "STATUS=serving"]
    manager.reloading()
    first, second = notified(manager_socket)
    assert first == "RELOADING=1"
    assert second.startswith("MONOTONIC_USEC=")
    manager.stopping()
    assert notified(manager_socket) == ["STOPPING=1", "STATUS=stopping"]


def test_an_abstract_address_is_understood():
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        name = f"fingertrio-test-{os.getpid()}"
        sock.bind(f"\0{name}")
        sock.settimeout(2)
        ServiceManager({"NOTIFY_SOCKET": f"@{name}"}).stopping()
        assert notified(sock)[0] == "STOPPING=1"


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": "/nowhere/at/all"}])
def test_without_a_manager_that_listens_nothing_happens(environ):
    ServiceManager(environ).ready("serving")


async def test_the_watchdog_is_fed_twice_as_often_as_asked_for(manager_socket, autojump_clock):
    environ = {
        "NOTIFY_SOCKET": manager_socket.getsockname(),
        "WATCHDOG_USEC": "10000000",
        "WATCHDOG_PID": str(os.getpid()),
    }
    with trio.move_on_after(14):
        await ServiceManager(environ).feed_watchdog()
    fed = 0
    manager_socket.setblocking(False)
    with pytest.raises(BlockingIOError):
        while notified(manager_socket) == ["WATCHDOG=1"]:
            fed += 1
    assert fed == 3  # at 0, 5 and 10 seconds


@pytest.mark.parametrize("changed", [{"WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": ""}])
async def test_a_watchdog_that_is_not_ours_is_not_fed(manager_socket, autojump_clock, changed):
    environ = {"NOTIFY_SOCKET": manager_socket.getsockname(), "WATCHDOG_USEC": "10000000"} | changed
    with trio.move_on_after(100):
        await ServiceManager(environ).feed_watchdog()
    manager_socket.setblocking(False)
    with pytest.raises(BlockingIOError):
        manager_socket.recv(100)


@pytest.mark.parametrize("pid", ["", "1"])
def test_sockets_for_another_process_are_not_taken(pid):
    environ = {"LISTEN_PID": pid, "LISTEN_FDS": "1", "LISTEN_FDNAMES": "finger"}
    assert take_passed_sockets(environ) == {}
    assert environ == {}
