import json
import re

from harness import Step

BEFORE = "finger19a"  # the last step before that has pages
EVIL = "<img src=x onerror=alert(1)>"


async def attack(step: Step) -> None:
    """A status is markup, a program asks for a page that is not there, and a browser asks again and again."""
    backend = step["MemoryBackend"]({"moshez": "Happy and well", "ada": EVIL})
    async with step.running(backend=backend):
        _, head, body = await step.request("/ada")
        assert b"<img" not in body
        assert "content-security-policy: default-src 'none'" in head.lower(), "one forgotten escape, and scripts run"
        status, head, body = await step.request("/api/users/nobody")
        assert (status, json.loads(body)["detail"]) == (404, "No such user")
        assert "application/problem+json" in head
        _, head, _ = await step.request("/moshez")
        etag = re.search(r"etag: *(\S+)", head, re.IGNORECASE)
        assert etag is not None
        status, _, body = await step.request("/moshez", headers=f"If-None-Match: {etag[1]}\r\n")
        assert (status, body) == (304, b"")
        await step.ask(b"moshez\r\nTired\r\n", port=1079)
        status, _, body = await step.request("/moshez", headers=f"If-None-Match: {etag[1]}\r\n")
        assert status == 200
        assert b"Tired" in body
