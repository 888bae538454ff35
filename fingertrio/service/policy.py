"""The service's numbers and switches, as they come from the configuration."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from fingertrio.wire.presets import Presets


@dataclass(frozen=True, slots=True, kw_only=True)
class ServicePolicy:
    """The service's limits.

    Attributes:
        deadline: seconds that a backend may take for one call.
        cache_ttl: seconds that an answer may be used if the backend emits no changes (or its feed is broken).
        cache_size: answers kept at most. Known and unknown users are counted separately, so that a flood of queries for
            users who do not exist cannot evict users who do.
        default_length: how long a status set without an end lasts; None: until the next one.
        presets: statuses with a name, which `:name` stands for.
        log_statuses: whether the audit line of a write contains the status.
    """

    deadline: float = 5.0
    cache_ttl: float = 1.0
    cache_size: int = 10_000
    default_length: timedelta | None = None
    presets: Presets = field(default_factory=dict)
    log_statuses: bool = False
