"""`fingertrio serve`: runs the server and turns failures into one message and an exit status.

0: stopped, by a signal or otherwise. 1: the program failed while running. 2: the configuration must be corrected first.
130: SIGINT came before the program served.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr
from pathlib import Path

import click
import trio

from fingertrio import version
from fingertrio.cli.banner import announce
from fingertrio.cli.check_config import load_or_exit, refuse
from fingertrio.cli.completing import config_files
from fingertrio.cli.discover import named_config
from fingertrio.cli.opening import obstacle, open_front_page
from fingertrio.cli.signals import INTERRUPTED, EarlySignals
from fingertrio.config.config import load_config
from fingertrio.config.errors import ConfigError
from fingertrio.observe.observer import stderr_observer
from fingertrio.observe.stray import StrayOutput
from fingertrio.server.app import run
from fingertrio.server.publishing import publish
from fingertrio.server.runtime import RuntimeFile

# Allocations after which the collector looks for garbage in cycles. Trio makes hundreds of objects per task and leaves
# no cycles; with Python's defaults (700, 10, 10), a set over memory takes a tenth longer.
_COLLECTION = (10_000, 20, 20)

_DRY_RUN = "FINGERTRIO_IRC__DRY_RUN"


@click.command()
@click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path),
    shell_complete=config_files,
    help="TOML file; by default that of FINGERTRIO_CONFIG, the one that init wrote, or the built-in one on loopback.",
)
@click.option("--irc-dry-run", is_flag=True, help="Stay on IRC, but only log what would be said or set there.")
@click.option("--open", "opens", is_flag=True, help="Show the front page in a browser when it is ready.")
@click.make_pass_decorator(EarlySignals, ensure=True)
def serve(signals: EarlySignals, path: Path | None = None, *, irc_dry_run: bool = False, opens: bool = False) -> None:
    """Open every door that the configuration names."""
    if irc_dry_run:
        os.environ[_DRY_RUN] = "true"  # as an operator would, so that it holds for reloads too
    path = path or named_config()
    config = load_or_exit(path)
    human = {"auto": None, "text": True, "json": False}[config.log.format]
    no_browser = obstacle()  # before privileges are dropped
    observer = stderr_observer(human=human, level=config.log.level, anonymize=config.log.anonymize_addresses)

    def ready(addresses: Mapping[str, Sequence[str]]) -> None:
        # Everything imported and built so far is permanent. Frozen, it is never scanned again during a query.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*_COLLECTION)
        if runtime is not None:
            publish(runtime, config, path, addresses, observer)
        announce(observer, addresses, config.backend.use, version, path)
        if opens:
            open_front_page(observer, addresses, getattr(config.doors.get("http"), "url", None), no_browser)
        signals.deliver()

    runtime = RuntimeFile.open()
    try:
        with redirect_stderr(StrayOutput(observer.stray_output)), signals.unwinding():
            trio.run(
                lambda: run(
                    config,
                    observer,
                    source=str(path or "the built-in configuration"),
                    ready=ready,
                    load=lambda: load_config(path, to_serve=True),
                )
            )
    except ConfigError as error:
        refuse(error)
    except KeyboardInterrupt:  # before the supervisor handles signals, or after it has stopped handling them
        sys.exit(INTERRUPTED)
    except Exception as error:  # noqa: BLE001 -- last resort: the cause goes to the log, the status to the manager
        observer.error("failed", exc=error)
        sys.exit(1)
    finally:
        if runtime is not None:
            runtime.close()
        observer.close()
