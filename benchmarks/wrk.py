"""HTTP load by wrk (Debian package wrk), on its core: what it saw, beside what the kernel charged the server."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from benchmarks.generator import GRACE, SETTLE, Round
from benchmarks.harness import HERE, BenchmarkError, Server, UnavailableError
from fingertrio.testing.measure import Cores, busy_seconds, cpu_seconds, pinned

CONNECTIONS = 32


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked.

    Attributes:
        path: the target.
        body: of a POST; empty: it is a GET.
        headers: besides Host.
        new: make each request different from all before, so that nothing can be kept for it.
    """

    path: str
    body: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    new: bool = False

    @property
    def method(self) -> str:
        return "POST" if self.body else "GET"


def find_wrk() -> str:
    """Where wrk is. Raises UnavailableError if it is not installed."""
    if (path := shutil.which("wrk")) is None:
        raise UnavailableError("the load needs wrk (Debian package wrk)")
    return path


def load(server: Server, request: Request, cores: Cores, *, seconds: int, tls: bool) -> Round:
    """One round against one server, over connections that are kept. wrk takes whole seconds only.

    Raises:
        BenchmarkError: the server or wrk failed, or a response had another status than 2xx or 3xx.
    """
    server.check()
    url = f"{'https' if tls else 'http'}://127.0.0.1:{server.port('http')}"
    command = [find_wrk(), "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", str(HERE / "wrk.lua")]
    for name, value in request.headers.items():
        command += ["-H", f"{name}: {value}"]
    command += [url, "--", request.method, request.path, request.body or "-", "new" if request.new else "same"]
    sides = (cores.server, cores.load)
    busy = [busy_seconds(core) for core in sides]
    cpu, began = cpu_seconds(server.pid), time.monotonic()
    try:
        with pinned(cores.load):
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            output, usage = _finish(process, seconds + GRACE)
    except subprocess.TimeoutExpired:
        raise BenchmarkError(f"the load on {server.name} did not end") from None
    time.sleep(SETTLE)
    server.check()
    server_cpu = cpu_seconds(server.pid) - cpu
    elapsed = time.monotonic() - began
    if process.returncode != 0:
        raise BenchmarkError(f"the load on {server.name} failed: {output.strip()}")
    seen = json.loads(output.splitlines()[-1])
    if not seen["requests"]:
        raise BenchmarkError(f"{server.name} answered nothing")
    others = [
        max(0.0, busy_seconds(core) - before - own) / elapsed
        for core, before, own in zip(sides, busy, (server_cpu, usage), strict=True)
    ]
    return Round(
        queries=seen["requests"],
        seconds=seen["seconds"],
        server_cpu=server_cpu,
        load_cpu=usage,
        p50=seen["p50"],
        p99=seen["p99"],
        failures={kind: seen[kind] for kind in ("refused", "broken") if seen[kind]},
        others=(others[0], others[1]),
    )


def _finish(process: subprocess.Popen[bytes], within: float) -> tuple[str, float]:
    """The output of a process, and the CPU seconds that it used."""
    before = time.clock_gettime(time.CLOCK_MONOTONIC)
    children = _children_cpu()
    try:
        output, _ = process.communicate(timeout=within - (time.clock_gettime(time.CLOCK_MONOTONIC) - before))
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise
    return output.decode("utf-8", "replace"), _children_cpu() - children


def _children_cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
