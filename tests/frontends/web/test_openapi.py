"""The document says what the application has, the models what it sends, and the page shows both."""

from __future__ import annotations

import json
import re

import pytest
from pydantic import BaseModel

from fingertrio.frontends.web import api_models, writing
from fingertrio.frontends.web.api_routes import ROUTES
from fingertrio.frontends.web.app import create_app
from fingertrio.frontends.web.openapi import make_document, rule_of
from fingertrio.observe.observer import Observer
from fingertrio.service import FingerService
from fingertrio.testing import FakeReader
from tests.frontends.web.programs import everything

# For programs, besides what is below these paths: feeds and badges.
_FOR_PROGRAMS = re.compile(r"/api/|/\.well-known/|/(<user>|-)/(feed|badge|twtxt)\.")


async def test_the_table_has_exactly_the_routes_for_programs() -> None:
    async with everything() as site:
        there = {
            (method, rule.rule)
            for rule in site.app.url_map.iter_rules()
            for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
            if _FOR_PROGRAMS.match(rule.rule)
        }
        assert {(route.method, rule_of(route.path)) for route in ROUTES} == there
        document = await (await site.app.test_client().get("/api/openapi.json")).get_json()
        listed = {(method.upper(), rule_of(path)) for path, found in document["paths"].items() for method in found}
        assert listed == there
        assert document["servers"] == [{"url": "https://finger.example.org"}]


async def test_what_a_server_does_not_have_is_not_in_its_document() -> None:
    async with FingerService.open(FakeReader({"ada": "x"}), observer=Observer()) as service:
        client = create_app(service, Observer()).test_client()
        document = await (await client.get("/api/openapi.json")).get_json()
        assert not {"/api/events", "/api/users/{user}/status", "/.well-known/webfinger"} & document["paths"].keys()
        assert document["servers"] == [{"url": ".."}]


def test_each_reference_leads_somewhere_and_each_object_is_used() -> None:
    document = make_document(None, list(ROUTES))
    objects = document["components"]["schemas"]
    assert set(re.findall(r"#/components/schemas/(\w+)", json.dumps(document))) == objects.keys()
    assert {name for path in document["paths"].values() for each in path.values() for name in each["tags"]} == {
        tag["name"] for tag in document["tags"]
    }
    assert len({route.name for route in ROUTES}) == len(ROUTES)


@pytest.mark.parametrize(
    ("path", "model", "status"),
    [
        ("/api/users/ada", api_models.User, 200),
        ("/api/users", api_models.Users, 200),
        ("/api/statuses", api_models.Statuses, 200),
        ("/api/statuses?limit=1", api_models.Statuses, 200),
        ("/api/users/ada/history", api_models.History, 200),
        ("/api/users/ada/history?limit=1", api_models.History, 200),
        ("/api/whoami", api_models.Whoami, 200),
        ("/api/users/nobody", api_models.Problem, 404),
        ("/api/statuses?limit=x", api_models.Problem, 400),
        ("/.well-known/webfinger", api_models.Problem, 400),
        ("/.well-known/webfinger?resource=acct:ada@example.org", api_models.Descriptor, 200),
        ("/ada/feed.json", api_models.Feed, 200),
        ("/-/feed.json", api_models.Feed, 200),
        ("/ada/badge.json", api_models.Badge, 200),
        ("/nobody/badge.json", api_models.Badge, 404),
    ],
)
async def test_a_response_has_the_members_of_its_model_and_no_others(
    path: str, model: type[BaseModel], status: int
) -> None:
    async with everything() as site:
        response = await site.app.test_client().get(path, headers={"Authorization": site.admin})
        assert response.status_code == status
        model.model_validate_json(await response.get_data(as_text=False), strict=True, extra="forbid")


async def test_a_refused_write_names_the_fields_as_the_model_of_a_problem_says() -> None:
    async with everything() as site:
        client = site.app.test_client()
        headers = {"Authorization": site.admin}
        response = await client.put("/api/users/ada/status", json={"status": "x", "for": "ever"}, headers=headers)
        problem = api_models.Problem.model_validate_json(
            await response.get_data(as_text=False), strict=True, extra="forbid"
        )
        assert (response.status_code, [each.field for each in problem.errors]) == (422, ["for"])
        written = await client.put("/api/users/ada/status", json={"status": "x", "for": "1h"}, headers=headers)
        api_models.User.model_validate_json(await written.get_data(as_text=False), strict=True, extra="forbid")


async def test_the_page_shows_every_operation_and_object_without_script() -> None:
    async with everything() as site:
        page = await (await site.app.test_client().get("/api/docs")).get_data(as_text=True)
        ids = set(re.findall(r'<details class="card operation" id="(\w+)"', page))
        assert ids == {route.name for route in ROUTES} | make_document(None, [])["components"]["schemas"].keys()
        assert set(re.findall(r'href="#(\w+)"', page)) <= ids | {"main"}
        assert "`" not in page
        assert not re.search(r"<script(?![^>]* src=\"\.\./-/)|<style| style=| on\w+=", page)
        assert not re.findall(r'(?:src|href)="(?!https://finger\.example\.org)(?:https?:)?//', page)


@pytest.mark.parametrize("text", ["text/plain", "application/json", "application/x-www-form-urlencoded"])
def test_the_body_of_a_write_is_described_by_the_model_that_validates_it(text: str) -> None:
    document = make_document(None, list(ROUTES))
    content = document["paths"]["/api/users/{user}/status"]["put"]["requestBody"]["content"]
    assert text in content
    described = document["components"]["schemas"]["StatusWrite"]
    assert described["properties"].keys() == {"status", "until", "for"}
    assert (described["required"], described["additionalProperties"]) == (["status"], False)
    assert content["application/json"]["schema"]["$ref"].endswith(writing.StatusWrite.__name__)


@pytest.mark.parametrize(
    ("path", "methods"),
    [("/api/users/ada/status", {"DELETE", "OPTIONS", "POST", "PUT"}), ("/api/users", {"GET", "HEAD", "OPTIONS"})],
)
async def test_a_page_of_another_site_may_send_a_token_of_its_own_and_no_cookie(path: str, methods: set[str]) -> None:
    async with everything() as site:
        headers = {"Origin": "https://other.example", "Access-Control-Request-Method": "PUT"}
        response = await site.app.test_client().options(path, headers=headers)
        allowed = response.headers["Access-Control-Allow-Headers"].split(", ")
        assert response.status_code == 200
        assert set(response.headers["Access-Control-Allow-Methods"].split(", ")) == methods
        assert {"Authorization", "Content-Type", "If-Match"} <= set(allowed)
        assert response.headers["Access-Control-Allow-Origin"] == "*"
        assert "Access-Control-Allow-Credentials" not in response.headers


@pytest.mark.parametrize("path", ["/", "/ada", "/ada/feed.atom", "/RPC2", "/api/none"])
async def test_no_other_route_allows_a_preflight(path: str) -> None:
    async with everything() as site:
        headers = {"Origin": "https://other.example", "Access-Control-Request-Method": "POST"}
        response = await site.app.test_client().options(path, headers=headers)
        assert "Access-Control-Allow-Headers" not in response.headers
