"""Check the backends of earlier steps with check_backend: those with plans and with a program."""

import os
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import trio

from finger19b import CommandBackend
from finger19c import PlanBackend
from finger19e import check_backend, opening
from harness import Step

SCRIPT = '[ "$1" = ada ] && echo Weaving || :'


async def main() -> None:
    with TemporaryDirectory() as folder:
        home = Path(folder)
        (home / ".plan").write_text("Weaving\n")
        plans = PlanBackend(lambda user: (home, os.getuid()) if user == "ada" else None)
        await check_backend(lambda: opening(plans), known={"ada": "Weaving"})
    shell = shutil.which("sh") or "/bin/sh"
    await check_backend(lambda: opening(CommandBackend((shell, "-c", SCRIPT))), known={"ada": "Weaving"})
    print("Both keep the contract.")


async def check(step: Step) -> None:
    await step.main()


if __name__ == "__main__":
    trio.run(main)
