"""docs/reference/configuration.md says what the models say."""

from __future__ import annotations

from pathlib import Path

import pytest

from fingertrio.config.reference import reference

PAGE = Path(__file__).parents[2] / "docs/reference/configuration.md"


@pytest.fixture(autouse=True)
def _usual_places(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page has the defaults of those who set no directories."""
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)


def test_the_page_is_the_one_that_the_models_give():
    assert PAGE.read_text() == reference(), "run: make reference"


def test_every_section_and_backend_has_its_table():
    page = reference()
    for heading in ("[finger]", "[setter]", "[http]", "[irc]", "[admin]", "[service]", "[accounts]", "[log]"):
        assert f"### `{heading}`" in page
    for backend in ("sqlite", "redis", "memory", "file", "plan", "command", "finger", "xmlrpc", "mirror", "layers"):
        assert f'### `use = "{backend}"`' in page
