"""Every file of conf/recipes is valid, has its page, and fits to the units; their own tests start them."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from fingertrio.config.config import load_config
from fingertrio.config.plugins import find_backend
from tests.conf.recipes import RECIPES

ROOT = RECIPES.parents[1]
PAGES = ROOT / "docs/recipes"
CONFIGURATIONS = sorted(path.stem for path in RECIPES.glob("*.toml"))


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_a_configuration_has_a_page_a_test_and_no_mistakes(name: str, tmp_path: Path):
    text = (RECIPES / f"{name}.toml").read_text(encoding="utf-8")
    for path in re.findall(r'^(?:certfile|keyfile) = "(.*)"', text, re.MULTILINE):
        (tmp_path / Path(path).name).write_text("")
        text = text.replace(path, str(tmp_path / Path(path).name))
    (config := tmp_path / "config.toml").write_text(text, encoding="utf-8")
    loaded = load_config(config, {})
    find_backend(loaded.backend.use, name).check_options(loaded.backend.options, name)
    assert f"conf/recipes/{name}.toml" in (PAGES / f"{name}.md").read_text(encoding="utf-8")
    assert Path(__file__).with_name(f"test_{name.replace('-', '_')}.py").is_file()
    index = (ROOT / "docs/README.md").read_text(encoding="utf-8")
    assert f"recipes/{name}.md" in index


@pytest.mark.parametrize("name", sorted(path.name for path in RECIPES.iterdir()))
def test_every_file_is_named_by_a_page(name: str):
    pages = "".join(page.read_text(encoding="utf-8") for page in PAGES.glob("*.md"))
    assert f"conf/recipes/{name}" in pages


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_what_a_page_enables_passes_the_sockets_that_its_configuration_expects(name: str):
    page = (PAGES / f"{name}.md").read_text(encoding="utf-8")
    found = re.search(r"systemctl enable --now (.*)", page)
    assert found is not None
    *sockets, service = found[1].split()
    assert service == "fingertrio.service"
    for file, target in re.findall(r"# (?:install -D -m 644|cp) (conf/\S+) (\S+)", page):
        assert (ROOT / file).is_file()
        assert f"`{target}`" in page
    named = set(re.findall(r"^\[(\w+)\]\nlisten = \[\] ", (RECIPES / f"{name}.toml").read_text(), re.MULTILINE))
    assert {socket.removeprefix("fingertrio-").removesuffix(".socket") for socket in sockets} == named


def test_the_drop_in_lets_homes_be_read_and_nothing_else(tmp_path: Path):
    """The rating of the service stays what docs/guide/operating.md says of it."""
    parser = configparser.RawConfigParser()
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # systemd's keys have capitals
    parser.read(RECIPES / "pubnix-homes.conf")
    assert {name: dict(parser[name]) for name in parser.sections()} == {"Service": {"ProtectHome": "read-only"}}
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("needs systemd-analyze (Debian package systemd)")
    unit = tmp_path / "fingertrio.service"
    service = (ROOT / "conf/systemd/fingertrio.service").read_text()
    assert "ProtectHome=yes" in service
    unit.write_text(service.replace("ProtectHome=yes", "ProtectHome=read-only"))
    done = subprocess.run(
        [program, "security", "--offline=true", "--threshold=15", "--no-pager", unit],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
