from __future__ import annotations

import pytest
from werkzeug.datastructures import Headers

from fingertrio.frontends.web.same_site import Sender, origin_of, sender_of

HTTPS = {"https://finger.example"}
HTTP = {"http://finger.example:8000"}


@pytest.mark.parametrize(
    ("headers", "origins", "sender"),
    [
        # Sec-Fetch-Site decides, where there is one.
        ([("Sec-Fetch-Site", "same-origin")], HTTPS, Sender.OURS),
        ([("Sec-Fetch-Site", "none")], HTTPS, Sender.OURS),
        ([("Sec-Fetch-Site", "same-site")], HTTPS, Sender.OTHER),
        ([("Sec-Fetch-Site", "cross-site")], HTTPS, Sender.OTHER),
        ([("Sec-Fetch-Site", "")], HTTPS, Sender.OTHER),
        ([("Sec-Fetch-Site", "same-origin, cross-site")], HTTPS, Sender.OTHER),
        ([("Sec-Fetch-Site", "same-origin"), ("Sec-Fetch-Site", "cross-site")], HTTPS, Sender.OTHER),
        ([("Sec-Fetch-Site", "cross-site"), ("Origin", "https://finger.example")], HTTPS, Sender.OTHER),
        ([("Sec-Fetch-Site", "same-origin"), ("Origin", "https://inside:8000")], HTTPS, Sender.OURS),
        # Otherwise Origin.
        ([("Origin", "https://finger.example")], HTTPS, Sender.OURS),
        ([("Origin", "https://finger.example:443")], HTTPS, Sender.OURS),
        ([("Origin", "HTTPS://Finger.Example")], HTTPS, Sender.OURS),
        ([("Origin", "http://finger.example")], HTTPS, Sender.OTHER),  # the network could have written this page
        ([("Origin", "https://finger.example:8443")], HTTPS, Sender.OTHER),
        ([("Origin", "https://evil.finger.example")], HTTPS, Sender.OTHER),
        ([("Origin", "https://finger.example.evil")], HTTPS, Sender.OTHER),
        ([("Origin", "https://finger.example@evil.example")], HTTPS, Sender.OTHER),
        ([("Origin", "http://[")], HTTPS, Sender.OTHER),
        ([("Origin", "null")], HTTPS, Sender.OTHER),
        ([("Origin", "")], HTTPS, Sender.OTHER),
        ([("Origin", "finger.example")], HTTPS, Sender.OTHER),
        ([("Origin", "https://finger.example, https://evil.example")], HTTPS, Sender.OTHER),
        ([("Origin", "https://finger.example"), ("Origin", "https://evil.example")], HTTPS, Sender.OTHER),
        ([("Origin", "http://finger.example:8000")], HTTP, Sender.OURS),
        ([("Origin", "https://finger.example:8000")], HTTP, Sender.OURS),  # a proxy that does not tell of its TLS
        ([("Origin", "http://finger.example")], HTTP, Sender.OTHER),
        # Neither.
        ([], HTTPS, Sender.UNKNOWN),
        ([("Referer", "https://evil.example/")], HTTPS, Sender.UNKNOWN),
    ],
)
def test_who_sent_a_request(headers: list[tuple[str, str]], origins: set[str], sender: Sender):
    assert sender_of(Headers(headers), origins) is sender


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://finger.example/", "https://finger.example"),
        ("https://finger.example:443/base/", "https://finger.example"),
        ("http://Finger.Example:80", "http://finger.example"),
        ("https://finger.example:80", "https://finger.example:80"),
        ("http://[2001:db8::1]:8000", "http://[2001:db8::1]:8000"),
        ("http://[2001:DB8::1]", "http://[2001:db8::1]"),
    ],
)
def test_an_origin_is_written_as_browsers_do(url: str, origin: str):
    assert origin_of(url) == origin
