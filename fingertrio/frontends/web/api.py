"""The JSON interface, for programs: two questions, the same two that the pages answer.

    GET /api/users           {"users": [{"user": "moshez", "url": "/api/users/moshez"}, ...]}
    GET /api/users/moshez    {"user": ..., "status": ..., "name": ..., "since": ..., "until": ..., "details": {...}}

What is not known is null; `details` is always an object, of strings. Times are RFC 3339, in UTC. Text is UTF-8, clean
(`wire.text`), and a status has LF between its lines. Members may be added, and none will change its meaning. Errors are
`application/problem+json` (RFC 9457). Pages of other sites may ask too: what is public here is public.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import quote

from quart import Blueprint, Response, request
from werkzeug.exceptions import NotFound

from fingertrio.backend import NO_SUCH_USER, UserInfo
from fingertrio.frontends.web.gate import note_outcome
from fingertrio.service import FingerService
from fingertrio.wire.text import clean, clean_line

PREFIX = "/api/"

NO_LIST = "No list of users is kept here"


def api_blueprint(service: FingerService) -> Blueprint:
    """The routes below /api/."""
    blueprint = Blueprint("api", __name__, url_prefix="/api")

    @blueprint.get("/users")
    async def users() -> Response:
        if not service.can_list:
            raise NotFound(NO_LIST)
        names = await service.get_users()
        note_outcome(request.scope, "list")
        return _json({"users": [{"user": name, "url": f"{PREFIX}users/{quote(name, safe='')}"} for name in names]})

    @blueprint.get("/users/<user>")
    async def user(user: str) -> Response:
        info = await service.get_user(user)
        if info is None:
            raise NotFound(NO_SUCH_USER)
        return _json(describe(info))

    @blueprint.after_app_request
    async def allow_origins(response: Response) -> Response:
        if request.path.startswith(PREFIX):
            response.headers["Access-Control-Allow-Origin"] = "*"
        return response

    return blueprint


def describe(info: UserInfo) -> dict[str, object]:
    """The JSON object for one user."""
    return {
        "user": info.user,
        "status": clean(info.status),
        "name": None if info.name is None else clean_line(info.name),
        "since": _timestamp(info.since),
        "until": _timestamp(info.until),
        "details": {clean_line(key): clean(value) for key, value in info.details.items()},
    }


def problem(status: int, title: str, detail: str) -> Response:
    """An error as RFC 9457 describes it."""
    return Response(
        problem_body(status, title, detail, quote(request.path)), status, mimetype="application/problem+json"
    )


def problem_body(status: int, title: str, detail: str, instance: str) -> bytes:
    """The document of such an error; "about:blank" says that the status code is all there is to its type."""
    document = {
        "type": "about:blank",
        "title": title,
        "status": status,
        "detail": clean_line(detail),
        "instance": instance,
    }
    return f"{json.dumps(document, ensure_ascii=False)}\n".encode()


def _timestamp(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _json(document: Mapping[str, object]) -> Response:
    return Response(json.dumps(document, ensure_ascii=False) + "\n", mimetype="application/json")
