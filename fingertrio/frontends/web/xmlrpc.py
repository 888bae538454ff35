"""The XML-RPC door: POST /RPC2, as in Twisted's tutorial. The table of what can be called, and what belongs to HTTP.

All methods read, so nobody is asked who they are. Those that will write can rely on this: no page on another site can
make a browser send a call here, since what browsers send without asking us first is refused by its type.
"""

from __future__ import annotations

import trio
from quart import Blueprint, Request, Response, request
from werkzeug.exceptions import MethodNotAllowed, RequestEntityTooLarge, RequestTimeout, UnsupportedMediaType

from fingertrio.backend import NO_SUCH_USER
from fingertrio.frontends.web.gate import note_question
from fingertrio.frontends.web.pages import user_page
from fingertrio.frontends.web.xmlrpc_dispatcher import Method, Reply, XMLRPCDispatcher
from fingertrio.observe.observer import Observer
from fingertrio.service import FingerService
from fingertrio.wire.text import clean
from fingertrio.wire.xmlrpc import BODY_LIMIT

# Seconds for the body of a request; an honest one is a packet or two and arrives with its headers.
BODY_DEADLINE = 10.0

# Where calls go, as everywhere; and a name that a user may have, who has a page there like all others.
_NAMESAKE = "RPC2"

# Fetch standard, "CORS-safelisted request-header": what a form or script of any site may send here without a preflight.
_CROSS_SITE_TYPES = frozenset({"application/x-www-form-urlencoded", "multipart/form-data", "text/plain"})

# Every method, for those that are not allowed are told what is; and GET is for the page of a user who is called so.
_HTTP_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


def finger_methods(service: FingerService) -> tuple[Method, ...]:
    """What can be called, besides system.*; a further method is a further row."""

    async def get_user(user: str) -> Reply:
        info = await service.get_user(user)
        return Reply(NO_SUCH_USER, "unknown") if info is None else Reply(clean(info.status))

    async def get_users() -> Reply:
        return Reply(await service.get_users(), "list")

    return (
        Method(
            name="getUser",
            returns="string",
            params=("string",),
            help=f"The status of the user of this name, lines separated by LF; {NO_SUCH_USER!r} where there is none.",
            handler=get_user,
        ),
        Method(
            name="getUsers",
            returns="array",
            params=(),
            help="The names of all users, in the order in which people should read them.",
            handler=get_users,
        ),
    )


def xmlrpc_blueprint(service: FingerService, observer: Observer) -> Blueprint:
    """The route /RPC2. Refusals that HTTP has a word for are werkzeug's exceptions, for the application to render."""
    dispatcher = XMLRPCDispatcher(finger_methods(service), observer)
    blueprint = Blueprint("xmlrpc", __name__)

    @blueprint.route(f"/{_NAMESAKE}", methods=_HTTP_METHODS, provide_automatic_options=False)
    async def rpc2() -> Response:
        if request.method != "POST":
            if request.method in {"GET", "HEAD"} and (page := await user_page(service, _NAMESAKE)) is not None:
                return page
            raise MethodNotAllowed(valid_methods=["POST"])
        if _could_be_cross_site(request):
            raise UnsupportedMediaType("XML-RPC is sent as text/xml")
        try:
            body = await _read_body(request)
        except (RequestEntityTooLarge, RequestTimeout) as refusal:
            observer.refused("xmlrpc", "deadline" if isinstance(refusal, RequestTimeout) else "body")
            raise
        answer = await dispatcher.dispatch(body)
        note_question(request.scope, "xmlrpc", answer.asked, answer.outcome)
        return Response(answer.body, content_type="text/xml; charset=utf-8")

    return blueprint


def _could_be_cross_site(request: Request) -> bool:
    """Whether a page of another site could have sent this unasked. A browser says where from (Origin), others need not.

    Any other type is taken, XML or not: many a client does not care about its headers.
    """
    if not request.mimetype:
        return "Origin" in request.headers
    return request.mimetype in _CROSS_SITE_TYPES


async def _read_body(request: Request) -> bytes:
    if (request.content_length or 0) > BODY_LIMIT:
        raise RequestEntityTooLarge
    body = bytearray()
    with trio.move_on_after(BODY_DEADLINE):
        async for chunk in request.body:
            body += chunk
            if len(body) > BODY_LIMIT:
                raise RequestEntityTooLarge
        return bytes(body)
    raise RequestTimeout
