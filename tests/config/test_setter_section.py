"""Which proof the setter needs at each of its addresses, and which combinations are refused."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from fingertrio.config.doors import SetterSection
from fingertrio.net.address import parse_address


def section(**values: object) -> SetterSection:
    return SetterSection.model_validate(values)


def test_each_address_has_its_own_proof():
    setter = section(
        listen=[
            "127.0.0.1:1079",
            {"address": "unix:/run/fingertrio/setter", "auth": "peer"},
            {"address": "[::1]:1080", "auth": "none"},
        ],
        auth="token",
    )
    proofs = {
        text: setter.auth_at(parse_address(text))
        for text in ("127.0.0.1:1079", "unix:/run/fingertrio/setter", "[::1]:1080")
    }
    assert proofs == {"127.0.0.1:1079": "token", "unix:/run/fingertrio/setter": "peer", "[::1]:1080": "none"}


def test_a_host_name_and_a_free_port_keep_their_proof():
    setter = section(listen=[{"address": "localhost:1079", "auth": "token"}])
    assert setter.auth_at(parse_address("[::1]:1079")) == "token"
    setter = section(listen=[{"address": "127.0.0.1:0", "auth": "token"}])
    assert setter.auth_at(parse_address("127.0.0.1:40001")) == "token"


def test_a_passed_socket_has_the_proof_of_the_section():
    setter = section(listen=[], auth="peer")
    assert setter.auth_at(parse_address("unix:/run/fingertrio/setter")) == "peer"
    assert setter.refusal_at(parse_address("127.0.0.1:1079"), "peer") is not None


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"listen": ["0.0.0.0:1079"]}, "lets every client set every status"),
        ({"listen": ["127.0.0.1:1079"], "auth": "peer"}, "needs a unix socket"),
        ({"listen": ["192.0.2.1:1079"], "auth": "token"}, "the network could read the tokens: use TLS"),
        ({"listen": [{"address": "0.0.0.0:1079", "auth": "none"}], "auth": "token"}, "lets every client set"),
        ({"listen": [{"address": "127.0.0.1:1079"}]}, "expected { address ="),
        ({"listen": [{"address": "127.0.0.1:1079", "auth": "password"}]}, "expected { address ="),
        ({"listen": [{"address": "127.0.0.1:1079", "auth": ["none"]}]}, "expected { address ="),
        ({"listen": [{"address": "127.0.0.1:1079", "tls": "yes"}]}, "expected { address ="),
        ({"listen": [{"address": "127.0.0.1:1079", "tls": True}]}, "needs certfile and keyfile"),
        ({"listen": ["127.0.0.1:1079"], "certfile": __file__}, "certfile and keyfile go together"),
        ({"listen": ["0.0.0.0:1079"], "certfile": __file__, "keyfile": __file__}, "lets every client set every status"),
        (
            {
                "listen": [{"address": "0.0.0.0:1079", "tls": False}],
                "auth": "token",
                "certfile": __file__,
                "keyfile": __file__,
            },
            "the network could read the tokens",
        ),
        ({"listen": [5]}, "expected an address"),
        ({"listen": ["127.0.0.1:1079"], "proxy_protocol": True}, "needs trusted_proxies"),
        ({"listen": ["127.0.0.1:1079"], "trusted_proxies": ["127.0.0.1"]}, "needs proxy_protocol"),
        (
            {"listen": ["127.0.0.1:1079"], "proxy_protocol": True, "trusted_proxies": ["127.0.0.1"]},
            'auth = "none" cannot be proved through a proxy',
        ),
        (
            {"listen": ["unix:/s"], "auth": "peer", "proxy_protocol": True, "trusted_proxies": ["unix"]},
            'auth = "peer" cannot be proved through a proxy',
        ),
    ],
)
def test_unsafe_combinations_are_refused(values: dict[str, object], reason: str):
    with pytest.raises(ValidationError, match=reason):
        section(**values)


def test_plain_tokens_from_other_machines_need_a_word():
    assert section(listen=["192.0.2.1:1079"], auth="token", allow_plaintext=True).auth == "token"


def test_with_a_certificate_tcp_speaks_tls_and_tokens_may_come_from_other_machines():
    setter = section(
        listen=["0.0.0.0:1079", "unix:/run/fingertrio/setter", {"address": "127.0.0.1:1080", "tls": False}],
        auth="token",
        certfile=__file__,
        keyfile=__file__,
    )
    secured = {str(address): setter.tls_at(address) for address in setter.listen}
    assert secured == {"0.0.0.0:1079": True, "unix:/run/fingertrio/setter": False, "127.0.0.1:1080": False}
    assert not setter.local_only


def test_a_unix_socket_that_no_proxy_uses_keeps_its_proof():
    setter = section(
        listen=["127.0.0.1:1079", {"address": "unix:/s", "auth": "peer"}],
        auth="token",
        proxy_protocol=True,
        trusted_proxies=["127.0.0.2"],
    )
    assert setter.header_senders is not None
    assert setter.header_senders.includes("127.0.0.2")
    assert not setter.header_senders.includes("127.0.0.1")
