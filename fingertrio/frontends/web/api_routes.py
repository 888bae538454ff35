"""The routes for programs, as a table: `openapi` makes its document and its page from it.

Named tuples, since a dataclass takes a millisecond of every start to be made.

A test compares it with the routes that the application has, so a new one needs its entry here.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from fingertrio.frontends.web.api_schemas import BEFORE, DURATION, END, URI, WORDS
from fingertrio.frontends.web.negotiation import TEXT
from fingertrio.frontends.web.rendering import HTML
from fingertrio.wire import feeds, live, webfinger

JSON = "application/json"
PROBLEM = "application/problem+json"

# Schemas by the name that content types below give them.
_STRING = "string"
_WORDS = "words"

# Schemas by these names, besides the names of types and of models.
SCHEMAS: Mapping[str, Mapping[str, object]] = {_WORDS: WORDS}


_NONE: Mapping[str, str] = MappingProxyType({})


class Parameter(NamedTuple):
    """One parameter.

    Attributes:
        name: as in the request; "{user}" stands in the path.
        text: what it means.
        schema: of its value.
        required: whether it must be there.
    """

    name: str
    text: str
    schema: Mapping[str, object] = MappingProxyType({"type": "string"})
    required: bool = False


class Route(NamedTuple):
    """What one method does at one path.

    Attributes:
        path, method: "/api/users/{user}" and "GET".
        name: the operation's id.
        tag: the section that it stands in.
        summary: what it does, in a line.
        text: what else a caller has to know.
        parameters: of the query.
        body: what it takes: media types with the names of their schemas; empty: nothing.
        proof: whether it needs a token.
        answer: what it gives: media types with the names of their schemas; empty: no body.
        status: of that answer.
        errors: the statuses of errors besides those that every route can give.
        unknown: what status 404 has as its body, if not what all errors have.
    """

    path: str
    name: str
    tag: str
    summary: str
    method: str = "GET"
    text: str = ""
    parameters: tuple[Parameter, ...] = ()
    body: Mapping[str, str] = _NONE
    proof: bool = False
    answer: Mapping[str, str] = _NONE
    status: int = 200
    errors: tuple[int, ...] = ()
    unknown: Mapping[str, str] = _NONE


_LIMIT = Parameter(
    "limit", "How many, 1 to 100; a larger number counts as 100.", {"type": "integer", "minimum": 1, "default": 50}
)
_PLACE = Parameter("before", "`next` of the page before. Opaque.")
_TIME = Parameter("before", "Only statuses before this time: `next` of the page before.", BEFORE)
_FEED_PLACE = Parameter("before", "A place in the feed, as the address of its next page has it. Opaque.")
_UNTIL = Parameter(
    "until",
    "When it ends: `17:00`, `tomorrow`, `2026-12-24T18:00Z`; later than now. Not together with `for`.",
    END,
)
_FOR = Parameter("for", "How long it holds: `40m`, `1h30m`, `3d`.", DURATION)
_WATCHED = Parameter(
    "user",
    "A user to watch, up to 100 times. None: all users, if the server lists them.",
    {"type": "array", "items": {"type": "string"}, "maxItems": 100},
)
_SNAPSHOT = Parameter("snapshot", "`1`: first the present statuses.", {"enum": ["0", "1"], "default": "0"})
_SINCE = Parameter("since", "The last id that was received: first come the changes after it.")
_RESOURCE = Parameter("resource", "`acct:ada@example.org`, or the address of a user's page.", URI, required=True)
_REL = Parameter(
    "rel", "Only links with this relation; several times for several.", {"type": "array", "items": {"type": "string"}}
)

_USER = {JSON: "User"}
_TAKES = {"text/plain": _WORDS, "application/x-www-form-urlencoded": _WORDS, JSON: "StatusWrite"}
_REFUSALS = (401, 403, 412, 422)

_READ, _WRITE, _FOLLOW, _FEEDS, _ELSEWHERE = "Reading", "Writing", "Following", "Feeds", "In other places"


ROUTES = (
    Route(
        path="/api/statuses",
        name="getStatuses",
        tag=_READ,
        summary="The newest statuses",
        parameters=(_LIMIT, _PLACE),
        answer={JSON: "Statuses"},
        errors=(400, 404),
    ),
    Route(
        path="/api/users",
        name="getUsers",
        tag=_READ,
        summary="The login names",
        answer={JSON: "Users"},
        errors=(404,),
    ),
    Route(
        path="/api/users/{user}",
        name="getUser",
        tag=_READ,
        summary="A user and the present status",
        answer=_USER,
        errors=(404,),
    ),
    Route(
        path="/api/users/{user}/history",
        name="getHistory",
        tag=_READ,
        summary="What a user said, the newest first",
        parameters=(_LIMIT, _TIME),
        answer={JSON: "History"},
        errors=(400, 404),
    ),
    *(
        Route(
            method=method,
            path="/api/users/{user}/status",
            name=name,
            tag=_WRITE,
            summary="Set a status",
            text="The body is the status. `If-Match` takes the ETag of the user, and then only what you have read is "
            "overwritten; `If-None-Match: *` sets only a first status. The answer is the user from now on.",
            parameters=(_UNTIL, _FOR),
            body=_TAKES,
            proof=True,
            answer=_USER,
            errors=(400, 408, 413, 415, *_REFUSALS),
        )
        for method, name in (("PUT", "setStatus"), ("POST", "postStatus"))
    ),
    Route(
        method="DELETE",
        path="/api/users/{user}/status",
        name="clearStatus",
        tag=_WRITE,
        summary="Take a status back",
        text="`If-Match` takes the ETag of the user.",
        proof=True,
        answer=_USER,
        errors=(404, 415, *_REFUSALS),
    ),
    Route(
        path="/api/whoami",
        name="whoami",
        tag=_WRITE,
        summary="Whose token this is",
        proof=True,
        answer={JSON: "Whoami"},
        errors=(401,),
    ),
    Route(
        path=live.EVENTS_PATH,
        name="followEvents",
        tag=_FOLLOW,
        summary="Every change, as server-sent events",
        text="The messages are those of the WebSocket. The header `Last-Event-ID` counts as `since`.",
        parameters=(_WATCHED, _SNAPSHOT, _SINCE),
        answer={"text/event-stream": _STRING},
        errors=(400, 404),
    ),
    Route(
        path=live.PATH,
        name="watch",
        tag=_FOLLOW,
        summary="Every change, over a WebSocket",
        text="Connect with a WebSocket client. The messages are JSON; the documentation has them under live feed.",
        parameters=(_WATCHED, _SNAPSHOT, _SINCE),
        status=101,
        errors=(400, 403, 404, 426),
    ),
    *(
        Route(
            path=path,
            name=name,
            tag=_FEEDS,
            summary=summary,
            parameters=(_FEED_PLACE,),
            answer={kind: schema},
            errors=(400, 404),
        )
        for path, name, summary, kind, schema in (
            ("/{user}/feed.atom", "getUserAtom", "What a user said, as Atom", feeds.ATOM, _STRING),
            ("/{user}/feed.json", "getUserFeed", "What a user said, as JSON Feed", feeds.JSON, "Feed"),
            ("/-/feed.atom", "getAtom", "The newest statuses, as Atom", feeds.ATOM, _STRING),
            ("/-/feed.json", "getFeed", "The newest statuses, as JSON Feed", feeds.JSON, "Feed"),
            ("/{user}/twtxt.txt", "getTwtxt", "The last 100 statuses of a user, for twtxt", TEXT, _STRING),
        )
    ),
    Route(
        path="/{user}/badge.svg",
        name="getBadge",
        tag=_ELSEWHERE,
        summary="The status as a picture",
        answer={"image/svg+xml; charset=utf-8": _STRING},
        unknown={"image/svg+xml; charset=utf-8": _STRING},
    ),
    Route(
        path="/{user}/badge.json",
        name="getShield",
        tag=_ELSEWHERE,
        summary="The status for shields.io",
        answer={JSON: "Badge"},
        unknown={JSON: "Badge"},
    ),
    Route(
        path=webfinger.PATH,
        name="webfinger",
        tag=_ELSEWHERE,
        summary="Who an account is (RFC 7033)",
        text="A user whose account is on another server is answered with status 307.",
        parameters=(_RESOURCE, _REL),
        answer={webfinger.CONTENT_TYPE: "Descriptor"},
        errors=(307, 400, 404),
    ),
    Route(
        path="/api/openapi.json",
        name="getOpenApi",
        tag=_ELSEWHERE,
        summary="This interface, as OpenAPI 3.1",
        answer={JSON: "object"},
    ),
    Route(
        path="/api/docs",
        name="getDocs",
        tag=_ELSEWHERE,
        summary="This interface, as a page",
        answer={HTML: _STRING},
    ),
)
