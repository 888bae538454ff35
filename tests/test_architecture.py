"""Which part may import which: the arrows of docs/architecture.md, held against every import of every file."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "fingertrio"


@dataclass(frozen=True)
class Row:
    """What a part may import, in functions as at the top of a file, besides itself and the standard library.

    Attributes:
        part: the files and packages that belong together, without "fingertrio."; `x.*` is each one in x by itself.
        ours: other parts; "wire" is all of it, "wire.text" that file only.
        others: other people's packages.
    """

    part: str
    ours: str = ""
    others: str = ""


# Read it downwards: the lower a part stands, the more of the program it knows. Nothing points upwards in a circle, and
# nothing is allowed that nobody uses, so that this stays a picture of what is.
TABLE = (
    # What knows nothing but the standard library.
    Row("backend"),
    Row("names"),
    Row("wire"),
    Row("observe.metrics"),
    Row("privileges"),
    Row("early"),
    # What knows Trio, and reports through what it is handed.
    Row("net", others="trio"),
    Row("supervisor", others="trio"),
    Row("heartbeat", others="trio"),
    Row("systemd", others="trio"),
    # The service and what it stands on. It knows no front end, and of backends the contract.
    Row("changes", ours="backend", others="trio"),
    Row("observe.logs", ours="wire.text", others="structlog"),
    Row("observe.observer", ours="observe.logs observe.metrics wire.text"),
    Row("service.cache", ours="backend", others="trio"),
    Row("service.calls", ours="backend observe.observer", others="trio"),
    Row("service.staleness", ours="backend observe.observer wire.times", others="trio"),
    Row(
        "service",
        ours="service.cache backend service.calls changes names observe.observer service.staleness wire.times",
        others="trio",
    ),
    Row("fingertrio", ours="backend service"),
    # Backends know neither who asks nor each other.
    Row("clients", ours="wire", others="httpx2 trio trio_websocket"),
    Row("backends.*", ours="backend clients changes names wire", others="pydantic trio"),
    Row("backends.redis", ours="backend changes", others="anyio coredis pydantic trio"),
    # Front ends ask the service. None knows another, and none knows a backend.
    Row(
        "frontends.finger frontends.finger_answers frontends.finger_text frontends.forwarding",
        ours="service.cache backend clients net observe.observer service wire",
        others="trio",
    ),
    Row("frontends.setter", ours="backend net observe.observer service wire", others="trio"),
    Row("frontends.irc", ours="backend observe.observer service wire", others="trio"),
    Row(
        "frontends.web",
        ours="service.cache backend names net observe.observer service wire",
        others="h11 h2 hypercorn jinja2 markupsafe quart quart_trio trio werkzeug wsproto",
    ),
    Row("frontends.admin frontends.prometheus", ours="observe.metrics", others="hypercorn prometheus_client"),
    # What puts it together. One backend, of layers, has others below it and finds them as the program does.
    Row("config.errors", others="pydantic"),
    Row("config.options", ours="config.errors net.address", others="pydantic pydantic_core"),
    Row("config.plugins", ours="backend config.errors config.options wire.text"),
    Row("config.sections", ours="net.address net.targets", others="pydantic"),
    Row("config.config", ours="config.errors config.options config.plugins config.sections", others="pydantic"),
    Row("backends.layers", ours="backend changes config.errors config.plugins", others="pydantic trio"),
    Row("reload", ours="config.config config.errors observe.observer", others="pydantic"),
    # The contract of front ends, for other people's as for ours, and what makes ours of their sections.
    Row("frontend", ours="net.limits net.server observe.observer config.sections service", others="trio"),
    Row(
        "doors.*",
        ours="config.config fingertrio frontend frontends config.errors net.limits net.targets observe.observer config.plugins config.sections service",
    ),
    Row(
        "app",
        ours="backend config.config doors heartbeat config.errors net.address net.listen observe.observer config.plugins privileges reload "
        "config.sections service supervisor systemd",
        others="trio",
    ),
    # The command line.
    Row("ask", ours="clients wire", others="click"),
    Row("watch", ours="clients names watch_show wire", others="click trio"),
    Row("watch_show", ours="wire", others="click"),
    Row("banner", ours="observe.observer", others="click"),
    Row("cli_place", ours="backends.sqlite config.config config.errors config.plugins", others="click"),
    Row("cli_users cli_store", ours="backends.sqlite cli_place wire", others="click"),
    Row(
        "commands",
        ours="app ask banner cli_store cli_users clients config.config early fingertrio config.errors net.address observe.observer config.plugins "
        "watch watch_show wire",
        others="click trio",
    ),
    # Where it begins, with nothing that takes long to import.
    Row("cli", ours="commands early"),
    Row("__main__", ours="cli"),
    # For authors of backends, who have the contract and a backend to start from.
    Row("testing", ours="backend backends.memory names service", others="trio"),
)


@dataclass(frozen=True)
class Import:
    """One import: by which module, where, and of what. Our modules are without "fingertrio."."""

    module: str
    place: str
    target: str
    ours: bool


def belongs(module: str, part: str) -> bool:
    """Whether `module` is `part` or within it."""
    return module == part or module.startswith(f"{part}.")


@cache
def row_of(module: str) -> Row | None:
    """The row for `module`: of those that fit, the most exact one."""

    def fit(row: Row) -> int:
        return max(
            (
                len(name)
                for name in row.part.split()
                if belongs(module, name) or fnmatchcase(module, name) or fnmatchcase(module, f"{name}.*")
            ),
            default=0,
        )

    best = max(TABLE, key=fit)
    return best if fit(best) else None


def is_allowed(found: Import, row: Row) -> bool:
    if not found.ours:
        return found.target in row.others.split()
    itself = (
        [".".join(found.module.split(".")[:2])] if row.part.endswith(".*") else row.part.split()
    )  # of many backends one
    return any(belongs(found.target, part) for part in (*itself, *row.ours.split()))


def imports() -> Iterator[Import]:
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        module = ".".join(parts[1:]).removesuffix("__init__").removesuffix(".") or "fingertrio"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            place = f"{path.relative_to(PACKAGE.parent)}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.Import):
                targets = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{place}: say the whole name, for whoever reads and for this test"
                assert node.module is not None
                # What is imported from a package may be one of its modules.
                targets = [
                    f"{node.module}.{alias.name}" if is_module(f"{node.module}.{alias.name}") else node.module
                    for alias in node.names
                ]
            else:
                continue
            for target in targets:
                package, _, rest = target.partition(".")
                if package == "fingertrio":
                    yield Import(module, place, rest or package, ours=True)
                elif package not in sys.stdlib_module_names:
                    yield Import(module, place, package, ours=False)


def is_module(name: str) -> bool:
    path = PACKAGE.parent.joinpath(*name.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


ALL = list(imports())


def test_every_import_follows_an_arrow():
    violations = []
    for found in ALL:
        row = row_of(found.module)
        if row is None:
            violations.append(f"{found.place}: {found.module} has no row in the table")
        elif not is_allowed(found, row):
            allowed = ", ".join([*row.ours.split(), *row.others.split()]) or "the standard library only"
            violations.append(f"{found.place}: {found.module} -> {found.target}, but {row.part} may import {allowed}")
    assert not violations, "\n" + "\n".join(violations)


def test_the_table_allows_nothing_that_nobody_uses():
    unused = [
        f"{row.part} -> {target}"
        for row in TABLE
        for target in (*row.ours.split(), *row.others.split())
        if not any(row_of(found.module) is row and belongs(found.target, target) for found in ALL)
    ]
    assert not unused, f"take these out of the table: {', '.join(unused)}"


def test_the_table_names_nothing_that_is_not_there():
    names = [name for row in TABLE for name in (*row.part.split(), *row.ours.split()) if "*" not in name]
    missing = [name for name in names if name != "fingertrio" and not is_module(f"fingertrio.{name}")]
    assert not missing


def test_no_arrows_go_in_a_circle():
    arrows: dict[str, set[str]] = {}
    for found in ALL:
        if found.ours:
            here, there = row_of(found.module), row_of(found.target)
            assert here is not None
            assert there is not None
            if here is not there:
                arrows.setdefault(here.part, set()).add(there.part)
    TopologicalSorter(arrows).prepare()  # raises CycleError, which names the circle


@pytest.mark.parametrize(
    ("module", "target", "ours"),
    [
        ("frontends.finger", "frontends.setter", True),
        ("frontends.web.pages", "frontends.irc.answer", True),
        ("frontends.setter", "backends.memory", True),
        ("backends.memory", "backends.file", True),
        ("backends.memory", "frontends.finger", True),
        ("backends.memory", "service", True),
        ("service", "backends.memory", True),
        ("service", "net.server", True),
        ("wire.finger", "trio", False),
        ("wire.finger", "net.server", True),
        ("backend", "trio", False),
        ("net.server", "observe.observer", True),
        ("supervisor", "observe.observer", True),
        ("clients.finger", "backend", True),
        ("observe.observer", "wire.finger", True),
        ("frontends.finger", "pydantic", False),
    ],
)
def test_arrows_that_must_never_be(module: str, target: str, ours: bool):
    """The table itself keeps what the design forbids, however it is edited."""
    row = row_of(module)
    assert row is not None
    assert not is_allowed(Import(module, "", target, ours), row), f"{row.part} must not import {target}"
