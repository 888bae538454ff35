"""Statuses from another finger server.

The server's whole answer is the status. Its format is not reliable ("designed to be read by people instead of
programs", RFC 1288 section 2.5), so nothing is extracted from it. Two answers are not a status, and the protocol has no
code for them: an unknown user, and a failure of the server. Both are recognised by their text, and only if that text is
the whole answer, because a plan may contain the words "no such user".

Only names that `names.is_user_name` accepts are sent, so that no `@`, switch or second name is sent and the server
never forwards. This backend emits no changes, and lists no users because the list of a finger server is not
machine-readable.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
from pydantic import BaseModel, ConfigDict, Field, field_validator

from fingertrio.backend import BackendError, UserInfo
from fingertrio.clients.dial import RemoteError, is_public
from fingertrio.clients.finger import (
    ANSWER_LIMIT,
    FAILED_PATTERNS,
    FINGER_PORT,
    UNKNOWN_PATTERNS,
    TooLargeError,
    answer_text,
    finger,
    is_verdict,
)
from fingertrio.names import is_user_name
from fingertrio.wire.finger import Query


class FingerOptions(BaseModel):
    """Options of the `finger` backend."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = Field(min_length=1, description="name or address of the finger server")
    port: int = Field(FINGER_PORT, ge=1, le=65535, description="its port")
    timeout: float = Field(
        4.5,
        gt=0,
        description="seconds for one answer; keep it below the service's 5, so that the log names the host",
    )
    limit: int = Field(
        ANSWER_LIMIT, gt=0, description="bytes of one answer; a longer answer is cut, and a last line says so"
    )
    connections: int = Field(16, ge=1, description="connections at once; further queries wait")
    private: bool = Field(
        True,
        description="whether `host` may be on this machine or in a private network; false rejects such addresses",
    )
    unknown: tuple[str, ...] = Field(
        UNKNOWN_PATTERNS,
        description="regular expressions; a one-line answer that matches one completely means: no such user",
    )
    failed: tuple[str, ...] = Field(
        FAILED_PATTERNS[:1],
        description="the same, for: the server failed",
    )

    @field_validator("unknown", "failed")
    @classmethod
    def _check_patterns(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in patterns:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"{pattern!r} is not a regular expression: {error}") from error
        return patterns


class FingerBackend:
    """Queries `options.host`. Its only state is the number of connections."""

    def __init__(self, options: FingerOptions) -> None:
        self._options = options
        self._connections = trio.CapacityLimiter(options.connections)

    async def get_user(self, user: str) -> UserInfo | None:
        """See `Backend`. The cause of a BackendError names the host and the problem; clients do not see it."""
        if not is_user_name(user):
            return None
        options = self._options
        try:
            async with self._connections:
                answer = await finger(
                    Query(user),
                    options.host,
                    options.port,
                    timeout=options.timeout,
                    limit=options.limit,
                    allow=None if options.private else is_public,
                )
        except TooLargeError as error:
            text = answer_text(error.received).strip("\n")
            return UserInfo(user, f"{text}\n[cut here: the answer is longer than {options.limit} bytes]")
        except RemoteError as error:
            raise BackendError from error
        status = answer_text(answer).strip("\n")
        if is_verdict(status, options.unknown):
            return None
        if not status.strip() or is_verdict(status, options.failed):
            raise BackendError from RemoteError(
                f"{options.host}: {status.strip() or 'closed without an answer'}", answer
            )
        return UserInfo(user, status)


@asynccontextmanager
async def open_finger(options: FingerOptions) -> AsyncIterator[FingerBackend]:
    """A backend that queries another finger server, with one connection for each query."""
    yield FingerBackend(options)
