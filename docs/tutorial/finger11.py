"""A daemon that does not daemonise: sockets first, then privileges, then service until a signal asks it to stop."""

import os
import pwd
import signal
from collections.abc import Mapping
from functools import partial

import trio

from finger07 import USERS
from finger08 import get_user, handle

GRACE = 5.0  # seconds that connections have to finish once the program is asked to stop


def give_up_root(account: str) -> None:
    """Become another user, for good. The groups go first: without root they could not be changed any more."""
    entry = pwd.getpwnam(account)
    os.initgroups(account, entry.pw_gid)
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)


async def main(
    users: Mapping[str, str] = USERS, host: str = "127.0.0.1", port: int = 7979, account: str | None = None
) -> None:
    listeners = await trio.open_tcp_listeners(port, host=host)
    if account is not None:
        give_up_root(account)
    handler = partial(handle, partial(get_user, users))
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as connections:
            async with trio.open_nursery() as accepting:
                accepting.start_soon(partial(trio.serve_listeners, handler, listeners, handler_nursery=connections))
                print(f"Serving on port {port} as {pwd.getpwuid(os.getuid()).pw_name}.", flush=True)
                await anext(aiter(signals))
                print("Stopping.", flush=True)
                accepting.cancel_scope.cancel()
            connections.cancel_scope.deadline = trio.current_time() + GRACE


if __name__ == "__main__":
    setting = os.environ.get
    host, port = setting("HOST", "127.0.0.1"), int(setting("PORT", "7979"))
    trio.run(partial(main, host=host, port=port, account=setting("RUN_AS")))
