"""The units and configurations in conf/: hardened as docs/operating.md says, and fitting together."""

import configparser
import shutil
import subprocess
from pathlib import Path

import pytest

from fingertrio.config import load_config
from fingertrio.plugins import find_backend

CONF = Path(__file__).parents[2] / "conf"
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


@pytest.mark.parametrize(("name", "config"), SERVICES.items())
def test_a_service_gets_the_sockets_that_its_configuration_expects(name, config):
    loaded = load_config(CONF / config, {})
    find_backend(loaded.backend.use, config).check_options(loaded.backend.options, config)
    waiting = {
        section for section in type(loaded).model_fields if getattr(getattr(loaded, section), "listen", None) == ()
    }
    service = unit(name)["Service"]
    assert service["ExecStart"].endswith(f"/etc/fingertrio/{config}")
    passed = {unit(socket)["Socket"]["FileDescriptorName"] for socket in service["Sockets"].split()}
    assert passed == waiting
