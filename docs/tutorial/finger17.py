"""XML-RPC on the pages' port, with a parser that expects the worst."""

from functools import partial
from pathlib import Path
from xml.parsers import expat
from xmlrpc.client import Fault, dumps, loads

import trio
from quart import Response, request
from quart_trio import QuartTrio

from finger08 import answer, handle
from finger14 import FILE, FileService
from finger15 import make_app, serve_web
from finger16 import Lookup, irc

LARGEST = 16 * 1024  # bytes of a call
DEEPEST = 20  # elements inside one another; a call of getUser has six


def check(body: bytes) -> None:
    """Raise ValueError unless a call is plain XML: no document type, no entities, not deep."""
    depth = 0

    def forbid(*_: object) -> None:
        raise ValueError("a document type is not allowed")

    def start(*_: object) -> None:
        nonlocal depth
        depth += 1
        if depth > DEEPEST:
            raise ValueError("elements are nested too deeply")

    def end(_: str) -> None:
        nonlocal depth
        depth -= 1

    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = forbid
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.Parse(body, True)


async def call(look_up: Lookup, body: bytes) -> str:
    """Answer one call: the text of a response or of a fault, whatever the body is."""
    try:
        check(body)
        arguments, method = loads(body)
    except Exception as error:  # noqa: BLE001 - the unmarshaller raises whatever its input makes it run into
        return dumps(Fault(-32700, f"Not a call: {error}"))
    match method, arguments:
        case "getUser", (str(user),):
            return dumps((await answer(look_up, user.lower()),), methodresponse=True)
    return dumps(Fault(-32601, "Call getUser with one string"))


def add_rpc(app: QuartTrio, look_up: Lookup) -> QuartTrio:
    """Let an application answer XML-RPC at /RPC2."""
    app.config["MAX_CONTENT_LENGTH"] = LARGEST

    @app.post("/RPC2")
    async def rpc() -> Response:
        return Response(await call(look_up, await request.data), content_type="text/xml")

    return app


async def main(
    path: Path = FILE,
    irc_server: tuple[str, int] = ("127.0.0.1", 6667),
    host: str = "127.0.0.1",
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    service = FileService(path)
    app = add_rpc(make_app(service.get_user), service.get_user)
    async with trio.open_nursery() as nursery:
        await nursery.start(service.watch)
        await nursery.start(partial(trio.serve_tcp, partial(handle, service.get_user), 7979, host=host))
        await nursery.start(serve_web, app, host, 8000)
        nursery.start_soon(irc, service.get_user, irc_server)
        task_status.started()


if __name__ == "__main__":
    trio.run(main)
