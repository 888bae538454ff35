"""How long commands take to start: `python -m benchmarks.cli [--rounds 15] [--write]`, also a part of `make bench`.

Each command runs as a user types it, against a server on this machine where it needs one. What is compared is the CPU
that the kernel charges its process, by that of `python -c pass`: the interpreter takes some 12 ms on a quiet machine,
and nothing that is written in Python can be quicker. Each round runs everything once; the figures are the medians of
the rounds' ratios, so that a busy machine slows both sides.

The goals are 0.1 s for `--help` and 0.2 s for `set` and `finger`, where the interpreter takes 0.012 s.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.harness import FAILURES, BenchmarkError, fingertrio_server, progress
from benchmarks.page import write_part
from benchmarks.report import Goal, median, median_ratio, table
from fingertrio.testing.measure import Cores, Machine
from fingertrio.testing.process import environment
from fingertrio.testing.program import Configuration

SCRIPT = str(Path(sys.executable).with_name("fingertrio"))
BARE = "python -c pass"

INTERPRETER = 0.012  # seconds of `python -c pass` on the machine that the goals are for
GOALS = {"--help": 0.1, "set": 0.2, "finger": 0.2}  # seconds there

COMMANDS: Mapping[str, Sequence[str]] = {
    BARE: [sys.executable, "-c", "pass"],
    "--help": [SCRIPT, "--help"],
    "set": [SCRIPT, "set", "at", "work"],
    "set, with a token": [SCRIPT, "set", "--url", "{url}", "at", "work"],
    "finger": [SCRIPT, "finger", "{me}"],
    "whoami": [SCRIPT, "whoami"],
    "healthcheck": [SCRIPT, "healthcheck"],
    "watch --once": [SCRIPT, "watch", "--once"],
    "token list": [SCRIPT, "token", "list"],
    "user list": [SCRIPT, "user", "list"],
    "config": [SCRIPT, "config"],
    "check-config": [SCRIPT, "check-config", "{config}"],
}


def cpu_of(command: Sequence[str], environ: Mapping[str, str]) -> float:
    """Seconds of CPU that a command takes. Raises BenchmarkError if it fails."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, env=environ, capture_output=True, check=False, timeout=60)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 0:
        raise BenchmarkError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr.decode()[-500:]}")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure(directory: Path, rounds: int) -> Mapping[str, Sequence[float]]:
    """Seconds of CPU of each command in each round."""
    places = {f"XDG_{name}": str(directory / name) for name in ("RUNTIME_DIR", "CONFIG_HOME", "STATE_HOME")}
    environ = environment() | places
    listen = {"listen": ["127.0.0.1:0"]}
    config: Configuration = {
        "backend": {"use": "sqlite", "path": directory / "x.db"},
        "finger": listen,
        "setter": listen,
        "http": listen,
    }
    with fingertrio_server("server", directory, config, core=Cores.choose().server, environ=environ) as server:
        added = subprocess.run([SCRIPT, "token", "add", "ada"], env=environ, capture_output=True, text=True, check=True)
        me = subprocess.run([SCRIPT, "set", "here"], env=environ, capture_output=True, text=True, check=True).stdout
        values = {
            "{url}": server.addresses["http"],
            "{me}": me.partition(":")[0],
            "{config}": str(directory / "server.toml"),
        }
        with_token = environ | {"FINGERTRIO_TOKEN": added.stdout.strip()}
        figures: dict[str, list[float]] = {name: [] for name in COMMANDS}
        for number in range(rounds):
            progress(f"round {number + 1} of {rounds}")
            for name, command in COMMANDS.items():
                filled = [values.get(part, part) for part in command]
                figures[name].append(cpu_of(filled, with_token if "token" in name else environ))
    return figures


def report(figures: Mapping[str, Sequence[float]]) -> tuple[str, Sequence[Goal]]:
    """The table, and the goals."""
    ratios = {name: median_ratio(taken, figures[BARE]) for name, taken in figures.items()}
    rows = [[name, f"{ratios[name]:.1f}", f"{median(taken) * 1e3:.0f}"] for name, taken in figures.items()]
    goals = [
        Goal(f"start of {name}, by {BARE}", round(seconds / INTERPRETER, 1), ratios[name])
        for name, seconds in GOALS.items()
    ]
    return table(["CPU of a command", f"x {BARE}", "ms"], rows), goals


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--write", action="store_true", help="put the table into docs/design/performance.md")
    arguments = parser.parse_args()
    os.environ.pop("COVERAGE_PROCESS_START", None)
    with tempfile.TemporaryDirectory(prefix="fingertrio-bench-") as directory:
        try:
            figures = measure(Path(directory), arguments.rounds)
        except FAILURES as error:
            print(error, file=sys.stderr)
            return 2
    text, goals = report(figures)
    text = "\n".join([text, "", f"- {Machine.here(['fingertrio', 'click', 'trio', 'rich'])}.", *map(str, goals)])
    print(text)
    if arguments.write:
        write_part("benchmarks.cli", text)
    return 0 if all(goal.reached for goal in goals) else 1


if __name__ == "__main__":
    sys.exit(main())
