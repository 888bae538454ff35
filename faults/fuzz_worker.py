"""One target under atheris, which measures what code each input reaches and mutates those that reach new code.

python -m faults.fuzz_worker TARGET [libFuzzer's options]
"""

from __future__ import annotations

import sys

import atheris  # type: ignore[import-untyped, import-not-found, unused-ignore]  # an extra without types

with atheris.instrument_imports(include=["fingertrio", "h11", "xmlrpc"]):
    from faults.fuzz_targets import TARGETS

if __name__ == "__main__":
    _, name, *options = sys.argv
    atheris.Setup([sys.argv[0], *options], TARGETS[name])
    atheris.Fuzz()
