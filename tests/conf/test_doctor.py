"""`fingertrio doctor` looks at the recipe for a team behind the real nginx and Caddy, as they are shipped.

The public name leads to the proxy on loopback: `getaddrinfo` is told so, nothing else is replaced.
"""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fingertrio.cli.doctor.certificates import CHECK as CERTIFICATES
from fingertrio.cli.doctor.check import Check
from fingertrio.cli.doctor.installation import Installation
from fingertrio.cli.doctor.url import PROXIES, URL
from fingertrio.cli.doctor.webfinger import CHECK as WEBFINGER
from fingertrio.config.config import load_config
from fingertrio.server.runtime import RunningServer
from fingertrio.testing.program import Program
from tests.cli.doctor.kit import look
from tests.conf.recipes import DOMAIN, SITE, Proxy, caddy, listening, nginx, recipe, serving

pytestmark = pytest.mark.slow

Proxies = Callable[[Path, tuple[str, int]], AbstractContextManager[Proxy]]


@pytest.fixture(scope="module")
def team() -> Iterator[tuple[Path, Program]]:
    with tempfile.TemporaryDirectory(prefix="ft-") as name:
        directory = Path(name)
        text = recipe("team.toml", directory, {"/var/lib/fingertrio": name}).read_text("utf-8")
        config = directory / "doctor.toml"
        config.write_text(text.partition("[irc.networks")[0])
        environ = listening("finger", "http", setter=f"unix:{directory}/setter")
        with serving(config, environ) as program:
            yield config, program


@pytest.mark.parametrize("proxy", [nginx, caddy])
async def test_behind_a_real_proxy(team: tuple[Path, Program], proxy: Proxies, monkeypatch: pytest.MonkeyPatch):
    path, program = team
    known = socket.getaddrinfo

    with tempfile.TemporaryDirectory(prefix="ft-") as name, proxy(Path(name), program.address("http")) as found:

        def to_the_proxy(host: Any, port: Any, *rest: Any, **more: Any) -> Any:
            name = host.decode() if isinstance(host, bytes) else host
            ours = name in {SITE, DOMAIN}
            if ours and more.get("flags", 0) & socket.AI_NUMERICHOST:
                raise socket.gaierror(socket.EAI_NONAME, "not an address")
            return known("127.0.0.1", found.port, *rest, **more) if ours else known(host, port, *rest, **more)

        monkeypatch.setattr(socket, "getaddrinfo", to_the_proxy)
        host, port = program.address("http")
        place = Installation(
            config=load_config(path, {}, to_serve=True),
            server=RunningServer(program.pid, doors={"http": [f"http://{host}:{port}"]}),
            trust=found.trusting,
        )

        async def levels(check: Check) -> list[str]:
            return [f"{result.level}: {result.what}" for result in await look(replace(check, limit=60), place)]

        url = await levels(URL)
        assert url[-1] == f"ok: https://{SITE} is answered by pid {program.pid}"
        proxies = await levels(PROXIES)
        assert [each.partition(":")[0] for each in proxies] == ["ok", "ok"], proxies
        assert "is seen with the address of its client (127.0.0.1)" in proxies[0]
        certificates = await levels(CERTIFICATES)
        assert [each for each in certificates if each.startswith("problem: ")] == []
        webfinger = await levels(WEBFINGER)
        assert [each.partition(":")[0] for each in webfinger] == ["ok"], webfinger
