"""The XML-RPC challenge: a backend that asks another server, and owns its connections."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from xmlrpc.client import Fault, dumps, loads

import httpx2
import trio

import finger19a
from finger19_1 import BackendError
from house.rpc import check

LARGEST = 64 * 1024  # bytes of an answer
CONNECTIONS = 4


class XmlRpcBackend:
    """Another server that answers getUser, such as finger17.py. Get one from `open_xmlrpc`."""

    def __init__(self, client: httpx2.AsyncClient, url: str) -> None:
        self._client = client
        self._url = url

    async def _call(self, body: bytes) -> bytes:
        answer = bytearray()
        async with self._client.stream("POST", self._url, content=body) as response:
            if response.status_code != httpx2.codes.OK:
                raise BackendError(f"{self._url} answers with status {response.status_code}")
            with trio.CancelScope() as reading:  # to raise in the loop would leave the client's generators unfinished
                async for data in response.aiter_bytes():
                    answer += data
                    if len(answer) > LARGEST:
                        reading.cancel()
        if reading.cancelled_caught:
            raise BackendError(f"{self._url} answers with more than {LARGEST} bytes")
        return bytes(answer)

    async def get_user(self, user: str) -> str | None:
        try:
            answer = await self._call(dumps((user,), "getUser").encode())
            check(answer)
            [status], _ = loads(answer)
        except (OSError, httpx2.HTTPError, Fault) as error:
            raise BackendError(f"{self._url} does not answer: {error}") from error
        except BackendError:
            raise
        except Exception as error:
            raise BackendError(f"{self._url} answers with something else than XML-RPC: {error}") from error
        if not isinstance(status, str):
            raise BackendError(f"{self._url} answers with {type(status).__name__} instead of text")
        return None if status == "No such user" else status  # this is all that the other server tells


@asynccontextmanager
async def open_xmlrpc(url: str) -> AsyncIterator[XmlRpcBackend]:
    """Open a backend for as long as the block lasts."""
    limits = httpx2.Limits(max_connections=CONNECTIONS)
    async with httpx2.AsyncClient(limits=limits, timeout=2.0) as client:
        yield XmlRpcBackend(client, url)


async def main(
    url: str = "http://127.0.0.1:8001/RPC2",
    host: str = "127.0.0.1",
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    async with open_xmlrpc(os.environ.get("UPSTREAM", url)) as backend:
        await finger19a.main(backend, host, task_status=task_status)


if __name__ == "__main__":
    trio.run(main)
