"""Which room may import which: the arrows of docs/design/architecture.md, held against every import of every file."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "fingertrio"


@dataclass(frozen=True)
class Row:
    """What a room may import, inside functions too, besides itself and the standard library.

    Attributes:
        room: a module or package without "fingertrio."; `x.*` stands for each module or package in x by itself.
        ours: other rooms; "wire" is all of it, "wire.text" that file only.
        others: packages of other projects.
    """

    room: str
    ours: str = ""
    others: str = ""


# Read it downwards: the lower a room stands, the more of the program it knows. Arrows point up only. The table allows
# nothing that no module uses, so it stays a picture of what is there.
TABLE = (
    # The standard library only.
    Row("backend"),
    Row("names"),
    Row("wire"),
    # Trio, and whatever reporting object they are given.
    Row("net", ours="wire.proxy", others="trio"),
    Row("clients", ours="wire", others="h11 httpx2 trio trio_websocket"),
    Row("changes", ours="backend", others="trio"),
    Row("observe", ours="wire", others="structlog"),
    # Who may write: from a proof to a writer.
    Row("accounts", ours="backend names wire.backoff", others="itsdangerous trio"),
    # The service knows no front end, and of backends the contract.
    Row("service", ours="accounts.writer backend changes names observe wire", others="trio"),
    Row("fingertrio", ours="backend service"),
    # HTTP knows ASGI, and nothing of finger.
    Row("http", ours="net observe", others="h11 h2 hypercorn trio wsproto"),
    # From TOML and the environment to a frozen Config.
    Row("config", ours="backend net wire", others="pydantic pydantic_core"),
    # Backends know neither front ends nor each other; layers find their backends by name, as the program does.
    Row("backends.*", ours="backend changes clients names wire", others="pydantic trio"),
    Row(
        "backends.redis",
        ours="backend changes wire.backoff wire.status wire.times",
        others="anyio coredis pydantic trio",
    ),
    Row("backends.layers", ours="backend changes config.errors config.plugins", others="pydantic trio"),
    # Front ends ask the service. None knows another, a backend, or the configuration.
    Row("frontends.finger", ours="backend clients net observe service wire", others="trio"),
    Row("frontends.setter", ours="accounts backend http.tls net observe service wire", others="trio"),
    Row("frontends.irc", ours="accounts.writer backend clients.dial names observe service wire", others="trio"),
    Row(
        "frontends.web",
        ours="accounts backend http names net observe service wire",
        others="hypercorn jinja2 markupsafe pydantic quart quart_trio trio werkzeug",
    ),
    Row("frontends.webhook", ours="backend changes clients observe service wire", others="trio"),
    Row("frontends.admin", ours="observe", others="hypercorn prometheus_client trio"),
    # The contract of front ends, and the one file of each that turns a configuration section into a front end.
    Row("frontend", ours="accounts config.places config.sections net observe service", others="trio"),
    Row("frontends.*.door", ours="backend config frontend fingertrio http net observe wire", others="trio"),
    # The running program, and the command line in front of it.
    Row(
        "server",
        ours="accounts backend config frontend names net observe service wire",
        others="pydantic trio",
    ),
    Row(
        "cli",
        ours="accounts backend backends.sqlite clients config fingertrio frontends.irc frontends.webhook names net "
        "observe server wire",
        others="click rich trio",
    ),
    # What operators ask of an installation, from the configuration to each thing that it depends on.
    Row(
        "cli.doctor",
        ours="backend backends.plan.backend backends.redis.connect backends.redis.options backends.sqlite.files "
        "backends.sqlite.opening cli.drawing cli.errors cli.output clients config fingertrio frontends.irc http.tls "
        "names net server.access server.accounts server.misconfiguration server.runtime wire",
        others="click coredis rich trio",
    ),
    Row("__main__", ours="cli"),
    # For authors of plug-ins: the contract as a test, and a backend to start from.
    Row("testing", ours="backend backends.memory names wire.status", others="trio"),
)


@dataclass(frozen=True)
class Import:
    """One import: by which module, where, and of what. Our modules are without "fingertrio."."""

    module: str
    place: str
    target: str
    ours: bool


def belongs(module: str, room: str) -> bool:
    """Whether `module` is `room` or within it."""
    return module == room or module.startswith(f"{room}.")


@cache
def row_of(module: str) -> Row | None:
    """The most exact row for `module`: a deeper name beats a shallower one, a plain name beats a star."""
    fitting = [row for row in TABLE if fnmatchcase(module, row.room) or fnmatchcase(module, f"{row.room}.*")]
    return max(fitting, key=lambda row: (row.room.count("."), "*" not in row.room), default=None)


def is_allowed(found: Import, row: Row) -> bool:
    if not found.ours:
        return found.target in row.others.split()
    # Of many backends or front ends, the one that the module belongs to.
    itself = ".".join(found.module.split(".")[:2]) if "*" in row.room else row.room
    return any(belongs(found.target, room) for room in (itself, *row.ours.split()))


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def statements(within: ast.AST) -> Iterator[ast.AST]:
    """Every statement, at any depth. `ast.walk` visits expressions too, which are most of a tree."""
    for node in ast.iter_child_nodes(within):
        if isinstance(node, ast.stmt | ast.excepthandler | ast.match_case):
            yield node
            yield from statements(node)


def imports(paths: Iterable[Path]) -> Iterator[Import]:
    for path in paths:
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        module = ".".join(parts[1:]).removesuffix("__init__").removesuffix(".") or "fingertrio"
        file = path.relative_to(PACKAGE.parent)
        for node in statements(tree_of(path)):
            if not isinstance(node, ast.Import | ast.ImportFrom):
                continue
            place = f"{file}:{node.lineno}"
            if isinstance(node, ast.Import):
                targets = [alias.name for alias in node.names]
            else:
                assert node.level == 0, f"{place}: write the full module name; this test reads it"
                assert node.module is not None
                # What is imported from a package may be one of its modules.
                targets = [
                    f"{node.module}.{alias.name}" if is_module(f"{node.module}.{alias.name}") else node.module
                    for alias in node.names
                ]
            for target in targets:
                package, _, rest = target.partition(".")
                if package == "fingertrio":
                    yield Import(module, place, rest or package, ours=True)
                elif package not in sys.stdlib_module_names:
                    yield Import(module, place, package, ours=False)


@cache
def is_module(name: str) -> bool:
    path = PACKAGE.parent.joinpath(*name.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


@cache
def all_of_ours() -> tuple[Import, ...]:
    """Every import of the package. Read by the first test that asks, not when pytest collects this file."""
    return tuple(imports(sorted(PACKAGE.rglob("*.py"))))


def test_every_import_follows_an_arrow():
    violations = []
    for found in all_of_ours():
        row = row_of(found.module)
        if row is None:
            violations.append(f"{found.place}: {found.module} has no row in the table")
        elif not is_allowed(found, row):
            allowed = ", ".join([*row.ours.split(), *row.others.split()]) or "the standard library only"
            violations.append(f"{found.place}: {found.module} -> {found.target}, but {row.room} may import {allowed}")
    assert not violations, "\n" + "\n".join(violations)


def test_the_table_allows_nothing_that_no_module_uses():
    unused = [
        f"{row.room} -> {target}"
        for row in TABLE
        for target in (*row.ours.split(), *row.others.split())
        if not any(row_of(found.module) is row and belongs(found.target, target) for found in all_of_ours())
    ]
    assert not unused, f"take these out of the table: {', '.join(unused)}"


def test_the_table_names_nothing_that_is_not_there():
    names = [name for row in TABLE for name in (row.room, *row.ours.split()) if "*" not in name]
    missing = [name for name in names if name != "fingertrio" and not is_module(f"fingertrio.{name}")]
    assert not missing


def test_no_arrows_go_in_a_circle():
    arrows: dict[str, set[str]] = {}
    for found in all_of_ours():
        if found.ours:
            here, there = row_of(found.module), row_of(found.target)
            assert here is not None
            assert there is not None
            if here is not there:
                arrows.setdefault(here.room, set()).add(there.room)
    TopologicalSorter(arrows).prepare()  # raises CycleError, which names the circle


@pytest.mark.parametrize("root", ["tests", "faults", "benchmarks", "fingertrio", "examples"])
def test_tests_faults_and_benchmarks_do_not_import_each_other(root: str):
    """What they share is in fingertrio.testing, where authors of plug-ins have it too."""
    others = {"tests", "faults", "benchmarks"} - {root}
    named = re.compile(rf"\b(?:{'|'.join(others)})\b")
    files = [path for path in (PACKAGE.parent / root).rglob("*.py") if named.search(path.read_text(encoding="utf-8"))]
    assert [f"{each.place} imports {each.target}" for each in imports(files) if each.target in others] == []


@pytest.mark.parametrize(
    ("module", "target", "ours"),
    [
        ("frontends.finger.frontend", "frontends.setter.frontend", True),
        ("frontends.web.pages", "frontends.irc.answer", True),
        ("frontends.setter.frontend", "backends.memory", True),
        ("frontends.finger.frontend", "config.sections", True),
        ("frontends.web.frontend", "config.config", True),
        ("frontends.finger.door", "frontends.setter.frontend", True),
        ("backends.memory", "backends.file", True),
        ("backends.memory", "frontends.finger.frontend", True),
        ("backends.memory", "service", True),
        ("backends.memory", "config.config", True),
        ("service", "backends.memory", True),
        ("service", "net.server", True),
        ("service", "config.config", True),
        ("wire.finger", "trio", False),
        ("wire.finger", "net.server", True),
        ("wire.finger", "backend", True),
        ("backend", "trio", False),
        ("names", "wire.text", True),
        ("net.server", "observe.observer", True),
        ("net.server", "wire.finger", True),
        ("http.server", "service", True),
        ("http.server", "backend", True),
        ("http.server", "wire.text", True),
        ("http.http1", "quart", False),
        ("clients.finger", "backend", True),
        ("observe.observer", "service", True),
        ("frontends.finger.frontend", "pydantic", False),
        ("server.app", "cli.main", True),
    ],
)
def test_arrows_that_must_never_be(module: str, target: str, ours: bool):
    """The table itself keeps what the design forbids, however it is edited."""
    row = row_of(module)
    assert row is not None
    assert not is_allowed(Import(module, "", target, ours), row), f"{row.room} must not import {target}"


def test_the_root_holds_public_modules_only():
    """Six modules: a seventh belongs into a room."""
    assert {path.stem for path in PACKAGE.glob("*.py")} == {
        "__init__",
        "__main__",
        "backend",
        "changes",
        "frontend",
        "names",
    }


def test_every_file_and_every_function_can_be_read_in_one_sitting():
    too_long: list[str] = []
    for path in PACKAGE.rglob("*.py"):
        source = path.read_text(encoding="utf-8")
        if (lines := source.count("\n")) > 320:
            too_long.append(f"{path.relative_to(PACKAGE)}: {lines} lines")
        for node in statements(tree_of(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > 50:
                    too_long.append(f"{path.relative_to(PACKAGE)}: {node.name} has {lines} lines")
    assert too_long == [], "a file has at most 320 lines, a function 50: make two of it"
