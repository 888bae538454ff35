"""On which line each key of a TOML file is."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fingertrio.config.lines import locate
from fingertrio.config.toml_text import toml_key, toml_value

TEXT = '''\
# a comment with [brackets] and = signs
top = 1

[backend]                # one
use = "layers"
"quoted key" = """
several [lines]
x = 1"""
[[backend.layers]]
use = "sqlite"
[[backend.layers]]
use = "memory"   # not the first
users.ada = "x"
[backend.layers.more]
a = [
  "[",   # ] in a comment
  "]",
]
b = 2
[presets]
lunch = { status = "Lunch", for = "1h" }
'''


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("top",), 2),
        (("backend",), 4),
        (("backend", "use"), 5),
        (("backend", "quoted key"), 6),
        (("backend", "layers", 0, "use"), 10),
        (("backend", "layers", 1), 11),
        (("backend", "layers", 1, "use"), 12),
        (("backend", "layers", 1, "users", "ada"), 13),
        (("backend", "layers", 1, "more", "a"), 15),
        (("backend", "layers", 1, "more", "b"), 19),
        (("presets", "lunch"), 21),
        (("presets", "lunch", "for"), 21),
    ],
)
def test_each_key_has_its_line(path: tuple[str | int, ...], line: int):
    assert locate(TEXT)[path] == line


def test_nothing_is_located_in_the_lines_of_a_value():
    assert not [path for path in locate(TEXT) if "x" in path]


VALUES = st.recursive(
    st.text() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.text(), VALUES, max_size=4))
def test_a_value_that_is_written_is_read_as_it_was_and_every_key_is_located(table):
    text = "".join(f"{toml_key(name)} = {toml_value(value)}\n" for name, value in table.items())
    assert tomllib.loads(text) == table
    assert text.replace("\n", "").isprintable()
    places = locate(text)
    assert [places[name,] for name in table] == list(range(1, len(table) + 1))
