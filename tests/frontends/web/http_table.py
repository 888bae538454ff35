"""The table of HTTP routes in docs/reference/http.md, each cell of it by asking the application.

    python -m tests.frontends.web.http_table     writes it into the page (`make reference` does so)

A row is made from a GET of a route, or its first method, and from OPTIONS. While it is made, what the row says is
tried: other methods are refused with the same Allow, HEAD has the fields of GET, and the ETag and the date give 304.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio
from quart.wrappers import Response

from tests.frontends.web.programs import Everything, everything

PAGE = Path(__file__).parents[3] / "docs/reference/http.md"
BEGIN, END = "<!-- made by: make reference -->\n", "<!-- end -->\n"

_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"}
_CALL = b"<methodCall><methodName>getUsers</methodName></methodCall>"
_CORS = {"Origin": "https://other.example", "Access-Control-Request-Method": "PUT"}


@dataclass(frozen=True)
class Sample:
    """A request for one route: what stands in its row, and how to ask.

    `kinds` are values of Accept; each gives a media type.
    """

    route: str
    path: str
    method: str = "GET"
    kinds: tuple[str, ...] = ("*/*",)
    arguments: dict[str, Any] = field(default_factory=dict)
    writes: bool = False


SAMPLES = (
    Sample("/", "/"),
    Sample("/U", "/ada", kinds=("text/html", "text/plain")),
    Sample("/U/history", "/ada/history"),
    Sample("/U/at/TIME", "/ada/at/{place}"),
    Sample("/api/statuses", "/api/statuses"),
    Sample("/api/users", "/api/users"),
    Sample("/api/users/U", "/api/users/ada"),
    Sample("/api/users/U/history", "/api/users/ada/history"),
    Sample("/api/users/U/status", "/api/users/ada/status", "PUT", arguments={"data": b"x"}, writes=True),
    Sample("/api/whoami", "/api/whoami", writes=True),
    Sample("/api/events", "/api/events?user=ada"),
    Sample("/api/watch", "/api/watch"),
    Sample("/api/openapi.json", "/api/openapi.json"),
    Sample("/api/docs", "/api/docs"),
    Sample("/U/feed.atom", "/ada/feed.atom"),
    Sample("/U/feed.json", "/ada/feed.json"),
    Sample("/U/twtxt.txt", "/ada/twtxt.txt"),
    Sample("/-/feed.atom", "/-/feed.atom"),
    Sample("/-/feed.json", "/-/feed.json"),
    Sample("/U/badge.svg", "/ada/badge.svg"),
    Sample("/U/badge.json", "/ada/badge.json"),
    Sample("/.well-known/webfinger", "/.well-known/webfinger?resource=acct:ada@example.org"),
    Sample("/RPC2", "/RPC2", "POST", arguments={"data": _CALL, "headers": {"Content-Type": "text/xml"}}),
    Sample("/-/NAME", "/-/embed.js"),
    Sample("/-/manifest.json", "/-/manifest.json"),
    Sample("/-/instance", "/-/instance"),
    Sample("/robots.txt", "/robots.txt"),
    Sample("/favicon.ico", "/favicon.ico"),
)

_HEADINGS = ("route", "methods", "media types", "Cache-Control", "304 by", "Vary", "pages of other sites")


async def rows() -> AsyncIterator[tuple[str, ...]]:
    """The cells of the table. Raises AssertionError where the application contradicts itself."""
    async with everything() as site:
        info = await site.service.get_user("ada")
        assert info is not None
        assert info.since is not None
        for sample in SAMPLES:
            yield await _row(site, sample, sample.path.format(place=f"{info.since:%Y%m%dT%H%M%S.%fZ}"))


async def _row(site: Everything, sample: Sample, path: str) -> tuple[str, ...]:
    client = site.app.test_client()

    async def ask(method: str, **headers: str) -> Response:
        own = {**sample.arguments.get("headers", {}), **({"Authorization": site.admin} if sample.writes else {})}
        arguments = {**sample.arguments, "headers": own | headers} if method == sample.method else {"headers": headers}
        return await client.open(path, method=method, **arguments)

    options = await ask("OPTIONS", **_CORS)
    allowed = _names(options.headers["Allow"])
    assert sample.method in allowed
    for method in _METHODS - allowed:
        refused = await ask(method)
        assert (refused.status_code, _names(refused.headers["Allow"])) == (405, allowed), (path, method)
    answers = [await ask(sample.method, Accept=kind) for kind in sample.kinds]
    first = answers[0]
    assert {answer.status_code for answer in answers} == {426 if path == "/api/watch" else 200}, path
    if sample.method == "GET" and not sample.writes and path != "/api/watch":
        head = await ask("HEAD", Accept=sample.kinds[0])
        assert (head.status_code, _fields(head)) == (first.status_code, _fields(first)), path
    return (
        f"`{sample.route}`",
        ", ".join(sorted(allowed)),
        ", ".join(answer.headers["Content-Type"].partition(";")[0] for answer in answers),
        _cell(answer.headers.get("Cache-Control") for answer in answers),
        ", ".join([name async for name in _validators(ask, sample, first)]) or "-",
        _cell(answer.headers.get("Vary") for answer in answers),
        _other_sites(first, options),
    )


async def _validators(ask: Any, sample: Sample, first: Response) -> AsyncIterator[str]:
    """The fields that give 304 when they are sent back."""
    for name, condition in (("ETag", "If-None-Match"), ("Last-Modified", "If-Modified-Since")):
        value = first.headers.get(name)
        if value is not None and sample.method == "GET":
            again = await ask("GET", **{condition: value, "Accept": sample.kinds[0]})
            assert (again.status_code, await again.get_data(as_text=False)) == (304, b""), (sample.route, name)
            yield name


def _fields(response: Response) -> dict[str, str]:
    return {name.lower(): value for name, value in response.headers.items() if name.lower() != "date"}


def _other_sites(response: Response, options: Response) -> str:
    if response.headers.get("Access-Control-Allow-Origin") != "*":
        assert "Access-Control-Allow-Headers" not in options.headers
        return "no"
    assert "Access-Control-Allow-Credentials" not in response.headers
    if "Access-Control-Allow-Headers" not in options.headers:
        return "simple requests"
    assert options.headers["Access-Control-Allow-Methods"] == options.headers["Allow"]
    return "yes, with preflight"


def _names(field_value: str) -> set[str]:
    return {name.strip() for name in field_value.split(",")}


def _cell(values: Iterable[str | None]) -> str:
    return "; ".join(dict.fromkeys(value or "-" for value in values))


async def table() -> str:
    """The lines between the marks in the page."""
    lines = [" | ".join(_HEADINGS), "|".join(["---"] * len(_HEADINGS))]
    lines += [" | ".join(cells) async for cells in rows()]
    return "".join(f"| {line} |\n" for line in lines).replace("| ---|", "|---|").replace("|--- |", "|---|")


def main() -> None:
    """Write the table into the page."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n{trio.run(table)}\n{END}{rest.partition(END)[2]}")


if __name__ == "__main__":
    main()
