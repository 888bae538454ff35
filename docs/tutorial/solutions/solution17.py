"""system.listMethods, with which a client finds out what it may call."""

import xmlrpc.client
from pathlib import Path

import trio
from quart import Response, request

from finger14 import FILE, FileService
from finger15 import make_app, serve_web
from finger17 import LARGEST, call
from finger17 import check as check_call
from harness import Step


async def answer(service: FileService, body: bytes) -> str:
    try:
        check_call(body)
        if xmlrpc.client.loads(body) == ((), "system.listMethods"):
            return xmlrpc.client.dumps((["getUser", "system.listMethods"],), methodresponse=True)
    except Exception:  # noqa: BLE001, S110 - call() finds the same fault and answers it
        pass
    return await call(service.get_user, body)


async def main(
    path: Path = FILE, host: str = "127.0.0.1", *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    service = FileService(path)
    app = make_app(service.get_user)
    app.config["MAX_CONTENT_LENGTH"] = LARGEST

    @app.post("/RPC2")
    async def rpc() -> Response:
        return Response(await answer(service, await request.data), content_type="text/xml")

    async with trio.open_nursery() as nursery:
        await nursery.start(service.watch)
        await nursery.start(serve_web, app, host, 8000)
        task_status.started()


async def check(step: Step) -> None:
    async with step.running():
        for method, arguments, expected in (
            ("system.listMethods", (), ["getUser", "system.listMethods"]),
            ("getUser", ("moshez",), "Happy and well"),
        ):
            _, _, body = await step.request("/RPC2", xmlrpc.client.dumps(arguments, method).encode())
            assert xmlrpc.client.loads(body)[0] == (expected,)
        _, _, body = await step.request("/RPC2", b"nonsense")
        assert b"<fault>" in body


if __name__ == "__main__":
    trio.run(main)
