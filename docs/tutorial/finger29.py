"""Making it fast: an answer that is in memory leaves from the accept loop, without a task of its own."""

import socket
from collections import deque
from collections.abc import Mapping

import trio

from finger07 import USERS
from house.doors import LINGER, finger, serve_client
from house.service import DictService
from house.wire import Buffer, user_of

BURST = 32  # connections that are accepted before other tasks get their turn
CLOSING = 1024  # answered connections whose clients have not closed yet


class PeekingService(DictService):
    """A service that can say, without waiting, what it has in memory."""

    def peek(self, user: str) -> str | None:
        return self._users.get(user)


class ExpressLane:
    """Accepts connections, and answers those at once whose query has arrived and whose answer is in memory."""

    def __init__(self, service: PeekingService) -> None:
        self._service = service
        self._closing: deque[tuple[float, socket.socket]] = deque()

    def answer(self, client: socket.socket) -> bool:
        """Answer if that takes no waiting. Otherwise nothing has happened: the query can still be read."""
        try:
            query = client.recv(1024, socket.MSG_PEEK)
            (buffer := Buffer()).feed(query)
            line = buffer.next_line()
            if line is None or (status := self._service.peek(user_of(line))) is None:
                return False
            client.recv(len(query))
            client.send(f"{status}\r\n".encode())
            client.shutdown(socket.SHUT_WR)
        except (OSError, ValueError):  # also BlockingIOError: nothing has arrived yet
            return False
        self._closing.append((trio.current_time() + LINGER, client))
        return True

    def close(self, until: float = float("inf")) -> None:
        """Close the connections that were answered, and whose time to close is before `until`."""
        while self._closing and (self._closing[0][0] <= until or len(self._closing) > CLOSING):
            self._closing.popleft()[1].close()

    async def serve(self, listening: socket.socket, nursery: trio.Nursery) -> None:
        try:
            while True:
                with trio.move_on_after(LINGER):
                    await trio.lowlevel.wait_readable(listening)
                for _ in range(BURST):
                    try:
                        client, _ = listening.accept()
                    except OSError:  # no more for now, or too many open files
                        break
                    client.setblocking(False)
                    if not self.answer(client):
                        stream = trio.SocketStream(trio.socket.from_stdlib_socket(client))
                        nursery.start_soon(self._serve_slowly, stream)
                self.close(trio.current_time())
        finally:
            self.close()

    async def _serve_slowly(self, stream: trio.SocketStream) -> None:
        async with stream:
            await serve_client(finger, self._service, stream)


async def main(
    users: Mapping[str, str] = USERS,
    host: str = "127.0.0.1",
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    with socket.create_server((host, 7979), backlog=1024) as listening:
        listening.setblocking(False)
        async with trio.open_nursery() as nursery:
            task_status.started()
            await ExpressLane(PeekingService(users)).serve(listening, nursery)


if __name__ == "__main__":
    trio.run(main)
