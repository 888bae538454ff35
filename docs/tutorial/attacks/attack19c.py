import os
from pathlib import Path
from tempfile import TemporaryDirectory

from harness import Step


def furnish(folder: Path, secret: Path) -> None:
    """Make the homes of one honest user and four others."""
    for user in ("ada", "link", "pipe", "folder", "endless"):
        (folder / user).mkdir()
    (folder / "ada/.plan").write_text("Weaving\nand reading\n")
    (folder / "link/.plan").symlink_to(secret)
    os.mkfifo(folder / "pipe/.plan")
    (folder / "folder/.plan").mkdir()
    (folder / "endless/.plan").write_text("x" * 1_000_000)


async def attack(step: Step) -> None:
    """Plans that are links to a secret, pipes, folders: no secret gets out, and nothing makes us wait."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        secret = folder / "shadow"
        secret.write_text("root:secret")
        furnish(folder, secret)

        def homes(user: str) -> tuple[Path, int] | None:
            return (folder / user, os.getuid()) if user.isalpha() and (folder / user).is_dir() else None

        async with step.running(backend=step["PlanBackend"](homes)):
            assert await step.ask(b"ada\r\n") == b"Weaving\r\nand reading\r\n"
            for user in ("link", "pipe", "folder"):
                assert await step.ask(f"{user}\r\n".encode()) == b"No Plan.\r\n", f"{user}: something else"
            assert len(await step.ask(b"endless\r\n")) < 5000
            assert await step.ask(b"nobody\r\n") == b"No such user\r\n"
        if os.getuid() == 0:  # a hard link: an ordinary file in the user's home, but of another user
            os.chown(folder / "ada/.plan", 65534, -1)
            async with step.running(backend=step["PlanBackend"](homes)):
                assert await step.ask(b"ada\r\n") == b"No Plan.\r\n"
