"""The JSON interface, for programs: the list of users and one user, as on the pages.

    GET /api/users           {"users": [{"user": "moshez", "url": "/api/users/moshez"}, ...], "stale_since": ...}
    GET /api/users/moshez    {"user": ..., "status": ..., "emoji": ..., "line": ..., "name": ..., "since": ...,
                              "until": ..., "details": {...}, "stale_since": ...}

`stale_since` is the time since when the data may be out of date because its source is unavailable; null: up to date.
`emoji` and `line` are the first line of the status, taken apart (`wire.emoji`). Unknown values are null; `details` is
always an object whose values are strings. Times are RFC 3339, in UTC. Text is UTF-8, clean (`wire.text`), and the lines
of a status are separated by LF. Later versions may add members; existing members keep their meaning. Errors are
`application/problem+json` (RFC 9457). Pages of other sites may read everything here: it is public.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from urllib.parse import quote

from quart import Blueprint, Response, request
from werkzeug.exceptions import HTTPException, NotFound

from fingertrio.backend import NO_SUCH_USER, UserInfo
from fingertrio.frontends.web.gate import note_outcome
from fingertrio.frontends.web.replaying import replay_while
from fingertrio.frontends.web.shared import SharedBody
from fingertrio.service import FingerService
from fingertrio.service.cache import Answer
from fingertrio.wire.live import timestamp
from fingertrio.wire.text import clean_line
from fingertrio.wire.user_json import user_json

PREFIX = "/api/"

NO_LIST = "This server does not list its users"


def api_blueprint(service: FingerService) -> Blueprint:
    """The routes below /api/."""
    blueprint = Blueprint("api", __name__, url_prefix="/api")
    listed = SharedBody(_users_document)

    @blueprint.get("/users")
    async def users() -> Response:
        if not service.can_list:
            raise NotFound(NO_LIST)
        answer = await service.ask_users()
        note_outcome(request.scope, "list")
        replay_while(answer)
        return listed.response(answer, "application/json")

    @blueprint.get("/users/<user>")
    async def user(user: str) -> Response:
        answer = await service.ask_user(user)
        if answer.value is None:
            raise NotFound(NO_SUCH_USER)
        replay_while(answer)
        return Response(user_document(answer), content_type="application/json")

    return blueprint


def user_document(answer: Answer[UserInfo | None]) -> bytes:
    """The body of GET /api/users/U for an answer that is not None."""
    if answer.value is None:
        raise AssertionError("there is no such user")
    return _dump(user_json(answer.value) | {"stale_since": timestamp(answer.stale_since)})


def user_response(info: UserInfo) -> Response:
    """The response to a write: what GET /api/users/U gives from now on."""
    return Response(_dump(user_json(info) | {"stale_since": None}), content_type="application/json")


def json_response(document: Mapping[str, object]) -> Response:
    """A response with a JSON object."""
    return Response(_dump(document), content_type="application/json")


class UnprocessableContent(HTTPException):
    """The request is well-formed and cannot be carried out (RFC 9110 section 15.5.21).

    Args:
        errors: what is wrong, by the field of the request.
    """

    code = 422
    name = "Unprocessable Content"

    def __init__(self, errors: Mapping[str, str]) -> None:
        super().__init__("; ".join(f"{field}: {text}" if field else text for field, text in errors.items()))
        self.errors = errors


def problem(status: int, title: str, detail: str, errors: Mapping[str, str] | None = None) -> Response:
    """An error response as defined by RFC 9457."""
    body = problem_body(status, title, detail, request.path, errors)
    return Response(body, status, mimetype="application/problem+json")


def problem_body(status: int, title: str, detail: str, path: str, errors: Mapping[str, str] | None = None) -> bytes:
    """The body of an error response to a request for `path`, as text without percent-encoding.

    Type "about:blank" means that the status code alone identifies the problem. The instance is a URI reference.
    `errors` has what is wrong with each field of the request.
    """
    document: dict[str, object] = {
        "type": "about:blank",
        "title": title,
        "status": status,
        "detail": clean_line(detail),
        "instance": quote(path),
    }
    if errors is not None:
        document["errors"] = [{"field": field, "detail": clean_line(text)} for field, text in errors.items()]
    return _dump(document)


def _users_document(answer: Answer[tuple[str, ...]]) -> bytes:
    users = [{"user": name, "url": f"{PREFIX}users/{quote(name, safe='')}"} for name in answer.value]
    return _dump({"stale_since": timestamp(answer.stale_since), "users": users})


def _dump(document: Mapping[str, object]) -> bytes:
    return f"{json.dumps(document, ensure_ascii=False)}\n".encode()
