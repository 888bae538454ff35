"""Statuses from another finger server.

The remote's whole answer is the status. Its shape cannot be relied upon ("designed to be read by people instead of
programs", RFC 1288 section 2.5), so nothing is picked out of it; only two things must be told apart from a status, and
the protocol has no mark for them: that there is no such user, and that the server failed. Both are recognized by their
words, and only where those words are the whole answer: a plan may well speak of "no such user".

What is asked is a name that `names.is_user_name` accepts, so that no `@`, switch or second name is ever sent and the
remote is never made to forward. It emits no changes and keeps no list (a list for people is no list of names).
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
    answer_text,
    finger,
    is_verdict,
)
from fingertrio.names import is_user_name
from fingertrio.wire.finger import Query


class FingerOptions(BaseModel):
    """Options of the `finger` backend."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = Field(min_length=1, description="name or address of the finger server to ask")
    port: int = Field(FINGER_PORT, ge=1, le=65535, description="where it listens")
    timeout: float = Field(
        4.5,
        gt=0,
        description="seconds for one answer; keep it below the service's deadline, so that the log names the host",
    )
    limit: int = Field(ANSWER_LIMIT, gt=0, description="bytes of one answer; a longer one is a failure")
    connections: int = Field(16, ge=1, description="questions under way at once; more wait their turn")
    private: bool = Field(
        True,
        description="whether `host` may lie on this machine or in a private network; false refuses such addresses",
    )
    unknown: tuple[str, ...] = Field(
        UNKNOWN_PATTERNS,
        description="regular expressions; an answer of one line that is wholly one of them means: no such user",
    )
    failed: tuple[str, ...] = Field(
        FAILED_PATTERNS[:1],
        description="the same, for: the server cannot tell",
    )

    @field_validator("unknown", "failed")
    @classmethod
    def _check_patterns(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in patterns:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"{pattern!r} is no regular expression: {error}") from error
        return patterns


class FingerBackend:
    """Asks `options.host`. Keeps nothing but the count of connections."""

    def __init__(self, options: FingerOptions) -> None:
        self._options = options
        self._turns = trio.CapacityLimiter(options.connections)

    async def get_user(self, user: str) -> UserInfo | None:
        """See `Backend`. A failure's cause names the host and what went wrong; strangers are not told."""
        if not is_user_name(user):
            return None
        options = self._options
        try:
            async with self._turns:
                answer = await finger(
                    Query(user),
                    options.host,
                    options.port,
                    timeout=options.timeout,
                    limit=options.limit,
                    allow=None if options.private else is_public,
                )
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
    """A backend that asks another finger server. Nothing is connected before the first question."""
    yield FingerBackend(options)
