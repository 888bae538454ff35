"""`proxy_protocol` and `trusted_proxies` go together, and in [http] the second also has a meaning of its own."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from fingertrio.config.doors import FingerSection, HttpSection, ProxiedSection, SetterSection

SECTIONS = (FingerSection, SetterSection, HttpSection)


def section(kind: type[ProxiedSection], **values: object) -> ProxiedSection:
    if kind is SetterSection:
        values["auth"] = "token"
    return kind.model_validate({"listen": ["127.0.0.1:0"], **values})


@pytest.mark.parametrize("kind", SECTIONS)
def test_the_proxies_that_send_the_header(kind: type[ProxiedSection]):
    senders = section(kind, proxy_protocol=True, trusted_proxies=["192.0.2.0/24", "unix"]).header_senders
    assert senders is not None
    assert [peer for peer in ("192.0.2.7", "", "198.51.100.1") if senders.includes(peer)] == ["192.0.2.7", ""]
    assert section(kind).header_senders is None


@pytest.mark.parametrize("kind", SECTIONS)
def test_the_protocol_needs_its_proxies(kind: type[ProxiedSection]):
    with pytest.raises(ValidationError, match="needs trusted_proxies"):
        section(kind, proxy_protocol=True)
    with pytest.raises(ValidationError, match="is not a network"):
        section(kind, proxy_protocol=True, trusted_proxies=["proxy.example.org"])


def test_proxies_without_the_protocol_are_for_http_only():
    assert section(HttpSection, trusted_proxies=["127.0.0.1"]).header_senders is None
    for kind in (FingerSection, SetterSection):
        with pytest.raises(ValidationError, match="needs proxy_protocol = true"):
            section(kind, trusted_proxies=["127.0.0.1"])
