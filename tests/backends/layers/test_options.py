"""From TOML tables to layers, and the messages about mistakes in them."""

from __future__ import annotations

import tomllib

import pytest

from fingertrio.backends.finger import FingerOptions
from fingertrio.backends.layers import Layer, LayersOptions
from fingertrio.backends.memory import MemoryOptions, open_memory
from fingertrio.config.errors import ConfigError
from fingertrio.config.plugins import find_backend


def check(text: str) -> LayersOptions:
    """The options as the program checks them, from the [backend] table without `use`."""
    options = find_backend("layers").check_options(tomllib.loads(text)["backend"], "f.toml")
    assert isinstance(options, LayersOptions)
    return options


def mistake(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        check(text)
    return str(caught.value)


def test_each_table_is_a_layer_with_the_options_of_its_own_backend() -> None:
    upper, lower = check("""
        [[backend.layers]]
        use = "memory"
        users = { moshez = "Happy and well" }

        [[backend.layers]]
        use = "finger"
        host = "finger.example.net"
        timeout = 1.5
        on_failure = "skip"
        skip_after = 1
    """).layers
    assert upper == Layer(
        name="layer 1 (memory)",
        open=open_memory,
        options=MemoryOptions(users={"moshez": "Happy and well"}),
        skip_after=None,
    )
    assert lower.name == "layer 2 (finger)"
    assert isinstance(lower.options, FingerOptions)
    assert lower.options.timeout == 1.5
    assert lower.skip_after == 1.0


def test_two_skipped_layers_fit_into_the_deadline_of_the_service() -> None:
    (layer,) = check('[[backend.layers]]\nuse = "memory"\non_failure = "skip"').layers
    assert layer.skip_after is not None
    assert 2 * layer.skip_after < 5


def test_layers_may_be_made_of_layers() -> None:
    (layer,) = check('[[backend.layers]]\nuse = "layers"\n[[backend.layers.layers]]\nuse = "memory"').layers
    assert isinstance(layer.options, LayersOptions)
    assert layer.options.layers[0].name == "layer 1 (memory)"


MEMORY = '[[backend.layers]]\nuse = "memory"\n'


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("[backend]", ["[backend] layers: is missing"]),
        ("[backend]\nlayers = []", ["[backend] layers", "at least 1 item"]),
        ('[backend]\nlayers = "memory"', ["[backend] layers", "expected tables, each under [[backend.layers]]"]),
        ('[backend]\nlayers = ["memory"]', ["[backend] layers.0", "Layer"]),
        (f"{MEMORY}[backend]\nlayer = 1", ["[backend] layer: unknown key", 'did you mean "layers"?']),
        (
            f'{MEMORY}[[backend.layers]]\nuse = "memroy"',
            ["[backend] layers: layer 2: [backend.layers] use: no backend", '"memroy"', "installed are:", "memory"],
        ),
        (
            f"{MEMORY}[[backend.layers]]\nuse = 'file'\npaht = 'users'",
            [
                "layer 2: the file backend: ",
                "[backend.layers] path: is missing",
                'paht: unknown key; did you mean "path"',
            ],
        ),
        (f"{MEMORY}[[backend.layers]]\npath = 'users'", ["layer 2: [backend.layers] use: is missing"]),
        (f"{MEMORY}on_failure = 'ignore'", ["layer 1: [backend.layers] on_failure: ", '"fail" or "skip"']),
        (f"{MEMORY}on_failure = 'skip'\nskip_after = 0", ["layer 1: [backend.layers] skip_after: ", "greater than 0"]),
        (
            '[[backend.layers]]\nuse = "layers"\n[[backend.layers.layers]]\nuse = "nosuch"',
            ["layer 1: the layers backend: [backend.layers] layers: layer 1: [backend.layers] use: no backend"],
        ),
    ],
)
def test_a_mistake_is_reported_with_the_number_of_its_layer(text: str, parts: list[str]) -> None:
    message = mistake(text)
    assert message.startswith("f.toml: the layers backend: [backend] layer")
    for part in parts:
        assert part in message


def test_the_mistakes_of_all_layers_are_reported_at_once() -> None:
    message = mistake('[[backend.layers]]\nuse = "file"\n[[backend.layers]]\nuse = "nosuch"\n[[backend.layers]]')
    assert [f"layer {number}: " in message for number in (1, 2, 3)] == [True, True, True]
