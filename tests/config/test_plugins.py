"""Backends by name."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, EntryPoints

import pytest
from click.testing import CliRunner
from pydantic import BaseModel, Field

from fingertrio.backend import Backend, UserInfo
from fingertrio.cli import commands
from fingertrio.config import plugins
from fingertrio.config.errors import ConfigError
from fingertrio.config.options import OptionsError
from fingertrio.config.plugins import (
    BACKENDS,
    FRONTENDS,
    _load,
    backend_names,
    find_backend,
    find_frontends,
    installed_backends,
    installed_frontends,
)
from tests.installed import pretend_installed


class EmptyBackend:
    async def get_user(self, user: str) -> UserInfo | None:
        return None


@dataclass(frozen=True)
class DataclassOptions:
    path: str
    depth: int = 3
    tags: list[str] = field(default_factory=list, metadata={"description": "what to look for"})


class ModelOptions(BaseModel, extra="forbid"):
    path: str = Field(description="where it is")
    depth: int = 3


@asynccontextmanager
async def open_dataclass(options: DataclassOptions) -> AsyncIterator[Backend]:
    """Has no users. More text."""
    yield EmptyBackend()


@asynccontextmanager
async def open_model(options: ModelOptions) -> AsyncIterator[Backend]:
    yield EmptyBackend()


def no_backend() -> None: ...


@asynccontextmanager
async def open_untyped(options):
    yield EmptyBackend()


@asynccontextmanager
async def open_dict(options: dict[str, str]) -> AsyncIterator[Backend]:
    yield EmptyBackend()


def load(name: str):
    return _load(EntryPoint(name, f"{__name__}:{name}", "fingertrio.backends"), "f.toml")


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    monkeypatch.setitem(sys.modules, __name__, sys.modules.get(__name__) or __import__(__name__))


def test_our_own_backends_are_found_like_those_of_other_packages():
    assert {"memory", "file", "command", "plan", "xmlrpc", "finger"} <= set(backend_names())
    for plugin in installed_backends():
        assert not isinstance(plugin, ConfigError), plugin
        assert plugin.summary()
        for option in plugin.options():
            assert option.description, f"{plugin.name}.{option.name} has no description"


def test_an_unknown_backend_is_reported_with_those_that_are_installed():
    with pytest.raises(ConfigError, match=r'f\.toml: \[backend\] use: no backend "memroy"; installed are: .*memory'):
        find_backend("memroy", "f.toml")


def test_an_installation_that_knows_none_of_ours_is_older_than_its_code(monkeypatch):
    monkeypatch.setattr(plugins, "_points", lambda _group: EntryPoints())
    for find in (lambda: find_backend("memory", "f.toml"), lambda: find_frontends(["finger"], "f.toml")):
        with pytest.raises(ConfigError, match=r"f\.toml: .*older than the code; install the package again"):
            find()


@pytest.mark.parametrize("name", ["open_dataclass", "open_model"])
def test_options_are_checked_by_the_backends_own_type(name):
    plugin = load(name)
    options = plugin.check_options({"path": "/x"}, "f.toml")
    assert (options.path, options.depth) == ("/x", 3)
    with pytest.raises(ConfigError, match=r"f\.toml: the .* backend: \[backend\] path: is missing"):
        plugin.check_options({}, "f.toml")
    with pytest.raises(ConfigError, match=r'\[backend\] deph: unknown key; did you mean "depth"\?'):
        plugin.check_options({"path": "/x", "deph": 4}, "f.toml")
    with pytest.raises(ConfigError, match=r"\[backend\] depth: .*integer"):
        plugin.check_options({"path": "/x", "depth": "deep"}, "f.toml")


@pytest.mark.parametrize("name", ["open_dataclass", "open_model"])
@pytest.mark.parametrize("depth", ["3", True, 3.0])
def test_an_option_of_another_type_is_a_mistake_and_reported_once_with_all_others(name, depth):
    with pytest.raises(OptionsError) as caught:
        load(name).validate({"depth": depth}, "backend")
    assert sorted(caught.value.mistakes) == ["[backend] depth: expected an integer", "[backend] path: is missing"]


def test_options_are_listed_with_type_default_and_description():
    found = {option.name: option for option in load("open_dataclass").options()}
    assert found["path"].default is None
    assert (found["depth"].kind, found["depth"].default) == ("integer", "3")
    assert (found["tags"].kind, found["tags"].default) == ("array of strings", "[]")
    assert found["tags"].description == "what to look for"
    assert load("open_model").options()[0].description == "where it is"


@pytest.mark.parametrize("name", ["no_backend", "open_untyped", "open_dict", "not_there"])
def test_what_is_not_made_as_the_contract_says_is_named(name):
    with pytest.raises(ConfigError, match=rf"f\.toml: .*{name}"):
        load(name)


def test_a_backend_whose_package_is_missing_says_how_to_get_it():
    with pytest.raises(ConfigError, match="cannot be imported"):
        _load(EntryPoint("redis", "no_such_package:open_redis", "fingertrio.backends"), "f.toml")


# What a module may do instead of being imported, and the message.
BAD_MODULES = {
    "raising": ('raise RuntimeError("boom \\x1b[31m\\nmore")', r"RuntimeError: boom \x1b[31m more"),
    "leaving": ("import sys; sys.exit(0)", "SystemExit: 0"),
    "asserting": ("assert False", "AssertionError"),
    "unwritten": ("def f(:", "SyntaxError: invalid syntax"),
    "nameless": ("nothing", "NameError: name 'nothing' is not defined"),
    "circular": ("from bad_circular import open_it", "cannot import name 'open_it'"),
    "absent": (None, "No module named 'bad_absent'; pip install \"pretended[absent]\" may install it"),
    "empty": ("", "AttributeError: module 'bad_empty' has no attribute 'open_it'"),
    "mute": (
        "class Mute(Exception):\n    def __str__(self): raise ValueError\nraise Mute",
        "from bad_mute:open_it (pretended): Mute",
    ),
}


@pytest.fixture
def bad_plugins(tmp_path, monkeypatch):
    """Gives a function that installs them all in a group."""

    def install(group: str) -> None:
        for name, (text, _message) in BAD_MODULES.items():
            if text is not None:
                (tmp_path / f"bad_{name}.py").write_text(text)
        pretend_installed(monkeypatch, tmp_path, group, **{name: f"bad_{name}:open_it" for name in BAD_MODULES})

    return install


def assert_message(error: object, noun: str, name: str) -> None:
    assert f"the {name} {noun} cannot be imported from bad_{name}:open_it (pretended): " in str(error)
    assert BAD_MODULES[name][1] in str(error)
    assert str(error).isprintable(), "a line end or what steers a terminal is in it"


def test_whatever_a_module_raises_is_a_mistake_that_names_who_brought_it(bad_plugins):
    bad_plugins(BACKENDS)
    for name in BAD_MODULES:
        with pytest.raises(ConfigError, match=r"^f\.toml: ") as caught:
            find_backend(name, "f.toml")
        assert_message(caught.value, "backend", name)


def test_those_that_can_be_imported_are_listed_beside_those_that_cannot(bad_plugins):
    bad_plugins(FRONTENDS)
    listed = installed_frontends()
    assert {"finger", "setter"} <= {one.name for one in listed if not isinstance(one, ConfigError)}
    bad = {str(one).partition(":")[0]: one for one in listed if isinstance(one, ConfigError)}
    assert bad.keys() == BAD_MODULES.keys()
    for name, error in bad.items():
        assert_message(error, "front end", name)


@pytest.mark.parametrize("command", ["serve", "check-config", "backends"])
def test_a_command_tells_in_one_line_what_cannot_be_imported(bad_plugins, tmp_path, command):
    bad_plugins(BACKENDS)
    path = tmp_path / "f.toml"
    path.write_text('[backend]\nuse = "leaving"\n[finger]\nlisten = ["127.0.0.1:0"]\n')
    arguments = {"serve": ["--config", path], "check-config": [path], "backends": []}[command]
    result = CliRunner().invoke(commands.cli, [command, *map(str, arguments)])
    assert result.exit_code == (0 if command == "backends" else 2)
    lines = [line for line in result.stderr.splitlines() if "bad_leaving" in line]
    assert len(lines) == 1
    assert lines[0].endswith("backend cannot be imported from bad_leaving:open_it (pretended): SystemExit: 0")
    assert "Traceback" not in result.output
    assert ("memory" in result.stdout) == (command == "backends")


def test_ctrl_c_during_an_import_is_no_mistake_of_the_module(tmp_path, monkeypatch):
    (tmp_path / "bad_interrupted.py").write_text("raise KeyboardInterrupt")
    pretend_installed(monkeypatch, tmp_path, BACKENDS, interrupted="bad_interrupted:open_it")
    with pytest.raises(KeyboardInterrupt):
        find_backend("interrupted")


def test_what_steers_a_terminal_in_a_name_is_shown_and_not_obeyed(tmp_path, monkeypatch):
    pretend_installed(monkeypatch, tmp_path, BACKENDS, **{"red\x1b[31m": "bad_\x1b[31m:open_it"})
    with pytest.raises(ConfigError) as unknown:
        find_backend("memroy", "f.toml")
    with pytest.raises(ConfigError) as broken:
        find_backend("red\x1b[31m", "f.toml")
    (listed,) = (one for one in installed_backends() if isinstance(one, ConfigError))
    for error in (unknown.value, broken.value, listed):
        assert r"red\x1b[31m" in str(error)
        assert str(error).isprintable()


def raise_in_annotation() -> type:
    raise LookupError("\x1b[31m")


def open_raising(options): ...


open_raising.__annotations__["options"] = "raise_in_annotation()"  # text, evaluated when it is read


def test_an_annotation_that_raises_is_no_contract_kept():
    with pytest.raises(ConfigError, match=r"open_raising \(\?\) is not a backend: .*: LookupError: \\x1b\[31m$"):
        load("open_raising")
