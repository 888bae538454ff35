"""Which installation is meant, and what is known of it."""

from __future__ import annotations

import json
import os
import ssl
from ipaddress import ip_network
from pathlib import Path

import pytest

from fingertrio.cli.doctor.installation import find_installation, unverified
from fingertrio.config.config import load_config
from fingertrio.frontends.web.frontend import WebPolicy
from fingertrio.server.runtime import RunningServer, RuntimeFile
from tests.cli.doctor.kit import FakeMachine, installation, running
from tests.frontends.web.kit import serving

TEXT = '[backend]\nuse = "memory"\n\n[finger]\nlisten = "127.0.0.1:7979"\n'


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    path = tmp_path / "x.toml"
    path.write_text(TEXT)
    return path


@pytest.fixture
def served(file: Path):
    """A server that runs with the file, as far as commands can see."""
    runtime = RuntimeFile.open(os.environ)
    assert runtime is not None
    runtime.publish(RunningServer(os.getpid(), str(file), doors={"finger": ["127.0.0.1:7979"]}))
    yield
    runtime.close()


async def find(path: Path | None, fake: FakeMachine):
    return await find_installation(path, fake.machine, unverified())


async def test_the_file_that_the_option_names(file: Path, fake: FakeMachine):
    place = await find(file, fake)
    assert (place.path, place.server, place.mistakes) == (file, None, "")
    assert [str(address) for address in place.addresses("finger")] == ["127.0.0.1:7979"]


async def test_the_running_server_with_its_file(served: None, file: Path, fake: FakeMachine):
    place = await find(None, fake)
    assert place.server is not None
    assert (place.server.pid, place.path) == (os.getpid(), file)


async def test_a_server_of_another_file_is_not_meant(served: None, tmp_path: Path, fake: FakeMachine):
    other = tmp_path / "other.toml"
    other.write_text(TEXT)
    assert (await find(other, fake)).server is None


async def test_the_environment_names_a_file(file: Path, fake: FakeMachine, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FINGERTRIO_CONFIG", str(file))
    assert (await find(None, fake)).path == file


async def test_the_unit_of_systemd_names_a_file(file: Path, fake: FakeMachine):
    shown = f"{{ path=/opt/bin/fingertrio ; argv[]=/opt/bin/fingertrio serve --config {file} ; ignore_errors=no }}"
    fake.programs = {"systemctl show fingertrio.service -p ExecStart": shown}
    assert (await find(None, fake)).path == file


async def test_the_variables_of_the_server_count(served: None, fake: FakeMachine):
    fake.process(os.getpid(), "x", environ="FINGERTRIO_FINGER__LISTEN=127.0.0.1:7000\0FINGERTRIO_TOKEN=x\0")
    place = await find(None, fake)
    assert [str(address) for address in place.addresses("finger")] == ["127.0.0.1:7000"]


async def test_the_user_is_that_of_the_process(served: None, fake: FakeMachine):
    fake.process(os.getpid(), "x", status="Name:\tx\nUid:\t0\t4711\t0\t0\nGid:\t0\t4712\t0\t0\nGroups:\t5 6\n")
    account = (await find(None, fake)).account
    assert (account.uid, account.name, account.groups) == (4711, "4711", {4712, 5, 6})


async def test_before_it_runs_the_user_is_the_configured_one(file: Path, fake: FakeMachine):
    file.write_text(TEXT + '\n[process]\nuser = "nobody"\n')
    assert (await find(file, fake)).account.name == "nobody"


async def test_mistakes_do_not_stop_the_doctor(file: Path, fake: FakeMachine):
    file.write_text("[finger]\n")
    place = await find(file, fake)
    assert place.config is None
    assert "[backend]: is missing" in place.mistakes


def test_backends_in_layers_are_found_without_the_keys_of_the_layer():
    layers = [{"use": "plan", "on_failure": "skip", "min_uid": 5}, {"use": "layers", "layers": [{"use": "plan"}]}]
    place = installation({"backend": {"use": "layers", "layers": layers}})
    assert place.backends("plan") == [
        ("layer 1 of [backend]", {"min_uid": 5}),
        ("layer 1 of layer 2 of [backend]", {}),
    ]


async def test_the_web_front_end_is_asked_at_its_own_address(tmp_path: Path):
    async with serving() as site, serving(at=f"unix:{tmp_path}/s") as hidden:
        for place in (site, hidden):
            answer = await installation(server=running(doors={"http": [place.url]})).ask_locally("/robots.txt")
            assert answer is not None
            assert answer.status == 200
    assert await installation(server=running(doors={"finger": ["127.0.0.1:79"]})).ask_locally("/") is None
    assert await installation().ask_locally("/") is None


@pytest.mark.parametrize("at", ["127.0.0.1:0", "unix"])
async def test_with_the_proxy_protocol_this_machine_speaks_as_a_proxy(tmp_path: Path, at: str):
    trusted = {"127.0.0.1:0": (ip_network("127.0.0.0/8"),), "unix": ("unix",)}[at]
    policy = WebPolicy(trusted_proxies=trusted, proxy_protocol=True)
    async with serving(at=f"unix:{tmp_path}/s" if at == "unix" else at, policy=policy) as site:
        table = {"listen": ["127.0.0.1:0"], "proxy_protocol": True, "trusted_proxies": list(map(str, trusted))}
        place = installation({"http": table}, server=running(doors={"http": [site.url]}))
        answer = await place.ask_locally("/-/instance")
        assert answer is not None
        assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
        assert len(json.loads(answer.body)["instance"]) == 32


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give a file away")
async def test_root_takes_the_owner_of_the_database_for_the_user(file: Path, tmp_path: Path, fake: FakeMachine):
    file.write_text(f'[backend]\nuse = "sqlite"\npath = "{tmp_path}/x.db"\n\n[finger]\nlisten = "127.0.0.1:7979"\n')
    assert not (await find(file, fake)).knows_account
    (tmp_path / "x.db").touch()
    os.chown(tmp_path / "x.db", 4711, 4712)
    place = await find(file, fake)
    assert (place.account.uid, place.account.groups, place.knows_account) == (4711, {4712}, True)


def test_the_default_configuration_is_one():
    assert load_config(None, {}).doors
    assert unverified().verify_mode == ssl.CERT_NONE
