"""The commands that pages show."""

from __future__ import annotations

import pytest

from fingertrio.frontends.web.elsewhere import Places, first_steps, reading
from fingertrio.net.address import Address

PUBLIC = "https://tilde.example"
LOCAL = "http://127.0.0.1:8000"


@pytest.mark.parametrize(
    ("base", "finger", "expected"),
    [
        (PUBLIC, [Address("0.0.0.0", 79)], "finger ada@tilde.example"),
        (PUBLIC, [Address("::", 7979)], "curl gopher://tilde.example:7979/0ada"),
        ("http://[2001:db8::1]:8000", [Address("::", 79)], "finger ada@2001:db8::1"),
        ("http://[2001:db8::1]:8000", [Address("::", 7979)], "curl gopher://[2001:db8::1]:7979/0ada"),
        (LOCAL, [Address("127.0.0.1", 7979)], "curl gopher://127.0.0.1:7979/0ada"),
        ("http://localhost:8000", [Address("127.0.0.1", 7979)], "curl gopher://localhost:7979/0ada"),
        (PUBLIC, [Address("127.0.0.1", 7979)], None),
        (PUBLIC, [], None),
        ("", [Address("0.0.0.0", 79)], None),
    ],
)
def test_finger_is_named_where_the_reader_can_reach_it(base: str, finger: list[Address], expected: str | None) -> None:
    commands = reading(Places(base, finger), "ada", watches=False)
    assert [command for command in commands if "/ada" not in command] == ([] if expected is None else [expected])


def test_names_are_safe_in_a_shell_and_in_an_address() -> None:
    commands = reading(Places(PUBLIC, [Address("0.0.0.0", 79)]), "a+$b", watches=True)
    assert commands == [
        "finger 'a+$b@tilde.example'",
        "curl https://tilde.example/a%2B%24b",
        "fingertrio watch --url https://tilde.example 'a+$b'",
    ]
    assert reading(Places(PUBLIC), "雪", watches=False) == ["curl https://tilde.example/%E9%9B%AA"]


def test_a_host_is_safe_in_a_shell() -> None:
    base = "http://a$(id);b.example"
    places = Places(base, [Address("0.0.0.0", 7979)])
    assert reading(places, "ada", watches=True) == [
        "curl 'gopher://a$(id);b.example:7979/0ada'",
        f"curl '{base}/ada'",
        f"fingertrio watch --url '{base}' ada",
    ]
    assert first_steps(places).by_curl.endswith(f" '{base}'/api/users/$(whoami)/status")


def test_the_program_is_named_with_its_path_only_on_its_own_machine() -> None:
    assert first_steps(Places(LOCAL, (), "/opt/x/fingertrio")).by_program == "/opt/x/fingertrio set Happy and well"
    assert first_steps(Places(PUBLIC, (), "/opt/x/fingertrio")).by_program == "fingertrio set Happy and well"


def test_the_first_status_by_curl_needs_no_more_than_a_shell() -> None:
    steps = first_steps(Places(LOCAL, (), "fingertrio"))
    assert steps.by_curl == (
        'curl -H "Authorization: Bearer $(fingertrio token add $(whoami))" -d "Happy and well" '
        "http://127.0.0.1:8000/api/users/$(whoami)/status"
    )
    assert steps.by_page == "fingertrio token add $(whoami)"
    assert first_steps(Places("")).by_curl == ""
