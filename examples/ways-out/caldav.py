#!/usr/bin/env python3
"""Keeps a status that has an end as an event in a calendar that speaks CalDAV, such as Nextcloud's or Radicale.

    CALDAV_HOST=dav.example CALDAV_PATH=/ada/status/ CALDAV_LOGIN=ada:password fingertrio watch --exec ./caldav.py ada

Sources: RFC 4791 section 5.3.2 (PUT), RFC 5545 (the event)
"""

import json
import os
import sys
import time
from base64 import b64encode
from http.client import HTTPException, HTTPSConnection
from urllib.parse import quote

change, now = json.load(sys.stdin), time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())
host, path, login = (os.environ.get(f"CALDAV_{name}", "").strip() for name in ("HOST", "PATH", "LOGIN"))
if not (host and path and login):
    sys.exit("caldav: CALDAV_HOST, CALDAV_PATH or CALDAV_LOGIN is not set; see docs/guide/ways-out.md")
user, until = quote(change["user"], safe=""), change.get("until")
title = " ".join(filter(None, [change.get("emoji"), change.get("line")]))[:200]
title = "SUMMARY:" + title.replace("\\", "\\\\").replace(";", "\\;").replace(",", "\\,")
title = "\r\n ".join(title[at : at + 18] for at in range(0, len(title), 18))  # no line has more than 75 bytes
times = zip(("DTSTAMP", "DTSTART", "DTEND"), (now, change.get("since") or now, until or now), strict=True)
event = [f"{name}:{moment[:19].replace('-', '').replace(':', '')}Z" for name, moment in times]
head = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//fingertrio//EN\r\nBEGIN:VEVENT"
body = "\r\n".join([head, f"UID:fingertrio-{user}", *event, title, "END:VEVENT", "END:VCALENDAR", ""]).encode()
login = b64encode(login.encode()).decode()
headers = {"Authorization": f"Basic {login}", "Content-Type": "text/calendar; charset=utf-8"}
try:
    connection = HTTPSConnection(host, timeout=20)
    method = "PUT" if until else "DELETE"  # one event for each user: the present status
    connection.request(method, f"{path.rstrip('/')}/fingertrio-{user}.ics", body if until else None, headers)
    response = connection.getresponse()
    answer = response.read()
except (OSError, HTTPException) as error:
    sys.exit(f"caldav: {error}")
if response.status not in {200, 201, 204} and (until or response.status != 404):
    sys.exit(f"caldav: {response.status} {answer.decode(errors='replace')[:200]}")
