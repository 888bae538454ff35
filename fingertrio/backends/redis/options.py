"""The configuration options of the redis backend."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, field_validator

from fingertrio.backends.redis.keys import SHARDS_LIMIT
from fingertrio.backends.redis.target import RedisTarget, parse_target


class RedisOptions(BaseModel):
    """Options of the `redis` backend. Nodes may differ in all of them, except where the description says otherwise."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    url: str = Field(
        "redis://127.0.0.1:6379",
        description="redis://[user:password@]host[:port][/db], rediss:// over TLS, unix:///path?db=N, "
        "redis+sentinel://h1:port,h2:port/service[/db], redis+cluster://h1:port,h2:port",
    )
    prefix: str = Field(
        "fingertrio",
        pattern="^[A-Za-z0-9._:-]{1,64}$",
        description="start of all key names; must be the same on all nodes that share statuses",
    )
    history: int = Field(
        1000, ge=1, description="statuses kept of each user, the current one included; applied at each set"
    )
    history_days: float | None = Field(
        None, gt=0, le=36_500, description="days for which a past status is kept after it was set; unset: for ever"
    )
    stale: int = Field(
        10_000,
        ge=0,
        description="users whose last known answer is kept, to be served as stale while Redis is unavailable",
    )
    timeout: float = Field(
        2.0, gt=0, le=60, description="seconds without an answer after which Redis counts as unavailable"
    )
    heartbeat: float = Field(1.0, ge=0.1, le=60, description="seconds between two checks that Redis still answers")
    ca_file: Path | None = Field(
        None, description="CA certificates (PEM) that verify Redis's certificate; unset: those of the system"
    )
    cert_file: Path | None = Field(None, description="client certificate (PEM), if Redis requires one")
    key_file: Path | None = Field(None, description="its private key (PEM); unset: the key is in `cert_file`")
    shards: int = Field(
        16,
        ge=1,
        le=SHARDS_LIMIT,
        description="number of parts into which users are divided, each one hash slot of a cluster; used only when the "
        "store is new, and read from it afterwards",
    )
    backlog: int = Field(
        1000,
        ge=1,
        description="changes that Redis keeps for each shard; a node that missed more than that forgets all it kept",
    )

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: str) -> str:
        parse_target(url)
        return url

    @property
    def target(self) -> RedisTarget:
        """The parsed `url`."""
        return parse_target(self.url)
