"""HTTP on top of `net`: connections, HTTP/1.1, HTTP/2, WebSocket, TLS. Knows ASGI, and nothing of finger."""
