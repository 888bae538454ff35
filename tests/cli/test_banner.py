"""The message when every door is open."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import click
import pytest

from fingertrio import version
from fingertrio.cli.banner import announce
from fingertrio.observe.observer import Observer

ADDRESSES = {
    "finger": ["127.0.0.1:7979", "[::1]:7979"],
    "setter": ["127.0.0.1:1079"],
    "http": ["http://127.0.0.1:8000"],
}


def announced(addresses: Mapping[str, Sequence[str]]) -> list[str]:
    stream = io.StringIO()
    announce(Observer(stream, human=True), addresses, "sqlite", "1.0")
    return [line for line in click.unstyle(stream.getvalue()).splitlines() if line.startswith("  ")]


def test_what_to_type_first_is_what_makes_the_others_show_something() -> None:
    rows = announced(ADDRESSES)
    assert rows[0].endswith("set --at 127.0.0.1:1079 Happy and well")
    assert [row.split()[0] for row in rows] == ["setter", "finger", "[::1]:7979", "http"]
    assert rows[1].endswith("finger @127.0.0.1:7979")


def test_without_a_setter_the_doors_stand_as_they_come() -> None:
    rows = announced({name: ADDRESSES[name] for name in ("finger", "http")})
    assert [row.split()[0] for row in rows] == ["finger", "[::1]:7979", "http"]


def test_the_first_hour_shows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fingertrio.cli.banner._program", lambda: ".venv/bin/fingertrio")
    stream = io.StringIO()
    addresses = {name: places[:1] for name, places in ADDRESSES.items()}
    announce(Observer(stream, human=True), addresses, "sqlite", version, Path("conf/fingertrio.toml"))
    page = Path(__file__).parents[2] / "docs/guide/first-hour.md"
    assert click.unstyle(stream.getvalue()).strip() in page.read_text()
