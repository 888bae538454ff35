"""XML-RPC at POST /RPC2, as in Twisted's tutorial: the methods, and the HTTP part.

Methods that read need no proof. `setUser` needs a token, in the Authorization header or as a parameter. A page of
another site cannot make a browser send a call, because the content types that need no preflight are refused.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import cast

import trio
from quart import Blueprint, Request, Response, request
from werkzeug.exceptions import MethodNotAllowed, RequestEntityTooLarge, RequestTimeout, UnsupportedMediaType

from fingertrio.accounts.accounts import ProofError
from fingertrio.accounts.tokens import looks_like_token
from fingertrio.accounts.writer import NotAllowedError
from fingertrio.backend import NO_SUCH_USER
from fingertrio.frontends.web.compressed import Compressed
from fingertrio.frontends.web.gate import note_question
from fingertrio.frontends.web.proofs import Proofs
from fingertrio.frontends.web.replaying import replay_while
from fingertrio.frontends.web.shared import SharedBody
from fingertrio.frontends.web.xmlrpc_dispatcher import Method, Reply, XMLRPCDispatcher
from fingertrio.observe.observer import Observer
from fingertrio.service import FingerService
from fingertrio.wire.text import clean, clean_line
from fingertrio.wire.when import parse_when
from fingertrio.wire.xmlrpc import BODY_LIMIT, Fault, FaultCode, XMLRPCError, dump_response

# Seconds for a request body. A normal one is one or two packets and arrives with its headers.
BODY_DEADLINE = 10.0

# The usual path of XML-RPC. It is also a valid user name, whose page is elsewhere (see `pages.RESERVED`).
_PATH = "/RPC2"

# Fetch standard, "CORS-safelisted request-header": the types that a page of any site may send without a preflight.
_CROSS_SITE_TYPES = frozenset({"application/x-www-form-urlencoded", "multipart/form-data", "text/plain"})

# All methods, so that each 405 comes from here with the right Allow header, and not from the page of a user.
_ALLOWED = ["OPTIONS", "POST"]
_HTTP_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "QUERY")


def finger_methods(service: FingerService, proofs: Proofs | None) -> tuple[Method, ...]:
    """The methods besides system.*; a new method is one more row."""
    listed: SharedBody[tuple[str, ...]] = SharedBody(lambda answer: dump_response(answer.value))

    async def get_user(user: str) -> Reply:
        answer = await service.ask_user(user)
        if answer.value is None:
            return Reply(NO_SUCH_USER, "unknown")
        return Reply(clean(answer.value.status), source=answer)

    async def get_users() -> Reply:
        answer = await service.ask_users()
        return Reply(answer.value, "list", listed.bytes_of(answer), source=answer)

    async def set_user(user: str, status: str, third: str = "", until: str = "") -> Reply:
        token, until = (third, until) if looks_like_token(third) or until else ("", third)
        return await _set_user(service, cast("Proofs", proofs), user, status, token, until)

    writing = Method(
        name="setUser",
        returns="string",
        params=("string", "string"),
        optional=("string", "string"),
        help=(
            "Sets the status of the user with this name and returns it; an empty one takes it back. The token is in "
            "the header Authorization: Bearer, or the third parameter. The last one may be when it ends: 40m, 17:00."
        ),
        handler=set_user,
    )
    return (
        *(() if proofs is None else (writing,)),
        Method(
            name="getUser",
            returns="string",
            params=("string",),
            help=f"The status of the user with this name, lines separated by LF; {NO_SUCH_USER!r} if there is none.",
            handler=get_user,
        ),
        Method(
            name="getUsers",
            returns="array",
            params=(),
            help="The names of all users, in display order.",
            handler=get_users,
        ),
    )


async def _set_user(service: FingerService, proofs: Proofs, user: str, status: str, token: str, until: str) -> Reply:
    try:
        writer = await proofs.writer(token or None, door="xmlrpc")
        end = parse_when(until, datetime.now(UTC)) if until else None
        if status:
            info = await service.set_user(user, status, writer=writer, until=end)
        elif (cleared := await service.clear_user(user, writer=writer)) is None:
            return Reply(Fault(FaultCode.APPLICATION, NO_SUCH_USER), "unknown")
        else:
            info = cleared
    except (ProofError, NotAllowedError) as error:
        return Reply(Fault(FaultCode.APPLICATION, str(error)), "denied")
    except ValueError as error:
        raise XMLRPCError(FaultCode.BAD_PARAMS, clean_line(str(error))) from error
    return Reply(clean(info.status))


def xmlrpc_blueprint(service: FingerService, observer: Observer, proofs: Proofs | None = None) -> Blueprint:
    """The route /RPC2. Refusals with an HTTP status are werkzeug exceptions, which the application renders."""
    dispatcher = XMLRPCDispatcher(finger_methods(service, proofs), observer)
    blueprint = Blueprint("xmlrpc", __name__)
    compressed = Compressed()

    @blueprint.route(_PATH, methods=_HTTP_METHODS, provide_automatic_options=False)
    async def rpc2() -> Response:
        if request.method != "POST":
            return _respond_without_call()
        if _could_be_cross_site(request):
            raise UnsupportedMediaType("Send XML-RPC calls with Content-Type: text/xml")
        try:
            body = await _read_body(request)
        except (RequestEntityTooLarge, RequestTimeout) as refusal:
            observer.refused("xmlrpc", "deadline" if isinstance(refusal, RequestTimeout) else "body")
            raise
        done = await dispatcher.dispatch(body, request.mimetype_params.get("charset"))
        note_question(request.scope, "xmlrpc", done.asked, done.outcome)
        kind = "text/xml; charset=utf-8"
        if done.source is None:
            return Response(done.body, content_type=kind)
        replay_while(done.source)
        return compressed.response(done.body, kind)

    return blueprint


def _respond_without_call() -> Response:
    """The methods that are allowed."""
    if request.method == "OPTIONS":
        return Response(b"", headers={"Allow": ", ".join(_ALLOWED)})
    raise MethodNotAllowed(valid_methods=_ALLOWED)


def _could_be_cross_site(request: Request) -> bool:
    """Whether a page of another site could have sent this without a preflight.

    Without a Content-Type, an Origin header shows that a browser sent it. All other types are accepted, XML or not,
    because many XML-RPC clients send a wrong one.
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
