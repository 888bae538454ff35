"""nginx serving the same bytes as static files: the floor. One process, which is this one."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
import time
from pathlib import Path

import web_content as content

_CONFIG = """
daemon off;
master_process off;
worker_processes 1;
pid {directory}/pid;
error_log stderr crit;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    sendfile on;
    open_file_cache max=100;
    {paths}
    server {{
        listen 127.0.0.1:{port}{tls};
        root {directory}/root;
        default_type application/json;
        location = /api/users {{ alias {directory}/root/users.json; }}
    }}
}}
"""


def main() -> None:
    directory = Path(tempfile.mkdtemp(prefix="nginx-", dir=os.environ.get("TMPDIR")))
    (directory / "root" / "api" / "users").mkdir(parents=True)
    (directory / "root" / "api" / "users" / "moshez").write_bytes(content.user_json("moshez"))
    (directory / "root" / "moshez").write_bytes(content.user_page("moshez"))
    (directory / "root" / "users.json").write_bytes(content.users_json())
    names = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    paths = "\n    ".join(f"{name}_temp_path {directory}/{name};" for name in names)
    with content.listen() as sock:
        port = sock.getsockname()[1]
    tls = ""
    if content.CERTFILE is not None:
        tls = " ssl"
        paths += f"\n    ssl_certificate {content.CERTFILE};\n    ssl_certificate_key {content.CERTFILE};"
    config = directory / "nginx.conf"
    config.write_text(_CONFIG.format(directory=directory, paths=paths, port=port, tls=tls))
    for place in (directory, *directory.rglob("*")):  # nginx may have other rights than its master
        place.chmod(0o755 if place.is_dir() else 0o644)
    if not os.fork():
        announce_when_open(port)
        os._exit(0)
    nginx = shutil.which("nginx") or "/usr/sbin/nginx"
    os.execv(nginx, ["nginx", "-p", str(directory), "-c", str(config)])


def announce_when_open(port: int) -> None:
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            time.sleep(0.01)
        else:
            content.announce(port)
            return


if __name__ == "__main__":
    main()
