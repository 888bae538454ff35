from pathlib import Path
from tempfile import TemporaryDirectory

from harness import Step

# A finger program that has an option which it must never be given, and two users who abuse it.
PROGRAM = """
case "$1 $2" in
    "-- -x") echo "no user -x" ;;
    "-- endless") while :; do echo yes yes yes yes yes yes yes yes yes; done ;;
    "-- sleeper") echo $$ > "$0.pid"; exec sleep 60 ;;
    -x*) echo "root:secret" ;;
esac
"""


def is_running(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


async def attack(step: Step) -> None:
    """Queries try to be options, to fill the memory, and to leave processes behind."""
    with TemporaryDirectory() as folder:
        script = Path(folder, "finger.sh")
        script.write_text(PROGRAM)
        async with step.running(program=["/bin/sh", str(script)]):
            assert await step.ask(b"-x\r\n") == b"no user -x\r\n", "a query became an option"
            assert await step.ask(b"root@example.com\r\n") == b"No such user\r\n", "it asks any server"
            assert len(await step.ask(b"endless\r\n")) < 100_000, "it keeps any amount of output"
            step["get_user"].__globals__["PATIENCE"] = 1.0
            assert await step.ask(b"sleeper\r\n") == b"Internal error in server\r\n"
            assert not is_running(int(Path(f"{script}.pid").read_text())), "the program goes on without a client"
