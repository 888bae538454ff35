"""Where the program begins: signals first, then all that takes its time, which is to import the commands.

It imports nothing else at the top, and must not: what a signal does before `main` has begun, Python decides.
"""

from fingertrio.cli.signals import EarlySignals


def main() -> None:
    """The console script, under one name however it was called."""
    signals = EarlySignals()
    signals.take()
    from fingertrio.cli.commands import cli  # noqa: PLC0415 -- half of a second in which a signal may come

    cli(prog_name="fingertrio", obj=signals)
