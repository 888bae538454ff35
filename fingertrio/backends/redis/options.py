"""What a configuration may say of the redis backend."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, field_validator

from fingertrio.backends.redis.target import Target, parse_target


class RedisOptions(BaseModel):
    """Options of the `redis` backend. What is not said otherwise is each node's own."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    url: str = Field(
        "redis://127.0.0.1:6379",
        description="redis://[user:password@]host[:port][/db], rediss:// over TLS, unix:///path?db=N, "
        "redis+sentinel://h1:port,h2:port/service[/db], redis+cluster://h1:port,h2:port",
    )
    prefix: str = Field(
        "fingertrio",
        pattern="^[A-Za-z0-9._:-]{1,64}$",
        description="what all keys start with; the same for all nodes that share their statuses",
    )
    history: int = Field(
        1000, ge=1, description="how many statuses of each user are kept, the present one included; of whoever sets"
    )
    history_days: float | None = Field(
        None, gt=0, le=36_500, description="for how many days after it was set a past status is kept; none: for ever"
    )
    stale: int = Field(
        10_000,
        ge=0,
        description="of how many users the answer last known is kept, to be served, stale, while Redis is away",
    )
    timeout: float = Field(
        2.0, gt=0, le=60, description="seconds of silence after which Redis is away, also when connecting"
    )
    heartbeat: float = Field(
        1.0, ge=0.1, le=60, description="seconds between two proofs that Redis is there, while nothing else is heard"
    )
    ca_file: Path | None = Field(
        None, description="certificates (PEM) that Redis's own is verified by; none: those of the system"
    )
    cert_file: Path | None = Field(None, description="our certificate (PEM), where Redis asks for one")
    key_file: Path | None = Field(None, description="its key (PEM); none: it is in `cert_file`")
    shards: int = Field(
        16,
        ge=1,
        le=1024,
        description="into how many parts users are divided, each a hash slot of a cluster; counts when the store is "
        "new, and is read from it ever after",
    )
    backlog: int = Field(
        1000,
        ge=1,
        description="changes that Redis keeps of each part, for nodes that lost their connection; past that number "
        "they forget everything",
    )

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: str) -> str:
        parse_target(url)
        return url

    @property
    def target(self) -> Target:
        """Where to connect to."""
        return parse_target(self.url)
