"""The transcripts in docs/guide/install.md: what from_clone.sh and from_deb.sh print on a clean Debian.

    python -m tests.packaging.transcripts    runs both and writes what they print into the page (`make transcripts`)

CLEAN_DEBIAN may name a clean Debian that `machine.sh` made before, for a developer who tries it again and again.

A test runs them too, and compares everything but numbers: times, sizes and dates are those of the day of writing.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from pathlib import Path

from tests.packaging.kit import ROOT, run

HERE = Path(__file__).parent
PAGE = ROOT / "docs/guide/install.md"

_BLOCK = re.compile(r"<!-- checked by tests/packaging/(\S+\.sh) -->\n```console\n(.*?)```\n", re.DOTALL)


def written() -> dict[str, str]:
    """The transcripts in the page, by the name of the script."""
    return dict(_BLOCK.findall(PAGE.read_text("utf-8")))


def without_numbers(transcript: str) -> list[str]:
    """The lines, each number as 0 and each date as one. A column may be wider for another number."""
    transcript = re.sub(r"\b(Mon|Tue|Wed|Thu|Fri|Sat|Sun)\b", "Mon", transcript)
    transcript = re.sub(r"\b(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)\b", "Jan", transcript)
    lines = [re.sub(r"\d+([.:]\d+)*", "0", " ".join(line.split())) for line in transcript.splitlines()]
    return [re.sub(r"\b0 [kM]B\b", "0 B", line) for line in lines]


def debian(directory: Path) -> Path:
    """A clean Debian in this directory, which takes half a minute."""
    run("bash", "-euo", "pipefail", "-c", f"umask 022; . {HERE}/machine.sh; debian '{directory}'")
    return directory


def build_deb(directory: Path) -> Path:
    """The Debian package of this checkout, in this directory; quickly compressed."""
    run(ROOT / "packaging/deb/build", sys.executable, directory, environ={"XZ_LEVEL": "1"})
    (package,) = directory.glob("*.deb")
    return package


def from_clone(base: Path) -> str:
    """What from_clone.sh prints on this Debian."""
    return run(HERE / "from_clone.sh", base, ROOT)


def from_deb(base: Path, package: Path) -> str:
    """What from_deb.sh prints on this Debian with this package."""
    return run(HERE / "from_deb.sh", base, package)


def _block(script: str, transcript: str) -> str:
    return f"<!-- checked by tests/packaging/{script} -->\n```console\n{transcript}```\n"


def main() -> None:
    """Write the page."""
    with tempfile.TemporaryDirectory() as name:
        kept = os.environ.get("CLEAN_DEBIAN")
        base = Path(kept) if kept else debian(Path(name, "debian"))
        found = {
            "from_clone.sh": from_clone(base),
            "from_deb.sh": from_deb(base, build_deb(Path(name, "deb"))),
        }
    page = PAGE.read_text("utf-8")
    page = _BLOCK.sub(lambda block: _block(block[1], found[block[1]]), page)
    PAGE.write_text(page, "utf-8")


if __name__ == "__main__":
    main()
