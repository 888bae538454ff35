"""How an application is run for one request, so that neither it nor its connection can be blocked by the other's end.

Hypercorn hands what a client sends to the application through a queue of ten messages, and by the same queue it says
`http.disconnect`: when the client is gone, but also whenever it is done with an answer. Two things go wrong with that:

- An application that has answered does not read the rest of the body. When the queue is full, the connection's reader
  waits for ever, and so does the application's own task, on its way to say that the answer is finished.
- quart-trio cancels a request when it hears of a disconnect. Having answered, it cancels what is about to close or to
  reuse the connection, so that `Connection: close`, HTTP/1.0 and the keep-alive time-out go unheeded.

So once the last part of an answer is on its way, nothing more is put into the queue, and who waits to do so is let go.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Self

import trio
from hypercorn.config import Config
from hypercorn.trio.task_group import TaskGroup
from hypercorn.typing import AppWrapper, ASGIReceiveEvent, ASGISendEvent, Scope

_Send = Callable[[ASGISendEvent | None], Awaitable[None]]
_Put = Callable[[ASGIReceiveEvent], Awaitable[None]]


class Exchanges(TaskGroup):
    """The task group of one connection, in which its protocol runs the application for each request."""

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        return self

    async def spawn_app(self, app: AppWrapper, config: Config, scope: Scope, send: _Send) -> _Put:
        """Start the application; the result is called with what the client sends, until the request is answered.

        `send` is called with what the application sends, and with None when it has ended.
        """
        answered = False
        waiting: set[trio.CancelScope] = set()

        async def send_and_see(message: ASGISendEvent | None) -> None:
            nonlocal answered
            if message is None or (message["type"] == "http.response.body" and not message.get("more_body", False)):
                answered = True
                for wait in waiting:
                    wait.cancel()
            await send(message)

        put = await super().spawn_app(app, config, scope, send_and_see)

        async def put_unless_answered(message: ASGIReceiveEvent) -> None:
            if answered:
                return
            with trio.CancelScope() as wait:
                waiting.add(wait)
                try:
                    await put(message)
                finally:
                    waiting.discard(wait)

        return put_unless_answered
