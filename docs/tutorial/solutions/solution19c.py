"""~/.project beside ~/.plan: its first line comes before the plan, and it is read with the same care."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import trio

from finger19a import main as serve
from finger19c import Homes, PlanBackend, home_of, read_file, read_plan
from harness import Step


def read_both(homes: Homes, user: str) -> str | None:
    """Return the project, if there is one, and the plan. This blocks."""
    if (found := homes(user)) is None:
        return None
    home, owner = found
    project = (read_file(home / ".project", owner) or "").partition("\n")[0]
    plan = read_plan(homes, user)
    return f"Project: {project}\n{plan}" if project else plan


class ProjectBackend(PlanBackend):
    async def get_user(self, user: str) -> str | None:
        return await trio.to_thread.run_sync(
            read_both, self._homes, user, limiter=self._threads, abandon_on_cancel=True
        )


async def main(
    homes: Homes = home_of,
    host: str = "127.0.0.1",
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    await serve(ProjectBackend(homes), host, task_status=task_status)


async def check(step: Step) -> None:
    with TemporaryDirectory() as folder:
        home = Path(folder)
        async with step.running(homes=lambda user: (home, os.getuid()) if user == "ada" else None):
            assert await step.ask(b"ada\r\n") == b"No Plan.\r\n"
            (home / ".project").write_text("The engine\nand more\n")
            (home / ".plan").write_text("Weaving\n")
            assert await step.ask(b"ada\r\n") == b"Project: The engine\r\nWeaving\r\n"
            (home / ".project").unlink()
            (home / ".project").symlink_to("/etc/passwd")
            assert await step.ask(b"ada\r\n") == b"Weaving\r\n"


if __name__ == "__main__":
    trio.run(main)
