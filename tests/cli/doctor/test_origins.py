"""Whether the servers answer that backends ask."""

from __future__ import annotations

from fingertrio.cli.doctor.origins import CHECK
from tests.cli.doctor.kit import installation, look, only
from tests.cli.doctor.test_port79 import fingerd
from tests.frontends.web.kit import serving


async def test_origins_that_answer():
    async with serving() as site, fingerd() as port:
        layers = [
            {"use": "xmlrpc", "url": f"{site.url}/RPC2"},
            {"use": "finger", "host": "127.0.0.1", "port": port},
            {"use": "mirror", "url": site.url},
        ]
        results = await look(CHECK, installation({"backend": {"use": "layers", "layers": layers}}))
    said = sorted(result.what for result in results)
    assert [result.level for result in results] == ["ok", "ok", "ok"]
    assert said[0] == f"layer 1 of [backend] xmlrpc: {site.url}/RPC2 answers: 2 users"
    assert said[1] == "layer 2 of [backend] finger: 127.0.0.1 answers: it knows no such user, as expected"
    assert said[2].startswith(f"layer 3 of [backend] mirror: {site.url} answers: its live feed is open")


async def test_origins_that_do_not():
    layers = [
        {"use": "xmlrpc", "url": "http://ada:geheim@127.0.0.1:1/RPC2"},
        {"use": "finger", "host": "127.0.0.1", "port": 1},
        {"use": "mirror", "url": "http://127.0.0.1:1"},
    ]
    results = await look(CHECK, installation({"backend": {"use": "layers", "layers": layers}}))
    assert [result.level for result in results] == ["problem"] * 3
    assert all("Connection refused" in result.what for result in results)
    assert not any("geheim" in result.what + result.next for result in results)


async def test_an_origin_that_is_no_fingertrio():
    async with serving() as site:
        place = installation({"backend": {"use": "xmlrpc", "url": f"{site.url}/nothing-here"}})
        assert "HTTP status 40" in (await only(CHECK, place, "problem")).what


def test_it_does_not_apply_to_other_backends():
    assert CHECK.skip(installation())
