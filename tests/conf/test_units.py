"""The units and configurations in conf/: hardened as docs/guide/operating.md says, and fitting together.

What only a running systemd shows is not here: faults/under_systemd.sh boots one.
"""

import configparser
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from fingertrio.config.config import load_config
from fingertrio.config.plugins import find_backend

CONF = Path(__file__).parents[2] / "conf"
OPERATING = CONF.parent / "docs/guide/operating.md"
SERVICES = {"fingertrio.service": "production.toml", "fingertrio-plan.service": "plan.toml"}


def unit(name):
    parser = configparser.RawConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # systemd's keys have capitals
    parser.read(CONF / "systemd" / name)
    return parser


@pytest.mark.parametrize("name", SERVICES)
def test_the_exposure_of_a_service_is_at_most_1_5(name):
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("needs systemd-analyze (Debian package systemd)")
    done = subprocess.run(
        [program, "security", "--offline=true", "--threshold=15", "--no-pager", CONF / "systemd" / name],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    assert "Unknown key" not in done.stderr  # mistyped, or in the wrong section: systemd would go on without it


def enabled_by(block):
    """The units that the commands of one way to install enable."""
    found = re.search(r"systemctl enable --now (.*)", block)
    assert found is not None
    return found[1].split()


@pytest.mark.parametrize(("name", "config"), SERVICES.items())
def test_what_the_documentation_enables_passes_the_sockets_that_the_configuration_expects(name, config):
    loaded = load_config(CONF / config, {})
    find_backend(loaded.backend.use, config).check_options(loaded.backend.options, config)
    waiting = {name for name, section in loaded.doors.items() if getattr(section, "listen", None) == ()}
    assert unit(name)["Service"]["ExecStart"].endswith(f"/etc/fingertrio/{config}")
    (commands,) = [block for block in OPERATING.read_text().split("```") if f"cp conf/systemd/{name} " in block]
    *sockets, service = enabled_by(commands)
    assert service == "fingertrio.service"
    assert {unit(socket)["Socket"]["FileDescriptorName"] for socket in sockets} == waiting


@pytest.mark.parametrize("name", sorted(path.name for path in (CONF / "systemd").glob("*.socket")))
def test_a_socket_that_is_enabled_belongs_to_the_service_and_starts_with_it(name):
    """Then a door less is a socket less: the service names none, so it needs no other unit."""
    socket = unit(name)
    assert socket["Socket"]["Service"] == "fingertrio.service"
    assert socket["Install"] == {"WantedBy": "sockets.target", "RequiredBy": "fingertrio.service"}


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_comes_back_however_often_it_fails_and_says_where_it_hung(name):
    """Past a limit of starts systemd would close the sockets too, and refuse the clients who wait in them."""
    service = unit(name)
    assert service["Unit"]["StartLimitIntervalSec"] == "0"
    assert service["Service"]["Restart"] == "on-failure"
    assert int(service["Service"]["RestartSec"]) >= 1  # or one mistake in the configuration costs a whole core
    assert int(service["Service"]["WatchdogSec"]) > 0
    assert service["Service"]["Environment"] == "PYTHONFAULTHANDLER=1"
    assert not {"Requires", "Sockets"} & {*service["Unit"], *service["Service"]}
