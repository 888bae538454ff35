"""What is hidden when a configuration is shown."""

from __future__ import annotations

import pytest

from fingertrio.config.secrets import hide


@pytest.mark.parametrize(
    ("path", "value", "shown"),
    [
        ("backend.url", "redis://:geheim@host:6379/0", "redis://***@host:6379/0"),
        ("backend.url", "redis://user:ge/h@e:im@host/0", "redis://***@host/0"),
        ("backend.url", "redis://host:6379", "redis://host:6379"),
        ("backend.url", "https://user:pw@example.org/RPC2", "https://***@example.org/RPC2"),
        ("backend.url", "https://user:p/w@example.org/RPC2", "https://***@example.org/RPC2"),
        ("backend.url", "https://example.org/@ada", "https://example.org/@ada"),
        ("backend.url", "https://example.org:8443/x?token=abc&user=ada#f", "https://example.org:8443/x?token=***&user=ada#f"),
        ("webhooks.chat.url", "https://hooks.example.org/services/T0/B0/x", "https://hooks.example.org/***"),
        ("hook.0.url", "https://u:p@h.example.org?x", "https://h.example.org/***"),
        ("backend.command", ["x", "--url=http://a:b@h/", "ft_" + "a" * 52], ["x", "--url=http://***@h/", "ft_***"]),
        ("backend.password", "geheim", "***"),
        ("backend.bind_password", "", "***"),
        ("backend.api_key", 12345, "***"),
        ("irc.account", {"token": "x", "name": "y"}, {"token": "***", "name": "y"}),
        ("irc.password_file", "/etc/x", "/etc/x"),
        ("http.keyfile", "/etc/key", "/etc/key"),
        ("finger.user_list", True, True),
    ],
)  # fmt: skip
def test_secrets_are_hidden_and_nothing_else(path: str, value: object, shown: object):
    assert hide(value, path.split(".")) == shown


def test_a_field_that_its_author_marks_is_hidden_whatever_its_name():
    assert hide("x", ("backend", "motto"), secret=True) == "***"
    assert hide(None, ("backend", "password")) is None
