"""The floor of a fan-out in Python: a loop over non-blocking sockets that sends each the same bytes.

Nothing is watched, bounded or parsed. Every connection gets a hello at its first line; the connection that sends
"change" gets its own bytes back on all of them, framed by nobody.
"""

import json
import select
import socket
import sys

listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
listener.setblocking(False)
address = f"127.0.0.1:{listener.getsockname()[1]}"
print(json.dumps({"event": "listening", "door": "http", "address": address}), file=sys.stderr)
print(json.dumps({"event": "ready"}), file=sys.stderr, flush=True)

poll = select.epoll()
poll.register(listener, select.EPOLLIN)
connections = {}
watchers = []
while True:
    for descriptor, _ in poll.poll():
        if descriptor == listener.fileno():
            connection, _ = listener.accept()
            connection.setblocking(False)
            connections[connection.fileno()] = connection
            poll.register(connection, select.EPOLLIN)
            continue
        connection = connections[descriptor]
        data = connection.recv(65536)
        if data.startswith(b"change "):
            message = data.removeprefix(b"change ")
            for watcher in watchers:
                watcher.send(message)
            connection.send(b"OK\r\n")
        elif data:
            watchers.append(connection)
            connection.send(b"HTTP/1.1 200 OK\r\n\r\nhello\n\n")
        else:
            poll.unregister(connection)
            connections.pop(descriptor).close()
            if connection in watchers:
                watchers.remove(connection)
