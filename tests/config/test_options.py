"""From tables to options: as strict within tables and arrays as above them, and no stricter than TOML."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from enum import Enum
from ipaddress import IPv4Address
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, BeforeValidator, Field

from fingertrio.config.options import OptionsError, is_options_type, validate


@dataclass(frozen=True)
class Limit:
    most: int
    share: float = 1.0
    hard: bool = False


class Route(BaseModel):
    """Its fields are called as the parts of pydantic's schemas are."""

    type: int = 0
    default: int = 0
    metadata: dict[str, int] = {}
    limit: Limit | None = None
    next: Route | None = None


class Late(BaseModel, defer_build=True):
    number: int = 0


class Colour(Enum):
    RED = "red"


@dataclass
class Options:
    limit: Limit = field(default_factory=lambda: Limit(1))
    route: Route = field(default_factory=Route)
    late: Late = field(default_factory=Late)
    ports: list[int] = field(default_factory=list)
    pair: tuple[int, str] = (0, "")
    some: set[float] = field(default_factory=set)
    weights: Mapping[str, int] = field(default_factory=dict)
    routes: dict[str, list[Route]] = field(default_factory=dict)
    flags: tuple[bool, ...] = ()
    either: int | list[int] = 0
    text_or_number: int | str = 0
    most: Annotated[int, Field(gt=0)] | None = None
    hex: Annotated[int, BeforeValidator(lambda text: int(text, 16))] = 0
    path: Path = Path()
    paths: frozenset[Path] = frozenset()
    host: IPv4Address | None = None
    colour: Colour = Colour.RED
    mode: Literal["a", 1] = "a"
    wait: timedelta = timedelta()


class ModelOptions(BaseModel, extra="forbid"):
    limit: Limit | None = None
    route: Route | None = None


def mistakes(table: object, options_type: type[Any] = Options) -> list[str]:
    with pytest.raises(OptionsError) as caught:
        validate(options_type, table, "x")
    return sorted(caught.value.mistakes)


@pytest.mark.parametrize(
    ("table", "mistake"),
    [
        ({"limit": {"most": "7"}}, "limit.most: expected an integer"),
        ({"limit": {"most": True}}, "limit.most: expected an integer"),
        ({"limit": {"most": 7.0}}, "limit.most: expected an integer"),
        ({"limit": {"most": 7, "share": "1"}}, "limit.share: expected a number"),
        ({"limit": {"most": 7, "share": True}}, "limit.share: expected a number"),
        ({"limit": {"most": 7, "hard": "yes"}}, "limit.hard: expected a boolean, true or false"),
        ({"limit": {"most": 7, "hard": 1}}, "limit.hard: expected a boolean, true or false"),
        ({"route": {"type": "7"}}, "route.type: expected an integer"),
        ({"route": {"default": "7"}}, "route.default: expected an integer"),
        ({"route": {"metadata": {"a": "7"}}}, "route.metadata.a: expected an integer"),
        ({"route": {"limit": {"most": "7"}}}, "route.limit.most: expected an integer"),
        ({"route": {"next": {"next": {"type": "7"}}}}, "route.next.next.type: expected an integer"),
        ({"late": {"number": "7"}}, "late.number: expected an integer"),
        ({"ports": [1, "7"]}, "ports.1: expected an integer"),
        ({"pair": ["7", "x"]}, "pair.0: expected an integer"),
        ({"some": ["7"]}, "some.0: expected a number"),
        ({"weights": {"a": True}}, "weights.a: expected an integer"),
        ({"routes": {"a": [{"type": "7"}]}}, "routes.a.0.type: expected an integer"),
        ({"flags": ["true"]}, "flags.0: expected a boolean, true or false"),
        ({"most": "7"}, "most: expected an integer"),
    ],
)
def test_within_tables_and_arrays_a_number_is_a_number(table: dict[str, object], mistake: str) -> None:
    assert mistakes(table) == [f"[x] {mistake}"]


def test_an_array_of_other_things_is_none_of_a_union_either() -> None:
    assert "[x] either.int: expected an integer" in mistakes({"either": ["7"]})


@pytest.mark.parametrize("options_type", [Options, ModelOptions])
def test_a_model_of_the_authors_is_as_strict_within(options_type: type[Any]) -> None:
    table = {"limit": {"most": "7"}, "route": {"type": "7"}}
    assert mistakes(table, options_type) == [
        "[x] limit.most: expected an integer",
        "[x] route.type: expected an integer",
    ]


def test_what_toml_has_no_type_for_is_converted_as_ever() -> None:
    found = validate(
        Options,
        {
            "limit": {"most": 7, "share": 1},
            "route": {"limit": {"most": 7}, "next": {"type": 1}},
            "ports": [1],
            "pair": [1, "x"],
            "some": [1],
            "weights": {"a": 1},
            "flags": [True],
            "either": [1],
            "text_or_number": "7",
            "hex": "ff",
            "path": "/x",
            "paths": ["/y"],
            "host": "127.0.0.1",
            "colour": "red",
            "mode": 1,
            "wait": 30,
        },
        "x",
    )
    assert isinstance(found, Options)
    assert (found.limit, found.ports, found.pair, found.some) == (Limit(7, 1.0), [1], (1, "x"), {1.0})
    assert found.route == Route(limit=Limit(7), next=Route(type=1))
    assert (found.weights, found.flags, found.either, found.text_or_number) == ({"a": 1}, (True,), [1], "7")
    assert (found.hex, found.path, found.paths) == (255, Path("/x"), frozenset({Path("/y")}))
    assert (found.host, found.colour, found.mode) == (IPv4Address("127.0.0.1"), Colour.RED, 1)
    assert found.wait == timedelta(seconds=30)


@dataclass
class Times:
    anything: Any = None
    when: datetime | None = None
    day: date | None = None
    at: time | None = None
    wait: timedelta | None = None
    data: bytes = b""
    share: float = 0.0


@pytest.mark.parametrize(
    ("key", "value", "found"),
    [
        ("anything", datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)),
        ("when", datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)),
        ("day", date(2026, 1, 1), date(2026, 1, 1)),
        ("at", time(1, 2), time(1, 2)),
        ("wait", 30, timedelta(seconds=30)),
        ("data", "x", b"x"),
        ("share", math.inf, math.inf),
    ],
)
def test_a_value_that_json_lacks_arrives_unchanged(key: str, value: object, found: object) -> None:
    """The check for converted numbers goes through JSON; the options do not."""
    options = validate(Times, {key: value}, "x")
    assert getattr(options, key) == found


def test_an_authors_type_stays_as_he_wrote_it() -> None:
    validate(Options, {}, "x")
    assert Limit("7") == Limit("7")  # type: ignore[arg-type]
    assert Route.model_validate({"type": "7"}).type == 7


@pytest.mark.parametrize(
    ("found", "answer"),
    [(Options, True), (Route, True), (dict, False), (Limit(1), False), (dict[str, str], False), (None, False)],
)
def test_options_are_of_a_dataclass_or_a_model(found: object, answer: bool) -> None:
    assert is_options_type(found) is answer
