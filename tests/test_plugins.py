"""Backends by name."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, EntryPoints

import pytest
from pydantic import BaseModel, Field

from fingertrio import plugins
from fingertrio.backend import Backend, UserInfo
from fingertrio.mistakes import ConfigError
from fingertrio.options import OptionsError
from fingertrio.plugins import _load, backend_names, find_backend, find_frontends, installed_backends


class Somebody:
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
    """Knows nobody. At length."""
    yield Somebody()


@asynccontextmanager
async def open_model(options: ModelOptions) -> AsyncIterator[Backend]:
    yield Somebody()


def no_backend() -> None: ...


@asynccontextmanager
async def open_untyped(options):
    yield Somebody()


@asynccontextmanager
async def open_dict(options: dict[str, str]) -> AsyncIterator[Backend]:
    yield Somebody()


def load(name: str):
    return _load(EntryPoint(name, f"{__name__}:{name}", "fingertrio.backends"), "f.toml")


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    import sys  # noqa: PLC0415

    monkeypatch.setitem(sys.modules, __name__, sys.modules.get(__name__) or __import__(__name__))


def test_our_own_backends_are_found_like_anybodys():
    assert {"memory", "file", "command", "plan", "xmlrpc", "finger"} <= set(backend_names())
    for plugin in installed_backends():
        assert not isinstance(plugin, ConfigError), plugin
        assert plugin.summary()
        for option in plugin.options():
            assert option.description, f"{plugin.name}.{option.name} has no description"


def test_an_unknown_backend_is_told_with_those_that_are_installed():
    with pytest.raises(ConfigError, match=r'f\.toml: \[backend\] use: no backend "memroy"; installed are: .*memory'):
        find_backend("memroy", "f.toml")


def test_an_installation_that_knows_none_of_ours_is_older_than_its_code(monkeypatch):
    monkeypatch.setattr(plugins, "_points", lambda _group: EntryPoints())
    for find in (lambda: find_backend("memory", "f.toml"), lambda: find_frontends(["finger"], "f.toml")):
        with pytest.raises(ConfigError, match=r"f\.toml: .*older than its code: install it again"):
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
def test_an_option_of_another_type_is_a_mistake_and_told_once_with_all_others(name, depth):
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
