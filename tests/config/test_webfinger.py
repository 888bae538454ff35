"""The [webfinger] section, and what it needs of [http]."""

from __future__ import annotations

from typing import Any

import pytest

from fingertrio.config.config import parse_config
from fingertrio.config.errors import ConfigError

URL = "https://finger.example.org"


def parse(webfinger: dict[str, Any], http: dict[str, Any] | None) -> Any:
    table: dict[str, Any] = {"backend": {"use": "memory"}, "webfinger": webfinger, "finger": {"listen": []}}
    if http is not None:
        table["http"] = {"listen": [], **http}
    return parse_config(table)


def test_domains_are_in_lower_case_and_without_doubles():
    config = parse({"domains": ["Example.ORG", "example.org", "xn--zo-jja.example"]}, {"url": URL})
    assert config.webfinger.domains == ("example.org", "xn--zo-jja.example")


@pytest.mark.parametrize(
    ("webfinger", "reason"),
    [
        ({"domains": ["https://example.org"]}, "is not a domain"),
        ({"domains": ["ada@example.org"]}, "is not a domain"),
        ({"domains": ["-a.example"]}, "is not a domain"),
        ({"domains": [""]}, "is not a domain"),
        ({"domains": ["example.org"], "issuer": "login.example.org"}, "is not the address of a provider"),
        ({"domains": ["example.org"], "issuer": "http://login.example.org"}, "is not the address of a provider"),
        ({"domain": "example.org"}, 'did you mean "domains"'),
    ],
)
def test_a_mistake_is_named(webfinger: dict[str, Any], reason: str):
    with pytest.raises(ConfigError, match=reason):
        parse(webfinger, {"url": URL})


@pytest.mark.parametrize("http", [None, {}])
def test_it_needs_the_address_of_the_pages(http: dict[str, Any] | None):
    with pytest.raises(ConfigError, match=r"\[webfinger\] needs \[http\] url"):
        parse({"domains": "example.org"}, http)
    assert parse({}, http).webfinger.domains == ()


def test_clients_use_https_so_the_pages_must():
    with pytest.raises(ConfigError, match="use https alone"):
        parse({"domains": "example.org"}, {"url": "http://finger.example.org"})
    assert parse({"domains": "example.org"}, {"url": "http://127.0.0.1:8000"}).webfinger.domains  # for a first look


def test_a_mistake_in_one_section_does_not_hide_that_of_the_other():
    with pytest.raises(ConfigError) as error:
        parse({"domains": ["-"]}, {"url": "nonsense"})
    assert "is not a domain" in str(error.value)
    assert "is not the address of a site" in str(error.value)
