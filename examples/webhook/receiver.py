#!/usr/bin/env python3
"""Receives the webhooks of a fingertrio, and prints each change once.

    pip install standardwebhooks
    WEBHOOK_SECRET=whsec_... ./receiver.py 8080

It listens on this machine alone: a web server that speaks https belongs in front of it. See docs/guide/webhooks.md
"""

import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from standardwebhooks import Webhook, WebhookVerificationError

webhook = Webhook(os.environ.get("WEBHOOK_SECRET") or sys.exit("WEBHOOK_SECRET is not set"))
seen: dict[str, None] = {}  # the ids of the last messages: one may come twice


class Receiver(BaseHTTPRequestHandler):
    """Answers 204 once a message has been dealt with; with any other answer it comes again later."""

    def do_POST(self) -> None:
        body = self.rfile.read(min(int(self.headers.get("Content-Length", 0)), 200_000))
        try:
            event = webhook.verify(body, dict(self.headers))
        except WebhookVerificationError as error:
            self.send_error(401, str(error))
            return
        if self.headers["webhook-id"] not in seen:
            data = event["data"]
            print(event["type"], data.get("user", ""), repr(data.get("status", "")), flush=True)
            seen[self.headers["webhook-id"]] = None
            if len(seen) > 10_000:
                del seen[next(iter(seen))]
        self.send_response(204)
        self.end_headers()


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Receiver).serve_forever()
