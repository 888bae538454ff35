"""Which addresses a webhook may connect to."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address, ip_network

import pytest
import trio

from fingertrio.clients.dial import AddressRefusedError, SocketAddress
from fingertrio.clients.post import post
from tests.frontends.webhook.kit import hook

PUBLIC = ["93.184.216.34", "1.1.1.1", "2606:4700::1111", "64:ff9b::1.1.1.1", "::ffff:1.1.1.1"]
REFUSED = [
    *("0.0.0.0", "127.0.0.1", "127.255.255.254", "::1", "::"),  # this machine
    *("10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "fc00::1", "fdff::1"),  # private
    *("169.254.1.1", "fe80::1", "fe80::1%2"),  # link-local
    *("169.254.169.254", "fd00:ec2::254", "100.100.100.200", "168.63.129.16"),  # metadata of clouds
    *("100.64.0.1", "198.18.0.1", "192.0.0.8", "192.0.2.1", "203.0.113.9", "2001:db8::1", "3fff::1"),  # special
    *("224.0.0.1", "239.255.255.255", "ff02::1", "255.255.255.255", "240.0.0.1"),  # multicast, broadcast, reserved
    *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254"),  # mapped
    *("::127.0.0.1", "::10.0.0.1"),  # IPv4-compatible
    *("2002:7f00:1::", "2002:a00:1::1", "2002:101:101::1"),  # 6to4
    *("64:ff9b::127.0.0.1", "64:ff9b::10.0.0.1", "64:ff9b:1::1.1.1.1"),  # NAT64
    *("2001::1", "2001:0:a00:1::", "fec0::1"),  # Teredo, site-local
]


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_allowed(address: str):
    assert hook().allows(ip_address(address))


@pytest.mark.parametrize("address", REFUSED)
def test_all_others_are_refused(address: str):
    assert not hook().allows(ip_address(address))
    assert not hook(allow=(ip_network("10.20.0.0/16"), ip_network("fd12::/16"))).allows(ip_address(address))


@pytest.mark.parametrize(
    ("network", "address"),
    [
        ("10.0.0.0/8", "10.1.2.3"),
        ("10.0.0.0/8", "::ffff:10.1.2.3"),
        ("127.0.0.0/8", "127.0.0.1"),
        ("::1/128", "::1"),
        ("fd12::/16", "fd12::1"),
        ("fe80::/10", "fe80::1%2"),
        ("64:ff9b::/96", "64:ff9b::10.0.0.1"),
        ("::ffff:10.0.0.0/104", "::ffff:10.1.2.3"),
    ],
)
def test_networks_that_the_operator_names_are_allowed(network: str, address: str):
    assert hook(allow=(ip_network(network),)).allows(ip_address(address))


@pytest.mark.parametrize("address", ["10.1.2.3", "93.184.216.34", "::ffff:10.1.2.3", "2606:4700::1111"])
def test_without_encryption_only_this_machine_is_allowed(address: str):
    plain = hook(url="http://localhost/", allow=(ip_network("0.0.0.0/0"), ip_network("::/0")))
    assert not plain.allows(ip_address(address))
    assert plain.allows(ip_address("127.0.0.1"))
    assert plain.allows(ip_address("::1"))
    assert plain.allows(ip_address("::ffff:127.0.0.1"))


async def test_the_name_of_a_url_may_resolve_to_anything_and_each_address_is_checked():
    """A name that first resolves to a public address and then to this machine: the first one is used, or none."""
    tried: list[str] = []

    async def rebinding(host: str, port: int) -> Sequence[SocketAddress]:
        tried.append(host)
        return [(each, port) for each in REFUSED if "%" not in each and ":" not in each]

    settings = hook()
    with pytest.raises(AddressRefusedError, match=r"hooks\.example\.org: connecting to this address is not allowed"):
        await post(settings.url, {}, b"", timeout=5, allow=settings.allows, resolve=rebinding)
    assert tried == ["hooks.example.org"]


@pytest.mark.parametrize("host", ["127.1", "2130706433", "0x7f.1", "0177.0.0.1", "0", "[::ffff:7f00:1]"])
async def test_this_machine_in_disguise_is_refused(host: str):
    settings = hook(url=f"https://{host}/")
    with trio.fail_after(5), pytest.raises(AddressRefusedError):
        await post(settings.url, {}, b"", timeout=5, allow=settings.allows)


def test_whose_changes_are_sent():
    some = hook(users=("ada", "ops-*"))
    assert [user for user in ("ada", "Ada", "adam", "ops-1", "ops", "x-ops-1") if some.wants(user)] == [
        "ada",
        "Ada",
        "ops-1",
    ]
    assert hook().wants("anyone")


def test_the_path_is_not_shown():
    assert hook(url="https://hooks.example.org:8443/T0KEN?a=T0KEN").place == "https://hooks.example.org:8443"
    assert hook(url="http://[::1]:8000/").place == "http://[::1]:8000"
