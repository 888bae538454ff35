"""A coverage-guided fuzzer on every parser that any client reaches, for a limited time."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import trio

from faults.fuzz_targets import SEEDS, TARGETS
from faults.scenario import ROOT, Findings, NotInstalledError, Scale, Scenario

_START = 30.0  # seconds to import and to instrument
_INPUT_LIMIT = 4096  # bytes: beyond every cap but that of bodies, and short enough for many inputs a second


async def run(scale: Scale, findings: Findings) -> None:
    """Fuzz one target after the other."""
    if importlib.util.find_spec("atheris") is None:
        raise NotInstalledError("needs atheris (faults/requirements.txt)")
    seconds = scale.of(8, 1)
    findings.done = f"atheris on {len(TARGETS)} parsers, {seconds} s each"
    runs: dict[str, int] = {}
    for name in TARGETS:
        with tempfile.TemporaryDirectory(prefix="fingertrio-fuzz-") as directory:
            for number, seed in enumerate(SEEDS[name]):
                (Path(directory) / f"seed{number}").write_bytes(seed)
            with trio.fail_after(seconds + _START):
                done = await trio.run_process(
                    [
                        sys.executable,
                        "-m",
                        "faults.fuzz_worker",
                        name,
                        f"-max_total_time={seconds}",
                        f"-max_len={_INPUT_LIMIT}",
                        "-timeout=5",
                        "-print_final_stats=1",
                        f"-artifact_prefix={directory}/found-",
                        directory,
                    ],
                    cwd=ROOT,
                    capture_stdout=True,
                    stderr=subprocess.STDOUT,
                    check=False,
                )
            found = _found(Path(directory))
        output = done.stdout.decode("utf-8", "replace")
        executed = re.search(r"number_of_executed_units:\s*([0-9]+)", output)
        runs[name] = int(executed[1]) if executed else 0
        findings.require(done.returncode == 0, f"{name}: status {done.returncode} for {found}:\n{_reason(output)}")
        findings.require(runs[name] > 0, f"{name}: no input was run:\n{output[-500:]}")
    findings.figure(", ".join(f"{name} {count:,}" for name, count in runs.items()) + " inputs")


def _found(directory: Path) -> list[bytes]:
    """The inputs that failed."""
    return [path.read_bytes()[:500] for path in sorted(directory.glob("found-*"))]


def _reason(output: str) -> str:
    """The traceback, without libFuzzer's own output."""
    start = output.find("Traceback")
    return output[start : start + 1500] if start >= 0 else output[-500:]


SCENARIO = Scenario("fuzz", "a coverage-guided fuzzer on the parsers", run, limit=300)
