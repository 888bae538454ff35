"""URLs, strictly. tests/clients/test_live.py has those of WebSockets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fingertrio.wire.http_url import HTTPURL, parse_http_url


@pytest.mark.parametrize(
    ("url", "parsed", "header"),
    [
        ("https://Example.org", HTTPURL("example.org", 443, True, ""), "example.org"),
        ("https://example.org/", HTTPURL("example.org", 443, True, "/"), "example.org"),
        ("http://example.org:8080/a/?b=c&d", HTTPURL("example.org", 8080, False, "/a/", "b=c&d"), "example.org:8080"),
        ("https://[2001:DB8::1]:443/", HTTPURL("2001:db8::1", 443, True, "/"), "[2001:db8::1]"),
        ("https://b\u00fccher.example/x", HTTPURL("xn--bcher-kva.example", 443, True, "/x"), "xn--bcher-kva.example"),
    ],
)
def test_urls(url: str, parsed: HTTPURL, header: str):
    assert parse_http_url(url, with_query=True) == parsed
    assert parsed.host_header == header


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", "starts with http"),
        ("example.org", "starts with http"),
        ("ws://example.org", "starts with http"),
        ("https://", "starts with http"),
        ("https://a_b!/", "starts with http"),
        ("https://[::1", "not a URL"),
        ("https://a:99999/", "not a URL"),
        ("https://a:0/", "are allowed"),
        ("https://user@a/", "are allowed"),
        ("https://a/#b", "are allowed"),
        ("https://a/?b", "only a scheme, host, port and path are allowed"),
        ("https://a/b c", "percent-encoded"),
        ("https://a/\u00e9", "percent-encoded"),
    ],
)
def test_mistakes(url: str, reason: str):
    with pytest.raises(ValueError, match=reason):
        parse_http_url(url)
    with pytest.raises(ValueError, match="the URL") as caught:
        parse_http_url(url.replace("?b", "?b#c"), with_query=True, hide=True)
    assert "user" not in str(caught.value)


@given(st.text())
def test_any_text_is_a_url_or_a_mistake(text: str):
    for url in (text, f"https://{text}", f"https://a/{text}"):
        try:
            parsed = parse_http_url(url, with_query=True)
        except ValueError:
            continue
        request = f"{parsed.path}?{parsed.query} {parsed.host_header}"
        assert request.isascii()
        assert request.isprintable()
        assert 0 < parsed.port < 65536
