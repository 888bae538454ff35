"""The interface for programs described by itself: `/api/openapi.json` (OpenAPI 3.1), and `/api/docs` for people.

Both are made from `api_routes`, the models of `api_models` and the routes that this application has, when somebody
first asks. The page needs no script, and nothing from elsewhere.

Source: https://spec.openapis.org/oas/v3.1.1.html.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from quart import Blueprint, Response, current_app

from fingertrio.frontends.web.api_models import MODELS
from fingertrio.frontends.web.api_page import kind, sections, shape
from fingertrio.frontends.web.api_routes import JSON, PROBLEM, ROUTES, SCHEMAS, Parameter, Route
from fingertrio.frontends.web.negotiation import TEXT
from fingertrio.frontends.web.rendering import HTML, Pages
from fingertrio.frontends.web.replaying import replay_while
from fingertrio.frontends.web.writing import StatusWrite
from fingertrio.http.replay import ALWAYS

_VERSION = "3.1.0"
_INTERFACE = "1"  # of this interface: a number changes only if a member loses its meaning
_REF = "#/components/schemas/{model}"

_ABOUT = (
    "A user's status, for programs. Reading needs no key, also from pages of other sites. Writing needs a token: "
    "`fingertrio token add NAME`. Every GET works as HEAD, too, and gives 304 for the ETag that it gave. "
    "OPTIONS names the methods of a path. Later versions may add members to an object."
)

_USER = Parameter("{user}", "A login name.", {"type": "string", "minLength": 1}, required=True)

# What every request can meet: limits, a bug, a backend that does not answer.
_ALWAYS_POSSIBLE = (429, 500, 503)

# Errors of these paths are problem documents; of others pages, or text for those who ask for it.
_WITH_PROBLEMS = ("/api/", "/.well-known/")

# Operations that a link can show: without a name, a token or an end.
_TRIED = frozenset({"getStatuses", "getUsers", "getAtom", "getFeed"})

_NAMES = {413: "Content Too Large", 422: "Unprocessable Content"}  # RFC 9110; Python before 3.13 has older ones
_MEANINGS = {
    307: "The account is on another server: see `Location`",
    400: "A parameter or the body cannot be understood",
    401: "There is no valid token",
    403: "This is not allowed",
    404: "There is no such user, or this server does not offer it",
    412: "The status has changed since it was read",
    415: "The body has a type or a coding that is not supported",
    422: "Fields are wrong; `errors` names each of them",
    426: "This is not a WebSocket handshake",
    429: "Too many requests from one address",
    503: "The source of statuses is unavailable, or there are too many requests",
}
_HEADERS = {401: "WWW-Authenticate", 307: "Location", 426: "Upgrade", 429: "Retry-After", 503: "Retry-After"}


def openapi_blueprint(pages: Pages) -> Blueprint:
    """The routes of both. The document has the routes that the application has when it is first asked for."""
    blueprint = Blueprint("openapi", __name__, url_prefix="/api")
    documents = _Documents()

    @blueprint.get("/openapi.json")
    async def openapi() -> Response:
        replay_while(ALWAYS)
        document = documents.of(pages.site.url, _is_there)
        return Response(f"{json.dumps(document, ensure_ascii=False)}\n", content_type=JSON)

    @blueprint.get("/docs")
    async def docs() -> Response:
        replay_while(ALWAYS)
        document = documents.of(pages.site.url, _is_there)
        return pages.response(
            "api.html",
            address="api/docs",
            document=document,
            sections=list(sections(document)),
            tried=_TRIED,
            kind=kind,
            shape=shape,
        )

    return blueprint


class _Documents:
    """Keeps the document that was made last."""

    def __init__(self) -> None:
        self._made: tuple[str | None, dict[str, Any]] | None = None

    def of(self, url: str | None, is_there: Callable[[Route], bool]) -> dict[str, Any]:
        if self._made is None or self._made[0] != url:
            self._made = (url, make_document(url, [route for route in ROUTES if is_there(route)]))
        return self._made[1]


def _is_there(route: Route) -> bool:
    """Whether the application has this route: some depend on the configuration."""
    rule = rule_of(route.path)
    return any(each.rule == rule and route.method in (each.methods or ()) for each in current_app.url_map.iter_rules())


def rule_of(path: str) -> str:
    """A path as the application has it: `/api/users/<user>`."""
    return path.replace("{", "<").replace("}", ">")


def make_document(url: str | None, routes: list[Route]) -> dict[str, Any]:
    """The OpenAPI document.

    Args:
        url: the public address of this server; None: the document is found on it.
        routes: what it has.
    """
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    models: list[type[BaseModel]] = [*MODELS, StatusWrite]
    _, schemas = models_json_schema([(model, "validation") for model in models], ref_template=_REF)
    return {
        "openapi": _VERSION,
        "info": {"title": "fingertrio", "version": _INTERFACE, "description": _ABOUT},
        "servers": [{"url": url or ".."}],  # relative to the document's own address
        "tags": [{"name": name} for name in dict.fromkeys(route.tag for route in routes)],
        "paths": paths,
        "components": {
            "schemas": schemas["$defs"],
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "From `fingertrio token add NAME`."}
            },
        },
    }


def _operation(route: Route) -> dict[str, Any]:
    found: dict[str, Any] = {"operationId": route.name, "tags": [route.tag], "summary": route.summary}
    if route.text:
        found["description"] = route.text
    in_path = (_USER,) if "{user}" in route.path else ()
    if parameters := [_parameter(each) for each in (*in_path, *route.parameters)]:
        found["parameters"] = parameters
    if route.body:
        found["requestBody"] = {"required": True, "content": _content(route.body)}
    if route.proof:
        found["security"] = [{"token": []}]
    found["responses"] = dict(_responses(route))
    return found


def _parameter(parameter: Parameter) -> dict[str, Any]:
    in_path = parameter.name.startswith("{")
    found = {
        "name": parameter.name.strip("{}"),
        "in": "path" if in_path else "query",
        "description": parameter.text,
        "schema": dict(parameter.schema),
    }
    return found | {"required": True} if parameter.required else found


def _responses(route: Route) -> Iterator[tuple[str, dict[str, Any]]]:
    answer: dict[str, Any] = {"description": _name(route.status)}
    if route.answer:
        answer["content"] = _content(route.answer)
    if route.method == "GET" and route.answer and "text/event-stream" not in route.answer:
        answer["headers"] = _header("ETag")
        yield str(route.status), answer
        yield "304", {"description": "The client has it already", "headers": _header("ETag")}
    else:
        yield str(route.status), answer
    errors = {*route.errors, *_ALWAYS_POSSIBLE, *((404,) if route.unknown else ())}
    has_problems = route.path.startswith(_WITH_PROBLEMS)
    for status in sorted(errors):
        content = {PROBLEM: "Problem"} if has_problems else {HTML: "string", TEXT: "string"}
        if status == 404 and route.unknown:
            content = dict(route.unknown)
        found: dict[str, Any] = {"description": _MEANINGS.get(status, _name(status))}
        if status in _HEADERS:
            found["headers"] = _header(_HEADERS[status])
        if status >= 400:
            found["content"] = _content(content)
        yield str(status), found


def _content(kinds: Mapping[str, str]) -> dict[str, Any]:
    return {kind: {"schema": _schema(name)} for kind, name in kinds.items()}


def _schema(name: str) -> dict[str, object]:
    if name in SCHEMAS:
        return dict(SCHEMAS[name])
    return {"type": name} if name.islower() else {"$ref": _REF.format(model=name)}


def _header(name: str) -> dict[str, Any]:
    return {name: {"schema": {"type": "string"}}}


def _name(status: int) -> str:
    return _NAMES.get(status) or HTTPStatus(status).phrase
