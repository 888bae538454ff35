#!/usr/bin/env python3
"""Sets your custom status on Mattermost, until the same time.

    MATTERMOST_HOST=chat.example.org MATTERMOST_TOKEN=... fingertrio watch --exec ./mattermost.py ada

Source: https://developers.mattermost.com/api-documentation/#/operations/UpdateUserCustomStatus
"""

import json
import os
import sys
import time
from http.client import HTTPException, HTTPSConnection

change = json.load(sys.stdin)
host, token = (os.environ.get(f"MATTERMOST_{name}", "").strip() for name in ("HOST", "TOKEN"))
if not (host and token):
    sys.exit("mattermost: MATTERMOST_HOST or MATTERMOST_TOKEN is not set; see docs/guide/ways-out.md")
text = " ".join(filter(None, [change.get("emoji"), change.get("line")]))
status = {"emoji": "speech_balloon", "text": text[:100]}  # names of emoji only, so ours is in the text
if change.get("until"):
    status |= {"duration": "date_and_time", "expires_at": change["until"]}
headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
for again in (True, False):
    try:
        connection = HTTPSConnection(host, timeout=20)
        body = json.dumps(status) if text else None
        connection.request("PUT" if text else "DELETE", "/api/v4/users/me/status/custom", body, headers)
        response = connection.getresponse()
        answer = response.read()
    except (OSError, HTTPException) as error:
        sys.exit(f"mattermost: {error}")
    pause = response.getheader("Retry-After", "")
    if not again or response.status != 429 or not pause.isdecimal() or int(pause) > 30:
        break
    time.sleep(int(pause))
if response.status != 200:
    sys.exit(f"mattermost: {response.status} {answer.decode(errors='replace')[:200]}")
