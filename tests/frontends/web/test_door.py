"""What the [http] section turns into, and what it warns of."""

from __future__ import annotations

import io
import json
import socket
from pathlib import Path
from typing import Any

import pytest

from fingertrio.config.doors import HttpSection
from fingertrio.config.sections import OptionError
from fingertrio.frontend import Door, TakesOptions
from fingertrio.frontends.web.door import _Http, _style, open_http
from fingertrio.frontends.web.site import DESCRIPTION, TITLE, Site
from fingertrio.net.address import Address, parse_address
from fingertrio.net.limits import ConnectionCaps, RateLimiter
from fingertrio.net.listen import bind, close_all
from fingertrio.observe.observer import Observer
from fingertrio.service import FingerService
from fingertrio.testing import FakeBackend
from tests.helpers import no_accounts


async def warnings(*addresses: str, reload: dict[str, Any] | None = None, **options: Any) -> list[dict[str, Any]]:
    """What opening the front end logs; and reloading it with other options, if there are some."""
    log = io.StringIO()
    listeners: list[socket.socket] = []
    try:
        for address in addresses:
            listeners += bind(parse_address(address))
        async with FingerService.open(FakeBackend({})) as service:
            door = Door(
                name="http",
                service=service,
                accounts=no_accounts(),
                observer=Observer(log, human=False),
                listeners=listeners,
                caps=ConnectionCaps(total=1, per_address=1),
                queries=RateLimiter(rate=1, burst=1),
                writes=RateLimiter(rate=1, burst=1),
            )
            frontend = open_http(HttpSection(listen=(), **options), door)
            if reload is not None:
                assert isinstance(frontend, TakesOptions)
                frontend.prepare(HttpSection(listen=(), **reload))()
    finally:
        close_all(listeners)
    return [json.loads(line) for line in log.getvalue().splitlines()]


@pytest.mark.parametrize("addresses", [["127.0.0.1:0"], ["127.0.0.1:0", "[::1]:0"], ["unix:{}/s"]])
async def test_where_a_proxy_would_be_exempt_from_all_limits_the_start_says_so(addresses: list[str], tmp_path: Path):
    [line] = await warnings(*(address.format(tmp_path) for address in addresses))
    assert (line["event"], line["level"]) == ("no_trusted_proxies", "warning")
    assert "trusted_proxies" in line["reason"]


async def test_a_list_that_does_not_contain_the_proxies_of_an_address_is_reported_too(tmp_path: Path):
    unix = f"unix:{tmp_path}/s"
    [line] = await warnings(unix, trusted_proxies=["127.0.0.1"])
    assert line["addresses"] == unix
    [line] = await warnings("127.0.0.1:0", unix, trusted_proxies=["unix"])
    assert line["addresses"].startswith("127.0.0.1:")


async def test_an_empty_list_that_is_written_out_says_that_there_is_no_proxy():
    assert await warnings("127.0.0.1:0", trusted_proxies=[]) == []


async def test_a_reload_that_changes_the_list_is_checked_too():
    assert len(await warnings("127.0.0.1:0", trusted_proxies=["127.0.0.1"], reload={})) == 1
    assert len(await warnings("127.0.0.1:0", reload={})) == 1, "known since the start"
    assert await warnings("127.0.0.1:0", trusted_proxies=["127.0.0.1"], reload={"trusted_proxies": ["127.0.0.2"]}) == []


async def test_no_warning_where_proxies_are_listed_or_clients_connect_directly():
    for proxies in (["127.0.0.1"], ["127.0.0.2"], ["0.0.0.0/0"], ["::ffff:127.0.0.0/104"]):
        assert await warnings("127.0.0.1:0", trusted_proxies=proxies) == []
    assert await warnings("0.0.0.0:0") == []
    assert await warnings("127.0.0.1:0", "0.0.0.0:0") == []
    assert await warnings() == []


async def site_of(*, reload: dict[str, Any] | None = None, **options: Any) -> Site:
    """What the pages know of a configuration; and of another one that is loaded later, if there is one."""
    async with FingerService.open(FakeBackend({})) as service:
        door = Door(
            name="http",
            service=service,
            accounts=no_accounts(),
            observer=Observer(),
            listeners=[],
            caps=ConnectionCaps(total=1, per_address=1),
            queries=RateLimiter(rate=1, burst=1),
            writes=RateLimiter(rate=1, burst=1),
            neighbours={"finger": [Address("127.0.0.1", 7979)]},
        )
        frontend = _Http(HttpSection(listen=(), **options), door)
        if reload is not None:
            assert reload.keys() <= frontend.reloadable
            frontend.prepare(HttpSection(listen=(), **reload))()
        return frontend._frontend._policy.site


async def test_how_the_site_calls_itself_reaches_the_pages(tmp_path: Path):
    style = tmp_path / "own.css"
    style.write_text("body { color: red }")
    site = await site_of(title="tilde.example", url="https://tilde.example/~x/", index=True, style=style)
    assert (site.title, site.url, site.index) == ("tilde.example", "https://tilde.example/~x", True)
    assert site.style is not None
    assert site.style.data == b"body { color: red }"
    assert list(site.finger) == [Address("127.0.0.1", 7979)]
    assert site.program.endswith("fingertrio")


async def test_the_default_site_is_the_one_that_the_pages_have_without_a_configuration():
    site = await site_of()
    assert (site.title, site.description, site.url, site.index, site.style) == (TITLE, DESCRIPTION, None, False, None)


def test_a_style_sheet_that_cannot_be_used_names_its_key(tmp_path: Path):
    (tmp_path / "large.css").write_bytes(b"x" * 300_000)
    (tmp_path / "directory").mkdir()
    for name, reason in (("missing", "No such file"), ("large.css", "bytes"), ("directory", "directory")):
        with pytest.raises(OptionError, match=f"style: .*{reason}"):
            _style(HttpSection.model_construct(listen=(), style=tmp_path / name))


async def test_the_site_can_be_renamed_while_it_serves():
    site = await site_of(title="before", index=True, reload={"title": "after", "url": "https://a.example"})
    assert (site.title, site.url, site.index) == ("after", "https://a.example", False)
