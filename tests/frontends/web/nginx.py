"""A real nginx in front of a server, on a free port of loopback."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio

# In the foreground, with every file in the test's directory. One worker: with none, nginx 1.22 ignores a socket that it
# inherits.
_CONFIGURATION = """
{user}
daemon off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
    upstream fingertrio {{ server {upstream}; keepalive 8; }}
    server {{
        listen {listen};
        location / {{
            proxy_pass http://fingertrio;
            proxy_http_version 1.1;
            proxy_set_header Host $host;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $scheme;
        }}
    }}
}}
"""


@asynccontextmanager
async def nginx(upstream: tuple[str, int] | str, directory: Path) -> AsyncIterator[tuple[str, int]]:
    """Run nginx in front of `upstream`, an address or "unix:/path"; its address.

    nginx cannot listen on port 0. It inherits a socket that is bound here, as in its upgrades of the running program.
    """
    program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        pytest.skip("needs nginx (Debian package nginx)")
    with socket.create_server(("127.0.0.1", 0), backlog=511) as listener:
        listener.setblocking(False)  # nginx sets this only for sockets that it makes itself
        address: tuple[str, int] = listener.getsockname()
        path = directory / "nginx.conf"
        text = _CONFIGURATION.format(
            user="user root root;" if os.geteuid() == 0 else "",  # a worker of another user cannot enter the directory
            directory=directory,
            listen="{}:{}".format(*address),
            upstream=upstream if isinstance(upstream, str) else "{}:{}".format(*upstream),
        )
        path.write_text(text)
        run = partial(
            trio.run_process,
            [program, "-c", str(path), "-p", str(directory), "-e", "stderr"],
            env={"PATH": os.environ.get("PATH", ""), "NGINX": f"{listener.fileno()};"},
            pass_fds=[listener.fileno()],
            check=False,
        )
        async with trio.open_nursery() as nursery:
            process: trio.Process = await nursery.start(run)
            try:
                yield address
            finally:
                process.terminate()
