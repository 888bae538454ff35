"""What check-config says of configurations that are valid and yet hardly meant."""

from __future__ import annotations

import os
import re
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from fingertrio.cli.check_config import check_config
from fingertrio.config.config import parse_config
from fingertrio.server.misconfiguration import FACTS, find_misconfiguration
from fingertrio.wire import details

ROOT = Path(__file__).parents[2]
SQLITE = '[backend]\nuse = "sqlite"\n'
PAGES = SQLITE + '[http]\nlisten = ["{}:8000"]\n{}\n'
FINGER = SQLITE + "[finger]\nlisten = []\n"


def findings(text: str) -> list[str]:
    """What is wrong, by its key."""
    return [found.what for found in find_misconfiguration(parse_config(tomllib.loads(text), to_serve=True))]


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that other users can enter."""
    with tempfile.TemporaryDirectory(prefix="fingertrio-check-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


SETTER = '[setter]\nlisten = ["unix:/x"]\n'
LAYERS = '[backend]\nuse = "layers"\n'
SQLITE_LAYER, PLAN_LAYER = (f'[[backend.layers]]\nuse = "{name}"\n' for name in ("sqlite", "plan"))
MEMORY = '[backend]\nuse = "memory"\n'
AS_ROOT = '[process]\nuser = "root"\n'
URL = 'url = "https://finger.example.org"\n'

TRAPS = {
    FINGER: [],
    FINGER + 'answer = "full"\nshow = ["plan", "since", "room"]': [],
    FINGER + 'answer = "full"\nshow = ["plans", "Since"]': [
        '[finger] show = [..., "plans"]',
        '[finger] show = [..., "Since"]',
    ],
    FINGER + 'show = ["plan"]': ["[finger] show"],
    '[backend]\nuse = "plan"\n' + SETTER: ["[setter]"],
    LAYERS + PLAN_LAYER + SETTER: ["[setter]"],
    LAYERS + SQLITE_LAYER + PLAN_LAYER + SETTER: [],
    PAGES.format("127.0.0.1", ""): [],
    PAGES.format("0.0.0.0", ""): ['[http] listen = "0.0.0.0:8000"'],
    PAGES.format("0.0.0.0", 'url = "http://finger.example.org:8000"'): [],
    PAGES.format("0.0.0.0", 'trusted_proxies = ["192.0.2.1"]'): [],
    PAGES.format("127.0.0.1", URL): ['[http] url = "https://finger.example.org"'],
    PAGES.format("127.0.0.1", URL + 'trusted_proxies = ["127.0.0.1"]'): [],
    PAGES.format("127.0.0.1", 'trusted_proxies = ["0.0.0.0/0"]'): ["[http] trusted_proxies"],
    FINGER + '[limits]\nexempt = ["::/0"]': ["[limits] exempt"],
    MEMORY + "[finger]\nlisten = []": ['[backend] use = "memory"'],
    MEMORY + 'users = { ada = "x" }\n[finger]\nlisten = []': [],
    SQLITE + '[finger]\nlisten = ["0.0.0.0:79"]\n[process]\nrun_as_root = true': ["[process] run_as_root = true"],
    FINGER + "[process]\nrun_as_root = true": [],
    FINGER + '[process]\nuser = "no-such-user"': ['[process] user = "no-such-user"'],
    FINGER + AS_ROOT + 'group = "no-such-group"': ['[process] group = "no-such-group"'],
    FINGER + AS_ROOT: ['[process] user = "root"'],
    SQLITE + 'path = "x.db"\n[finger]\nlisten = []\n' + AS_ROOT: [
        '[process] user = "root"',
        '[backend] path = "x.db"',
    ],
    SQLITE + '[setter]\nlisten = ["127.0.0.1:1079"]\n' + AS_ROOT: [
        '[setter] listen = "127.0.0.1:1079"',
        '[process] user = "root"',
    ],
}


@pytest.mark.parametrize("text", TRAPS)
def test_each_trap_has_its_finding_and_nothing_else_has(text: str):
    assert findings(text) == TRAPS[text]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, who can look everywhere")
def test_paths_that_the_servers_user_cannot_use_are_found_with_what_is_in_the_way(place: Path):
    (place / "closed").mkdir(mode=0o700)
    (place / "users").write_text("ada: x\n")
    (place / "users").chmod(0o600)
    (place / "style.css").touch()
    text = f"""
[backend]
use = "layers"
[[backend.layers]]
use = "sqlite"
path = "{place}/closed/new/fingertrio.db"
[[backend.layers]]
use = "file"
path = "{place}/users"
[http]
listen = []
style = "{place}/style.css"
[process]
user = "daemon"
[accounts]
path = "{place}/new/tokens.json"
[irc]
servers = "ircs://irc.example.net"
password_file = "$CREDENTIALS_DIRECTORY/irc"
tls_certificate = "{place}/none/cert.pem"
"""
    found = [str(one) for one in find_misconfiguration(parse_config(tomllib.loads(text), to_serve=True))]
    first, second, third = found
    assert first == (
        f"[backend] layer 1 path = {place}/closed/new/fingertrio.db: "
        f"daemon may not enter {place}/closed (root:root, mode 0700); "
        "move it to a directory that daemon can enter, such as /etc/fingertrio or /var/lib/fingertrio"
    )
    assert second == (
        f"[backend] layer 2 path = {place}/users: daemon may not read {place}/users (root:root, mode 0600); "
        f"chown daemon {place}/users, or let its group or others do that with chmod"
    )
    assert third == (
        f"[accounts] path = {place}/new/tokens.json: daemon may not write to {place} (root:root, mode 0755); "
        f"make a directory for it: install -d -o daemon -m 700 {place}/new"
    )


def test_check_config_prints_findings_with_what_to_do_next_and_ends_with_one(place: Path):
    path = place / "f.toml"
    path.write_text(FINGER + 'answer = "full"\nshow = ["plans"]\n')
    done = CliRunner().invoke(check_config, [str(path)])
    assert done.exit_code == 1
    assert done.stdout == (
        'warning  [finger] show = [..., "plans"]: there is no such fact, so nothing is shown for it\n'
        '         next: did you mean "plan"?\n'
    )


def test_a_file_without_a_backend_is_told_what_to_add(place: Path):
    path = place / "f.toml"
    path.write_text("[finger]\nlisten = []\n")
    done = CliRunner().invoke(check_config, [str(path)])
    assert done.exit_code == 2
    assert done.stderr == (
        f'fingertrio: {path}: [backend]: is missing; add this section, with use = "sqlite", or another of those that '
        "fingertrio backends lists\n"
    )


def test_the_known_facts_are_those_of_the_details():
    named = re.findall(r"^    (\w+)  +\S", details.__doc__ or "", re.MULTILINE)
    assert named
    assert set(named) <= set(FACTS)


@pytest.mark.parametrize(
    "path", [*ROOT.glob("conf/*.toml"), *ROOT.glob("conf/recipes/*.toml")], ids=lambda path: path.stem
)
def test_our_own_configurations_have_no_findings(path: Path):
    table = tomllib.loads(path.read_text())
    for section in table.values():
        for key in ("certfile", "keyfile"):
            section.pop(key, None)  # they are not on this machine
    if path.stem == "cluster":
        table.pop("setter")  # needs them
    assert find_misconfiguration(parse_config(table, to_serve=True)) == []
