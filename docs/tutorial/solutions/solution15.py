"""The same status as JSON, at /api/users/<user>."""

import json
from pathlib import Path

import trio
from quart_trio import QuartTrio

from finger14 import FILE, FileService
from finger15 import make_app, serve_web
from harness import Step


def add_api(app: QuartTrio, service: FileService) -> QuartTrio:
    @app.get("/api/users/<user>")
    async def user_as_json(user: str) -> dict[str, str]:
        return {"user": user, "status": await service.get_user(user.lower())}

    return app


async def main(
    path: Path = FILE, host: str = "127.0.0.1", *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    service = FileService(path)
    async with trio.open_nursery() as nursery:
        await nursery.start(service.watch)
        await nursery.start(serve_web, add_api(make_app(service.get_user), service), host, 8000)
        task_status.started()


async def check(step: Step) -> None:
    async with step.running():
        status, head, body = await step.request("/api/users/moshez")
        assert status == 200
        assert "application/json" in head
        assert json.loads(body) == {"user": "moshez", "status": "Happy and well"}


if __name__ == "__main__":
    trio.run(main)
