"""What each command imports when it runs: nothing that it does not use, so that it starts quickly.

`benchmarks.cli` measures the time; here the packages are counted, which does not depend on the machine. One process
forks for each command, so none sees what another imported.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping

import pytest

COMMANDS: Mapping[str, tuple[list[str], str]] = {
    "help": (["--help"], "click"),
    "version": (["--version"], "click"),
    "set": (["set", "--at", "127.0.0.1:1", "x"], "click"),
    "set by HTTP": (["set", "--url", "http://127.0.0.1:1", "x"], "click"),
    "finger": (["finger", "@127.0.0.1:1"], "click trio"),
    "whoami": (["whoami"], "click"),
    "healthcheck": (["healthcheck"], "click"),
    "completion": (["completion", "bash"], "click"),
    "healthcheck of a configuration": (["healthcheck", "--config", "conf/fingertrio.toml"], "click"),
    "logout": (["logout"], "click"),
    "user list": (["user", "list", "--database", "{db}"], "click"),
    "user add": (["user", "add", "bob", "--database", "{db}"], "click"),
    "user show": (["user", "show", "ada", "--database", "{db}"], "click"),
    "user check": (["user", "check", "--database", "{db}"], "click"),
    "export": (["export", "--database", "{db}"], "click pydantic"),
    "backup": (["backup", "{db}.copy", "--database", "{db}"], "click pydantic"),
    "watch": (["watch", "--once", "--url", "http://127.0.0.1:1"], "click trio trio_websocket wsproto"),
}

# Packages that others bring along.
OTHERS = {
    *("annotated_types", "attr", "attrs", "cffi", "idna", "outcome", "pydantic_core", "sniffio", "sortedcontainers"),
    *("typing_extensions", "typing_inspection", "h11", "_cffi_backend", "fingertrio", "coverage", "zstandard"),
}

SCRIPT = """
import importlib.metadata, json, os, sys
modules = {}
for name, arguments in json.loads(sys.argv[1]).items():
    reading, writing = os.pipe()
    if os.fork() == 0:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        sys.argv = ["fingertrio", *arguments]
        try:
            from fingertrio.cli.main import main
            main()
        except SystemExit:
            pass
        found = sorted({name.partition(".")[0] for name in sys.modules} - sys.stdlib_module_names)
        os.write(writing, json.dumps(found).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        modules[name] = json.load(pipe)
    os.wait()
print(json.dumps(modules))
"""


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, list[str]]:
    directory = tmp_path_factory.mktemp("imports")
    values = {"{db}": str(directory / "x.db")}
    runs = {name: [values.get(part, part) for part in arguments] for name, (arguments, _) in COMMANDS.items()}
    runs["backup"][1] = str(directory / "copy")
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("FINGERTRIO_", "COV"))}
    environ |= {"XDG_RUNTIME_DIR": str(directory), "XDG_STATE_HOME": str(directory), "XDG_CONFIG_HOME": str(directory)}
    environ["FINGERTRIO_TOKEN"] = "ft_" + "a" * 52
    setup = [sys.executable, "-m", "fingertrio", "user", "add", "ada", "--database", values["{db}"]]
    subprocess.run(setup, env=environ, capture_output=True, check=True)
    command = [sys.executable, "-c", SCRIPT, json.dumps(runs)]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    found: Mapping[str, list[str]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_imports_only_what_it_uses(name: str, imported: Mapping[str, list[str]]):
    found = {module for module in imported[name] if not module.startswith(("_", "__"))} - OTHERS
    assert found == set(COMMANDS[name][1].split())
