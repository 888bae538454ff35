"""The console script: takes the signals over, then imports the commands, which takes a while.

Nothing else is imported at the top: until `main` runs, Python decides what a signal does.
"""

import os
import sys
from importlib import import_module

from fingertrio.cli.signals import EarlySignals


def main(*, serves: bool = False) -> None:
    """Run the command line. The program's name in messages is the same however it was started.

    Args:
        serves: whether to serve if there is no command, on a terminal too, as `python -m fingertrio` does.
    """
    signals = EarlySignals()
    signals.take()
    output = import_module("fingertrio.cli.output")
    errors = import_module("fingertrio.cli.errors")
    commands = import_module("fingertrio.cli.commands")
    if "_FINGERTRIO_COMPLETE" in os.environ:  # a shell asks, by the script that `fingertrio completion` printed
        import_module("fingertrio.cli.completion").register()
    with signals.ended(), output.guarded(), errors.reported():
        sys.exit(
            commands.cli(
                prog_name="fingertrio",
                obj=signals,
                default_map={"serves": serves},
                standalone_mode=False,
                color=False if os.environ.get("NO_COLOR") else None,  # no-color.org; None: on a terminal
            )
        )
