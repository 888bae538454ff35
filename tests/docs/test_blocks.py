"""Every code block of the documentation is checked: as its language says, by another test, or it says why not.

Console blocks are in test_console.py.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]  # it has no types

from fingertrio.config.config import parse_config
from tests.docs.blocks import PAGES, ROOT, Block, blocks, tutorial_blocks

BLOCKS = [block for page in PAGES for block in blocks(page)] + tutorial_blocks()
HERE = [block for block in BLOCKS if block.runs]


def of(*languages: str) -> list[Block]:
    return [block for block in HERE if block.language in languages]


def need(program: str) -> str:
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"needs {program}")
    return found


def check_toml(block: Block) -> None:
    """A configuration, or a part of one: what it lacks is added."""
    document = tomllib.loads(
        re.sub(r'^(certfile|keyfile) = ".*"', rf'\1 = "{__file__}"', block.text, flags=re.MULTILINE)
    )
    document.setdefault("backend", {}).setdefault("use", "memory")
    if "webfinger" in document:
        document.setdefault("http", {"listen": ["127.0.0.1:8000"]}).setdefault("url", "https://finger.example.org")
    parse_config(document)


def check_json(block: Block) -> None:
    """One document, or one in each line."""
    try:
        json.loads(block.text)
    except ValueError:
        for line in block.text.splitlines():
            json.loads(line)


def check_yaml(block: Block) -> None:
    """YAML, with metrics that exist."""
    assert yaml.safe_load(block.text)
    known = (ROOT / "docs/reference/metrics.md").read_text().replace(block.text, "")
    named = {re.sub("_(bucket|sum|count)$", "", name) for name in re.findall(r"\bfingertrio_\w+", block.text)}
    assert [name for name in sorted(named) if name not in known] == []


def check_css(block: Block) -> None:
    """Colours of our style sheet that can be changed."""
    ours = (ROOT / "fingertrio/frontends/web/static/style.css").read_text()
    names = set(re.findall(r"(--[\w-]+):", block.text))
    assert names
    assert [name for name in sorted(names) if f"{name}:" not in ours] == []


def check_nginx(block: Block, tmp_path: Path) -> None:
    """Lines for a location or a server: nginx accepts them where they belong."""
    part = block.text if "location" in block.text else f"location / {{ proxy_pass http://127.0.0.1:1;\n{block.text} }}"
    configuration = tmp_path / "nginx.conf"
    configuration.write_text(
        f"pid {tmp_path}/pid; error_log stderr; events {{}}\n"
        "http { access_log off; map $http_upgrade $connection_upgrade { default upgrade; '' ''; }\n"
        f"server {{ listen 127.0.0.1:1;\n{part}\n}} }}\n"
    )
    command: list[str | Path] = [need("nginx"), "-t", "-q", "-p", tmp_path, "-c", configuration]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def check_unit(block: Block, tmp_path: Path) -> None:
    """A unit, or a drop-in for one of ours: systemd knows every key of it."""
    for unit in (ROOT / "conf/systemd").iterdir():
        shutil.copy(unit, tmp_path)
    drop_ins = {"[Socket]": "fingertrio-setter.socket", "[Service]": "fingertrio.service", "[Unit]": "new.service"}
    path = tmp_path / drop_ins[block.text.splitlines()[0]]
    text = (path.read_text() if path.exists() else "") + block.text
    path.write_text(re.sub(r"^ExecStart=.*", "ExecStart=/bin/true", text, flags=re.MULTILINE))
    command: list[str | Path] = [need("systemd-analyze"), "verify", path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert [line for line in done.stderr.splitlines() if path.name in line] == []


def check_caddyfile(block: Block, tmp_path: Path) -> None:
    """Caddy accepts it."""
    configuration = tmp_path / "Caddyfile"
    configuration.write_text(block.text)
    command: list[str | Path] = [need("caddy"), "adapt", "--config", configuration, "--adapter", "caddyfile"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


CHECKS: dict[str, Callable[[Block], None]] = {
    "toml": check_toml,
    "json": check_json,
    "yaml": check_yaml,
    "css": check_css,
}
WITH_FILES: dict[str, Callable[[Block, Path], None]] = {
    "nginx": check_nginx,
    "ini": check_unit,
    "caddyfile": check_caddyfile,
}
SHOWN = {"text"}  # drawings, and what programs print


@pytest.mark.parametrize("block", of(*CHECKS), ids=str)
def test_a_block_is_valid(block: Block):
    CHECKS[block.language](block)


@pytest.mark.parametrize("block", of(*WITH_FILES), ids=str)
def test_a_block_is_accepted_by_its_program(block: Block, tmp_path: Path):
    WITH_FILES[block.language](block, tmp_path)


def test_every_make_target_and_module_that_pages_name_exists():
    """What `make` does takes minutes, and runs in the repository; that its targets exist is cheap to know."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    text = "\n".join(block.text for block in BLOCKS)
    assert {*re.findall(r"^\$ make ([a-z-]+)", text, re.MULTILINE)} <= targets
    for module in re.findall(r"python -m (benchmarks\.\w+)", text):
        assert (ROOT / f"{module.replace('.', '/')}.py").is_file(), module


def test_no_block_is_left_out():
    """A new language needs a check here, or each of its blocks a comment (blocks.py)."""
    known = {*CHECKS, *WITH_FILES, *SHOWN, "console"}
    assert [f"{block} {block.language}" for block in HERE if block.language not in known] == []


def test_every_comment_about_a_block_is_understood():
    for block in BLOCKS:
        for comment in block.comments:
            known = re.match(r'(checked by|not run:|first:|skip ")', comment)
            assert known, f"{block}: {comment}"
        for name in block.said("checked by"):
            assert (ROOT / name).is_file(), f"{block}: there is no {name}"
        for reason in block.said("not run:"):
            assert len(reason) > 10, f"{block}: why?"
