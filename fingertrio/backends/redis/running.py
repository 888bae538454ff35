"""Runs Lua scripts in Redis, and names the key in errors about its data."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from coredis.client import Client
from coredis.exceptions import NoScriptError, ResponseError, WrongTypeError

from fingertrio.backends.redis.records import StoredDataError

_MISUSED = "MISUSED "  # how our scripts begin an error about data of another program


class Script:
    """A Lua script, sent to Redis once and then called by its hash."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._hash = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()

    async def run(self, client: Client[bytes], keys: Sequence[bytes], args: Sequence[str | bytes | int] = ()) -> Any:
        """Its reply. Raises StoredDataError if it met data of another program."""
        try:
            try:
                return await client.evalsha(self._hash, keys=keys, args=args)
            except NoScriptError:
                await client.script_load(self._text)
                return await client.evalsha(self._hash, keys=keys, args=args)
        except ResponseError as error:
            if str(error).startswith(_MISUSED):
                raise StoredDataError(str(error).removeprefix(_MISUSED)) from None
            raise


@contextmanager
def naming(key: bytes) -> Iterator[None]:
    """Put the name of the key into errors about its data."""
    try:
        yield
    except (StoredDataError, ValueError) as error:
        raise StoredDataError(f"{key.decode()}: {error}") from error
    except WrongTypeError as error:
        raise StoredDataError(f"{key.decode()}: it is not of the type that fingertrio expects") from error


def text_of(name: bytes | str) -> str:
    return name if isinstance(name, str) else name.decode("utf-8", "replace")
