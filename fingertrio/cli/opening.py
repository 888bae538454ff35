"""`fingertrio serve --open`: shows the front page in a browser once the server is ready, or says where it is.

A browser is started where a person sees it: on a display, or by what BROWSER names, which editors set to open pages on
the machine in front of the person. Never as root: a browser does not belong there. Over ssh the page is said with the
tunnel that leads to it. The browser is a process of its own, without our terminal, log and secrets. Nothing waits for
it.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from threading import Thread
from urllib.parse import urlsplit

from fingertrio.observe.observer import Observer
from fingertrio.server.runtime import RunningServer

_OPEN = "import sys, webbrowser; sys.exit(not webbrowser.open(sys.argv[1]))"


def front_page(addresses: Mapping[str, Sequence[str]], public: str | None = None) -> str | None:
    """The address of the front page on this machine; None: there is no web front end that listens on TCP.

    Args:
        addresses: of each door, as it announced them.
        public: [http] url, which is better where there is TLS: the certificate is for that name.
    """
    here = RunningServer(0, doors=addresses).url
    if here is None:
        return None
    return f"{public}/" if public is not None and here.startswith("https:") else f"{here}/"


def obstacle(environ: Mapping[str, str] = os.environ) -> str | None:
    """Why no browser can be started; None: one can. To be asked before privileges are dropped."""
    if os.geteuid() == 0:
        return "no browser is started as root"
    if environ.get("BROWSER"):
        return None
    if environ.get("SSH_CONNECTION"):
        return "over ssh, the browser is on your machine"
    if sys.platform != "darwin" and not (environ.get("DISPLAY") or environ.get("WAYLAND_DISPLAY")):
        return "there is no display"
    return None


def advice(page: str, environ: Mapping[str, str] = os.environ) -> str:
    """What to do to see a page of this machine: open it; over ssh, the tunnel first."""
    parts = urlsplit(page)
    client = environ.get("SSH_CONNECTION", "").split()
    if len(client) != 4 or parts.hostname not in {"127.0.0.1", "::1", "localhost"}:
        return f"open {page}"
    user, host = environ.get("USER", ""), client[2]
    login = f"{user}@{host}" if user else host
    place = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    there = parts.port or {"http": 80, "https": 443}[parts.scheme]
    here = there if there >= 1024 else 8000 + there  # a port that does not need root on the other machine
    tunnel = shlex.join(["ssh", "-N", "-L", f"{here}:{place}:{there}", login])
    return f"run {tunnel} on your machine and open {parts.scheme}://localhost:{here}/ there"


def open_front_page(
    observer: Observer, addresses: Mapping[str, Sequence[str]], public: str | None, reason: str | None
) -> Thread | None:
    """Show the front page, or say where it is. For the arguments see `front_page`; `reason` is that of `obstacle`."""
    page = front_page(addresses, public)

    def say(why: str) -> None:
        next_step = "add [http] with a TCP address" if page is None else advice(page)
        if observer.human:
            observer.write_text(f"Front page: {why}; {next_step}\n")
        else:
            observer.info("front_page", reason=why, next=next_step)

    if page is None:
        say("there is none")
    elif reason is not None:
        say(reason)
    else:
        return show(page, lambda: say("no browser could be started"))
    return None


def show(page: str, failed: Callable[[], None], environ: Mapping[str, str] = os.environ) -> Thread:
    """Start a browser; `failed` is called, in a thread, if none can be started. The thread ends with its starter."""

    def start() -> None:
        done = subprocess.run(  # noqa: S603 -- this interpreter, with a page of ours
            [sys.executable, "-c", _OPEN, page],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={name: value for name, value in environ.items() if not name.startswith("FINGERTRIO_")},
            start_new_session=True,
            check=False,
        )
        if done.returncode != 0:
            failed()

    thread = Thread(target=start, name="browser", daemon=True)
    thread.start()
    return thread
