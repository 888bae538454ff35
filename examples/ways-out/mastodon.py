#!/usr/bin/env python3
"""Posts each status on Mastodon.

    MASTODON_HOST=social.example MASTODON_TOKEN=... fingertrio watch --exec ./mastodon.py --state ~/.mastodon-state ada

Source: https://docs.joinmastodon.org/methods/statuses/#create
"""

import json
import os
import sys
import time
from datetime import datetime
from hashlib import sha256
from http.client import HTTPException, HTTPSConnection

change = json.load(sys.stdin)
host, token = (os.environ.get(f"MASTODON_{name}", "").strip() for name in ("HOST", "TOKEN"))
if not (host and token):
    sys.exit("mastodon: MASTODON_HOST or MASTODON_TOKEN is not set; see docs/guide/ways-out.md")
text, since = change.get("status", "").strip(), change.get("since")
if not text or (since and time.time() - datetime.fromisoformat(since).timestamp() > 3000):
    sys.exit()  # it was cleared, or is not new: a change of details comes with the same status again
# For an hour, Mastodon answers what comes twice with the post that it has already.
key = sha256(f"{change['user']} {since or change['id']}".encode()).hexdigest()
post = {"status": text if len(text) <= 500 else f"{text[:499]}…", "visibility": "unlisted"}
headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": key, "Content-Type": "application/json"}
for again in (True, False):
    try:
        connection = HTTPSConnection(host, timeout=20)
        connection.request("POST", "/api/v1/statuses", json.dumps(post), headers)
        answer = (response := connection.getresponse()).read()
    except (OSError, HTTPException) as error:
        sys.exit(f"mastodon: {error}")
    pause = response.getheader("Retry-After", "")
    if not again or response.status != 429 or not pause.isdecimal() or int(pause) > 30:
        break
    time.sleep(int(pause))
if response.status != 200:
    sys.exit(f"mastodon: {response.status} {answer.decode(errors='replace')[:200]}")
