import xmlrpc.client

from harness import Step

ENTITIES = [f'<!ENTITY {new} "{("&" + old + ";") * 10}">' for old, new in zip("abcdefgh", "bcdefghi", strict=True)]
LAUGHS = f'<!DOCTYPE l [<!ENTITY a "ha">{"".join(ENTITIES)}]>'
CALL = "<methodCall><methodName>getUser</methodName><params><param>{}</param></params></methodCall>"
HOSTILE = [
    LAUGHS + CALL.format("&i;"),
    "<methodCall>" + "<value><array><data>" * 500,
    CALL.format("<value><int>x</int></value>"),
    "<methodCall><params></value></methodCall>",
    "\x00\xff not XML at all",
    xmlrpc.client.dumps((1, 2, 3), "getUser"),
    xmlrpc.client.dumps(("moshez",), "system.shutdown"),
]


async def attack(step: Step) -> None:
    """Calls that explode, dig deep, lie about types: each gets a fault, and the next call works."""
    async with step.running():
        for body in HOSTILE:
            status, _, answer = await step.request("/RPC2", body.encode(), "Content-Type: text/xml\r\n")
            assert status == 200, f"status {status} for {body[:40]!r}"
            assert b"<fault>" in answer
        status, _, _ = await step.request("/RPC2", b"x" * 100_000)
        assert status == 413, "it reads a call of any size"
        call = xmlrpc.client.dumps(("moshez",), "getUser").encode()
        _, _, answer = await step.request("/RPC2", call, "Content-Type: text/xml\r\n")
        assert xmlrpc.client.loads(answer)[0] == ("Happy and well",)
