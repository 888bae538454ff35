import contextlib
from functools import partial
from xmlrpc.client import dumps

import trio

from harness import Step

LAUGH = '<!DOCTYPE l [<!ENTITY a "ha">]><methodResponse>&a;</methodResponse>'
ANSWERS = {
    "moshez": dumps(("Happy and well",), methodresponse=True),
    "nobody": dumps(("No such user",), methodresponse=True),
    "number": dumps((42,), methodresponse=True),
    "laugh": LAUGH,
    "garbage": "<html>Bad Gateway",
    "endless": "x" * 1_000_000,
}


async def other_server(stream: trio.SocketStream) -> None:
    """Answer one call by what is asked for, well or badly."""
    request = bytearray()
    while b"</methodCall>" not in request:
        request += await stream.receive_some()
    body = next((answer for user, answer in ANSWERS.items() if user.encode() in request), "")
    head = f"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    with contextlib.suppress(trio.BrokenResourceError):  # perhaps it does not want to read all of it
        await stream.send_all((head + body).encode())


async def attack(step: Step) -> None:
    """The server that we ask sends garbage, bombs and a million bytes: our clients see none of it."""
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, other_server, 0, host="127.0.0.1"))
        port = listeners[0].socket.getsockname()[1]
        async with step.running(url=f"http://127.0.0.1:{port}/RPC2"):
            assert await step.ask(b"moshez\r\n") == b"Happy and well\r\n"
            assert await step.ask(b"nobody\r\n") == b"No such user\r\n"
            for user in ("number", "laugh", "garbage", "endless"):
                answer = await step.ask(f"{user}\r\n".encode())
                assert answer == b"Internal error in server\r\n", f"{user}: {answer[:60]!r}"
        nursery.cancel_scope.cancel()
