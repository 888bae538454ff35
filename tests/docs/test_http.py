"""docs/reference/http.md: its table of routes is what the application does."""

from __future__ import annotations

from tests.frontends.web.http_table import BEGIN, END, PAGE, SAMPLES, table
from tests.frontends.web.programs import everything

# Parts of a rule, as the table writes them.
_PARTS = {"<user>": "U", "<moment>": "TIME", "<name>": "NAME"}


async def test_the_table_of_routes_is_what_the_application_does():
    """Each cell comes from a response; that 304, 405 and HEAD agree with the cells is asserted on the way."""
    page = PAGE.read_text().partition(BEGIN)[2].partition(END)[0]
    assert page.strip() == (await table()).strip(), "run: make reference"


async def test_every_route_has_a_row():
    async with everything() as site:
        routes = {rule.rule for rule in site.app.url_map.iter_rules()}
    for part, name in _PARTS.items():
        routes = {route.replace(part, name) for route in routes}
    assert {sample.route for sample in SAMPLES} == routes
