"""The way from a machine's own network to package registries: a simple HTTP proxy, with CONNECT to port 443 for pip.

apt asks for whole URLs on a connection for each host; servers accept these as they are.

python3 registries.py PID    listens on 127.0.0.1:3128 in the network of process PID, and connects from this one's
"""

from __future__ import annotations

import os
import socket
import sys
import threading
from urllib.parse import urlsplit


def pump(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # the other side is gone, which its own pump notices


def serve(client: socket.socket) -> None:
    head = b""
    while b"\r\n\r\n" not in head and (data := client.recv(4096)):
        head += data
    method, _, rest = head.partition(b" ")
    target = urlsplit("//" + rest.partition(b" ")[0].decode().removeprefix("http://"))
    if target.hostname is None or (method, target.port) not in {(b"CONNECT", 443), (b"GET", None)}:
        client.close()
        return
    with client, socket.create_connection((target.hostname, target.port or 80), 30) as server:
        if method == b"CONNECT":
            client.sendall(b"HTTP/1.1 200 connected\r\n\r\n")
        else:
            server.sendall(head)
        back = threading.Thread(target=pump, args=(server, client), daemon=True)
        back.start()
        pump(client, server)
        back.join()


def main() -> None:
    if sys.argv[1] != "serve":
        # The socket stays in the network where it was made, when the process goes on in another.
        here = os.open("/proc/self/ns/net", os.O_RDONLY)
        os.set_inheritable(here, True)
        nsenter = ["nsenter", f"--net=/proc/{sys.argv[1]}/ns/net", sys.executable, __file__, "serve", str(here)]
        os.execvp(nsenter[0], nsenter)
    if len(sys.argv) == 3:
        listener = socket.create_server(("127.0.0.1", 3128))
        listener.set_inheritable(True)
        back = [
            "nsenter",
            f"--net=/proc/self/fd/{sys.argv[2]}",
            sys.executable,
            __file__,
            "serve",
            "-",
            str(listener.fileno()),
        ]
        os.execvp(back[0], back)
    listener = socket.socket(fileno=int(sys.argv[3]))
    while True:
        client, _ = listener.accept()
        threading.Thread(target=serve, args=(client,), daemon=True).start()


if __name__ == "__main__":
    main()
