"""What every front end shows of a user whose status was taken back."""

from __future__ import annotations

import xmlrpc.client
from datetime import UTC, datetime

from fingertrio.backends.memory import MemoryBackend
from fingertrio.cli import api
from fingertrio.clients.setter import set_status
from fingertrio.frontends.finger.text import render_status
from fingertrio.frontends.web.profile import profile
from fingertrio.testing.program import running


async def test_an_empty_status_is_no_plan_for_people_and_empty_for_programs():
    listen: dict[str, object] = {"listen": ["127.0.0.1:0"]}
    backend: dict[str, object] = {"use": "memory", "users": {"ada": "Weaving"}}
    config: dict[str, dict[str, object]] = {"backend": backend, "finger": listen, "setter": listen, "http": listen}
    with running(config) as program:
        host, port = program.address("setter")
        await set_status("ada", "", host=host, port=port)
        url = program.addresses["http"]
        assert api.request("GET", url, "/api/users/ada")["status"] == ""
        with xmlrpc.client.ServerProxy(f"{url}/RPC2") as proxy:
            assert proxy.getUser("ada") == ""


async def test_finger_and_pages_say_so_in_words():
    backend = MemoryBackend({"ada": "Weaving"})
    info = await backend.clear_user("ada")
    assert info is not None
    assert render_status(info) == b"No Plan.\r\n"
    assert profile(info, datetime.now(UTC)).status.words == "No Plan."
