#!/usr/bin/env python3
"""Sets your status on Slack, until the same time.

    SLACK_TOKEN=xoxp-... fingertrio watch --exec ./slack.py --state ~/.slack-state ada

Source: https://docs.slack.dev/reference/methods/users.profile.set
"""

import json
import os
import sys
import time
from datetime import datetime
from http.client import HTTPException, HTTPSConnection

change = json.load(sys.stdin)
token = os.environ.get("SLACK_TOKEN", "").strip()
if not token:
    sys.exit("slack: SLACK_TOKEN is not set; see docs/guide/ways-out.md")
text = " ".join(filter(None, [change.get("emoji"), change.get("line")]))
ends = change.get("until")
profile = {
    "status_text": text[:100],  # Slack's limit
    "status_emoji": ":speech_balloon:" if text else "",  # Slack takes names of emoji only, so ours is in the text
    "status_expiration": int(datetime.fromisoformat(ends).timestamp()) if ends else 0,
}
headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json; charset=utf-8"}
for again in (True, False):
    try:
        connection = HTTPSConnection(os.environ.get("SLACK_HOST", "slack.com"), timeout=20)
        connection.request("POST", "/api/users.profile.set", json.dumps({"profile": profile}), headers)
        answer = (response := connection.getresponse()).read()
    except (OSError, HTTPException) as error:
        sys.exit(f"slack: {error}")
    pause = response.getheader("Retry-After", "")
    if not again or response.status != 429 or not pause.isdecimal() or int(pause) > 30:
        break
    time.sleep(int(pause))
if response.status != 200 or not json.loads(answer)["ok"]:
    sys.exit(f"slack: {response.status} {answer.decode(errors='replace')[:200]}")
