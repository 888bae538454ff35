"""Check `redis`: whether Redis answers, what it is, and the settings that decide whether statuses survive.

The client comes from the backend, with its TLS, its user and its password; no password is in any message.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from fingertrio.cli.doctor.check import Check, Report, first_cause
from fingertrio.cli.doctor.installation import Installation
from fingertrio.config.errors import ConfigError
from fingertrio.config.options import OptionsError, validate

if TYPE_CHECKING:
    from coredis.client import Client

    from fingertrio.backends.redis.options import RedisOptions

_SLOW = 0.05  # seconds for a PING: a status waits for two round trips
_SCALING = "docs/guide/scaling.md"
_PINGS = 3


def targets(place: Installation) -> Iterator[RedisOptions]:
    """The options of each Redis of the configuration; nothing if coredis is not installed."""
    tables = place.backends("redis")
    if tables:
        try:
            from fingertrio.backends.redis.options import RedisOptions  # noqa: PLC0415 -- needs coredis
        except ImportError:
            return
        for _, table in tables:
            try:
                yield validate(RedisOptions, table, "backend")
            except (OptionsError, ConfigError):
                continue  # the check configuration says so


async def redis_time(options: RedisOptions) -> float | None:
    """The clock of Redis, in seconds since 1970; None: it does not answer."""
    found: float | None = None

    async def ask(client: Client[bytes]) -> None:
        nonlocal found
        found = (await client.time()).timestamp()

    return found if await _with_client(options, ask) is None else None


async def look_at_redis(place: Installation, report: Report) -> None:
    """Whether each Redis answers, and how it is set up."""
    options = list(targets(place))
    if not options:
        report.problem(
            "coredis is not installed, or the section has mistakes",
            "the redis backend does not start",
            'pip install "fingertrio[redis]"; see the check configuration',
        )
    for each in options:
        failed = await _with_client(each, partial(_look_at, options=each, report=report))
        if failed is not None:
            report.problem(
                f"{each.target}: {failed}",
                "no status can be set, and answers are as old as the last contact",
                f"look at its log and its ACL; the check is made with the user and password of `url`: {_SCALING}",
            )


async def _with_client(options: RedisOptions, use: Any) -> str | None:
    """Call `use` with a client; why that failed, or None."""
    from fingertrio.backends.redis.connect import connect, tls_context  # noqa: PLC0415 -- needs coredis

    try:
        with trio.fail_after(2 * options.timeout + 1):
            async with connect(options.target, timeout=options.timeout, tls=tls_context(options)) as (client, _):
                await use(client)
    except trio.TooSlowError:
        return "no answer in time"
    except Exception as error:  # noqa: BLE001 -- coredis raises groups, OSError, RuntimeError and errors of its own
        cause = first_cause(error)
        text = str(cause) or type(cause).__name__
        if text.startswith("HELLO must be called"):
            return "it wants a password, and `url` has none"
        password = options.target.password
        return text.replace(password, "...") if password else text
    return None


async def _look_at(client: Client[bytes], options: RedisOptions, report: Report) -> None:
    name, delays = str(options.target), []
    for _ in range(_PINGS):
        began = time.perf_counter()
        await client.ping()
        delays.append(time.perf_counter() - began)
    info: Mapping[str, Any] = {}
    for section in ("server", "memory", "persistence", "replication"):
        info = {**info, **_flat(await client.info(section))}
    _report_server(report, name, options, info, min(delays))
    _report_memory(report, name, info)
    _report_persistence(report, name, info)


def _flat(found: Mapping[Any, Any]) -> dict[str, Any]:
    return {(key.decode() if isinstance(key, bytes) else str(key)): value for key, value in found.items()}


def _text(info: Mapping[str, Any], key: str) -> str:
    value = info.get(key, "")
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _report_server(report: Report, name: str, options: RedisOptions, info: Mapping[str, Any], delay: float) -> None:
    version = _text(info, "valkey_version") or _text(info, "redis_version") or "?"
    kind = "Valkey" if "valkey_version" in info else "Redis"
    role = {"master": "primary", "slave": "replica"}.get(_text(info, "role"), _text(info, "role") or "unknown role")
    report.ok(f"{name} answers: {kind} {version}, {role}, {delay * 1000:.1f} ms")
    if role == "replica" and options.target.kind == "server":
        report.problem(
            f"{name} is a replica",
            "no status can be set there, and what it serves may be old",
            f"name the primary in `url`, or the sentinels: {_SCALING}",
        )
    if delay > _SLOW:
        report.warning(
            f"{name} takes {delay * 1000:.0f} ms for a PING",
            "each new question and each set waits for it",
            "move it nearer, or look at its load (redis-cli --latency, SLOWLOG GET)",
        )


def _report_memory(report: Report, name: str, info: Mapping[str, Any]) -> None:
    policy, limit = _text(info, "maxmemory_policy"), _text(info, "maxmemory")
    if policy not in {"", "noeviction"} and limit not in {"", "0"}:
        report.problem(
            f"{name}: maxmemory-policy is {policy}",
            "Redis deletes statuses when its memory is full",
            f"maxmemory-policy noeviction in its configuration: {_SCALING}",
        )
    elif policy not in {"", "noeviction"}:
        report.warning(
            f"{name}: maxmemory-policy is {policy}, without a maxmemory yet",
            "Redis would delete statuses once a maxmemory is set",
            "maxmemory-policy noeviction in its configuration",
        )


def _report_persistence(report: Report, name: str, info: Mapping[str, Any]) -> None:
    if _text(info, "rdb_last_bgsave_status") == "err" or _text(info, "aof_last_write_status") == "err":
        report.problem(
            f"{name}: its last attempt to write to its disk failed",
            "statuses are lost if it restarts, and it may refuse every write",
            "look at its log and at the space on its disk",
        )
    if _text(info, "aof_enabled") == "1":
        report.ok(f"{name} writes an append-only file")
    else:
        report.warning(
            f"{name} has no append-only file (appendonly no)",
            "statuses since its last snapshot are lost if it stops, or all, if it makes none",
            f"appendonly yes in its configuration, if statuses must survive: {_SCALING}",
        )


def _skip(place: Installation) -> str:
    return "" if place.backends("redis") else "no backend is redis"


CHECK = Check("redis", "Redis: whether it answers, its role, memory and persistence", look_at_redis, _skip, limit=20.0)
