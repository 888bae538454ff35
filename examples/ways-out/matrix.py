#!/usr/bin/env python3
"""Says each status in a Matrix room, as a notice.

    MATRIX_HOST=matrix.example MATRIX_TOKEN=... MATRIX_ROOM='!abc:matrix.example' fingertrio watch --exec ./matrix.py

Source: https://spec.matrix.org/latest/client-server-api/#put_matrixclientv3roomsroomidsendeventtypetxnid
"""

import json
import os
import sys
import time
from datetime import datetime
from http.client import HTTPException, HTTPSConnection
from urllib.parse import quote

change = json.load(sys.stdin)
host, token, room = (os.environ.get(f"MATRIX_{name}", "").strip() for name in ("HOST", "TOKEN", "ROOM"))
if not (host and token and room):
    sys.exit("matrix: MATRIX_HOST, MATRIX_TOKEN or MATRIX_ROOM is not set; see docs/guide/ways-out.md")
user, since = change["user"], change.get("since")
if not change.get("status") or (since and time.time() - datetime.fromisoformat(since).timestamp() > 900):
    sys.exit()  # it was cleared, or is not new: a change of details comes with the same status again
text = f"{change.get('name') or user}: {change['status']}"
body = json.dumps({"msgtype": "m.notice", "body": text, "m.mentions": {}})  # no "@room" in a status notifies the room
once = quote(f"{user} {since or change['id']}", safe="")  # the same twice is one message
path = f"/_matrix/client/v3/rooms/{quote(room, safe='')}/send/m.room.message/{once}"
for again in (True, False):
    try:
        connection = HTTPSConnection(host, timeout=20)
        connection.request("PUT", path, body, {"Authorization": f"Bearer {token}", "Content-Type": "application/json"})
        answer = (response := connection.getresponse()).read()
    except (OSError, HTTPException) as error:
        sys.exit(f"matrix: {error}")
    pause = response.getheader("Retry-After", "")  # older servers only have retry_after_ms in the body
    if not again or response.status != 429 or not pause.isdecimal() or int(pause) > 30:
        break
    time.sleep(int(pause))
if response.status != 200:
    sys.exit(f"matrix: {response.status} {answer.decode(errors='replace')[:200]}")
