#!/usr/bin/env python3
"""Sets the status on your GitHub profile, until the same time.

    GITHUB_TOKEN=ghp_... fingertrio watch --exec ./github.py --state ~/.github-state ada

Source: https://docs.github.com/en/graphql/reference/mutations#changeuserstatus
"""

import json
import os
import sys
import time
from http.client import HTTPException, HTTPSConnection

MUTATION = "mutation ($input: ChangeUserStatusInput!) {changeUserStatus(input: $input) {status {message}}}"

change = json.load(sys.stdin)
token = os.environ.get("GITHUB_TOKEN", "").strip() or sys.exit(
    "github: GITHUB_TOKEN is not set; see docs/guide/ways-out.md"
)
new = {"emoji": change.get("emoji"), "message": (change.get("line") or "")[:80], "expiresAt": change.get("until")}
if not (new["emoji"] or new["message"]):
    new = {}  # clears it
question = {"query": MUTATION, "variables": {"input": {name: value for name, value in new.items() if value}}}
headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json", "User-Agent": "fingertrio"}
for again in (True, False):
    try:
        connection = HTTPSConnection(os.environ.get("GITHUB_HOST", "api.github.com"), timeout=20)
        connection.request("POST", "/graphql", json.dumps(question), headers)
        response = connection.getresponse()
        answer = response.read()
    except (OSError, HTTPException) as error:
        sys.exit(f"github: {error}")
    pause = response.getheader("Retry-After", "")  # with 403, too: a "secondary rate limit"
    if not again or response.status not in {403, 429} or not pause.isdecimal() or int(pause) > 30:
        break
    time.sleep(int(pause))
if response.status != 200 or "errors" in json.loads(answer):  # GraphQL answers errors with 200
    sys.exit(f"github: {response.status} {answer.decode(errors='replace')[:200]}")
