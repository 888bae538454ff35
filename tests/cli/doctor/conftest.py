from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.doctor.kit import FakeMachine


@pytest.fixture
def fake(tmp_path: Path) -> FakeMachine:
    return FakeMachine(tmp_path / "machine")
