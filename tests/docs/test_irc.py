"""docs/guide/irc.md: every configuration on the page is valid, and becomes networks."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from fingertrio.config.config import parse_config

PAGE = (Path(__file__).parents[2] / "docs/guide/irc.md").read_text()
FOUND = re.findall("```toml\n(.*?)```", PAGE, re.DOTALL)
BLOCKS = [block.replace("<64 hexadecimal digits>", "0" * 64) for block in FOUND]
WHOLE = [block for block in BLOCKS if re.search(r"^\[irc", block, re.MULTILINE)]


@pytest.mark.parametrize("block", WHOLE)
def test_each_configuration_is_valid(block: str):
    config = parse_config({"backend": {"use": "memory"}, **tomllib.loads(block)})
    assert config.doors["irc"].by_name


def test_each_kind_of_network_has_one():
    names = {name for block in WHOLE for name in tomllib.loads(block)["irc"].get("networks", ())}
    assert names == {"libera", "oftc", "tilde", "home", "znc", "soju"}


@pytest.mark.parametrize("block", [block for block in BLOCKS if block not in WHOLE])
def test_each_fragment_fits_a_network(block: str):
    keys = tomllib.loads(block)
    network = {"servers": ["ircs://irc.example"], **keys}
    config = parse_config({"backend": {"use": "memory"}, "irc": {"networks": {"one": network}}})
    assert set(config.doors["irc"].by_name) == {"one"}
