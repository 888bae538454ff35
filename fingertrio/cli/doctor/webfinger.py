"""Check `webfinger`: whether each domain answers as the server does, for other servers and for pages of other sites.

A user is asked about at the domain and at the server's own address. The same content is proof that the domain leads
here, through whatever web server and redirects stand between.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote, urljoin

from fingertrio.cli.doctor.check import Check, Report, reason_of
from fingertrio.cli.doctor.installation import Installation
from fingertrio.clients.dial import RemoteError
from fingertrio.clients.http_get import Answer, http_get
from fingertrio.wire.webfinger import CONTENT_TYPE, PATH

_REDIRECTS = 3  # as our own client follows
_MOVED = {301, 302, 303, 307, 308}
_GUIDE = "docs/guide/webfinger.md has the lines for nginx, Caddy and Apache"
_STAND_IN = "fingertrio-doctor"  # the account in the question if there is no user


async def look_at_domains(place: Installation, report: Report) -> None:
    """Whether each domain answers WebFinger with this server's answer."""
    name = await _some_user(place)
    for domain in () if place.config is None else place.config.webfinger.domains:
        await _look_at(place, report, domain, name)


async def _some_user(place: Installation) -> str:
    """A user of this server, or a name that no user has."""
    try:
        answer = await place.ask_locally("/api/statuses?limit=1")
        found: Any = json.loads(answer.body if answer is not None else b"{}")
        return str(found["statuses"][0]["user"])
    except (RemoteError, ValueError, LookupError, TypeError):
        return _STAND_IN


async def _look_at(place: Installation, report: Report, domain: str, name: str) -> None:
    account = f"acct:{name}@{domain}"
    path = f"{PATH}?resource={quote(account, safe='')}"
    target = f"https://{domain}{path}"
    try:
        here = await place.ask_locally(path)
    except RemoteError:
        here = None
    try:
        there = await _follow(place, target, None if here is None else here.headers.get("Location"))
    except RemoteError as error:
        report.problem(
            f"{domain}: {reason_of(error, domain.partition(':')[0])}",
            "the accounts of this domain cannot be found; clients of WebFinger use https alone",
            f"{target} must lead to this server: {_GUIDE}",
        )
        return
    if here is None:
        report.warning(
            f"{domain} answers with HTTP status {there.status}, and the server could not be asked to compare",
            "it may be the answer of another server",
            "run it again while the server runs",
        )
        return
    if not _is_same(here, there):
        report.problem(
            f"{domain} does not give this server's answer about {account}: HTTP status {there.status}, "
            f"{there.headers.get('Content-Type', 'no type')}",
            "the accounts of this domain cannot be found",
            f"{target} must lead to this server: {_GUIDE}",
        )
        return
    _report_fields(report, domain, there)
    said = "its answer about" if there.status != 404 else "that there is no"
    report.ok(f"{domain} gives {said} {account}")


async def _follow(place: Installation, url: str, end: str | None) -> Answer:
    """The answer after redirects by https, up to one to `end`, which is the answer itself."""
    for _ in range(_REDIRECTS + 1):
        answer = await http_get(url, ssl_context=place.trust, headers={"Origin": "https://other.example"})
        target = answer.headers.get("Location")
        if answer.status not in _MOVED or target is None or target == end:
            return answer
        url = urljoin(url, target)
        if not url.startswith("https://"):
            raise RemoteError(f"it redirects to {url}, which is not https")
    raise RemoteError(f"more than {_REDIRECTS} redirects")


def _is_same(here: Answer, there: Answer) -> bool:
    if here.status != there.status or here.headers.get("Location") != there.headers.get("Location"):
        return False
    if here.status != 200:
        return here.body == there.body
    try:
        same: bool = json.loads(here.body) == json.loads(there.body)
    except ValueError:
        return False
    return same


def _report_fields(report: Report, domain: str, answer: Answer) -> None:
    if answer.headers.get("Access-Control-Allow-Origin") != "*":
        report.problem(
            f"{domain}: the answer has no Access-Control-Allow-Origin: *",
            "pages of other sites cannot read it (RFC 7033 section 5)",
            "let the web server in front keep this field, or redirect instead of passing on",
        )
    kind = answer.headers.get("Content-Type", "")
    if answer.status == 200 and kind.partition(";")[0].strip() != CONTENT_TYPE:
        report.problem(
            f"{domain}: the answer has the type {kind or 'none'}",
            f"strict clients accept {CONTENT_TYPE} alone (RFC 7033 section 10.2)",
            "let the web server in front keep Content-Type",
        )


def _skip(place: Installation) -> str:
    return "" if place.config is not None and place.config.webfinger.domains else "[webfinger] domains is not set"


CHECK = Check(
    "webfinger", "Whether each domain answers WebFinger as this server does", look_at_domains, _skip, limit=30.0
)
