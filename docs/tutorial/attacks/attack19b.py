from pathlib import Path
from tempfile import TemporaryDirectory

from harness import Step

PROGRAM = """
case "$2" in
    moshez) echo "Happy and well" ;;
    broken) echo "cannot open /var/run/utmp"; exit 1 ;;
    stuck) exec sleep 60 ;;
esac
"""


async def attack(step: Step) -> None:
    """The program fails after some output, or hangs: neither may look like a status or a missing user."""
    with TemporaryDirectory() as folder:
        script = Path(folder, "finger.sh")
        script.write_text(PROGRAM)
        backend = step["CommandBackend"](["/bin/sh", str(script)])
        async with step.running(backend=backend):
            assert await step.ask(b"moshez\r\n") == b"Happy and well\r\n"
            assert await step.ask(b"nobody\r\n") == b"No such user\r\n"
            assert (await step.request("/nobody"))[0] == 404
            assert await step.ask(b"broken\r\n") == b"Internal error in server\r\n"
            assert (await step.request("/stuck"))[0] == 503
