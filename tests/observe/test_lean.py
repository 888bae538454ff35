"""A package is imported without another one, which can be imported afterwards."""

from __future__ import annotations

import subprocess
import sys

import pytest

from fingertrio.observe.lean import without


def test_what_is_left_out_cannot_be_imported_within_and_can_be_afterwards():
    name = "fractions"
    before = sys.modules.pop(name, None)
    try:
        with pytest.raises(ImportError), without(name):
            __import__(name)
        __import__(name)
        with without(name):
            __import__(name)  # it is there already
    finally:
        if before is not None:
            sys.modules[name] = before


def test_the_log_needs_no_rich():
    code = "import sys, fingertrio.observe.observer; print('rich' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
