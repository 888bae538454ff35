"""The web application: what pages, JSON, XML-RPC and the live feed have in common.

Every response passes `_finish`, which adds the security headers. Every failure passes `show_error`, which renders a
page or, below /api/, `application/problem+json` (RFC 9457). So handlers only raise: BackendError becomes a 503 with its
public message, an unexpected exception a 500 that hides its cause, and a handler that runs too long is cancelled.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from types import TracebackType

import trio
from quart import Blueprint, Response, request
from quart.ctx import RequestContext
from quart.typing import ResponseReturnValue
from quart.wrappers.response import DataBody
from quart_trio import QuartTrio
from werkzeug.exceptions import (
    Forbidden,
    HTTPException,
    InternalServerError,
    NotFound,
    RequestEntityTooLarge,
    ServiceUnavailable,
    UnsupportedMediaType,
)

from fingertrio.accounts.accounts import ProofError
from fingertrio.accounts.tokens import TokensError
from fingertrio.accounts.writer import NotAllowedError
from fingertrio.backend import INTERNAL_ERROR, BackendError
from fingertrio.frontends.web import api, cors
from fingertrio.frontends.web.badges import badges_blueprint
from fingertrio.frontends.web.feeds import feeds_blueprint
from fingertrio.frontends.web.gate import scope_extras
from fingertrio.frontends.web.headers import HEADERS
from fingertrio.frontends.web.history_pages import history_blueprint
from fingertrio.frontends.web.listings import listings_blueprint
from fingertrio.frontends.web.negotiation import text_response, varying, wants_text
from fingertrio.frontends.web.openapi import openapi_blueprint
from fingertrio.frontends.web.pages import pages_blueprint
from fingertrio.frontends.web.private import private_blueprints
from fingertrio.frontends.web.proofs import Proofs, refusal
from fingertrio.frontends.web.reading import LateRequest
from fingertrio.frontends.web.rendering import Pages, UnknownUser
from fingertrio.frontends.web.site_files import site_blueprint
from fingertrio.frontends.web.stream import Stream
from fingertrio.frontends.web.visits import Visits
from fingertrio.frontends.web.writing import writing_blueprint
from fingertrio.frontends.web.xmlrpc import xmlrpc_blueprint
from fingertrio.http.event_stream import CONTENT_TYPE
from fingertrio.observe.observer import Observer
from fingertrio.service import FingerService
from fingertrio.wire.presets import Presets
from fingertrio.wire.text import clean_line

# Seconds for one handler. The service's deadline for the backend (5 s) acts first; this one bounds several backend
# calls in a row (XML-RPC multicall) and bugs.
HANDLER_DEADLINE = 30.0

_BODY_DEADLINE = 10.0  # seconds for a request body to arrive, from when its handler reads it
_BODY_LIMIT = 256 * 1024  # bytes of a request body: many times an XML-RPC call that contains a whole status

_RETRY_AFTER = "5"  # seconds that a failed backend is given to recover

# RFC 9110 section 9.1: other methods are not implemented at all (501); these may be unsuitable for a resource (405).
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "QUERY"})

_WELL_KNOWN = "/.well-known/"  # RFC 8615: for programs

_ExcInfo = tuple[type, BaseException, TracebackType] | tuple[None, None, None]


def create_app(
    service: FingerService,
    observer: Observer,
    *,
    proofs: Proofs | None = None,
    live: Blueprint | None = None,
    pages: Pages | None = None,
    visits: Visits | None = None,
    presets: Callable[[], Presets] = dict,
    stream: Stream | None = None,
    more: Iterable[Blueprint] = (),
    deadline: float = HANDLER_DEADLINE,
) -> QuartTrio:
    """A new ASGI application. Each start of the server needs a new one: Quart's cannot be served twice.

    Args:
        service: answers the handlers' questions.
        observer: logs unexpected exceptions.
        proofs: what a client that writes has to prove; None: nothing can be written.
        live: the routes of the live feed, if its hub runs.
        pages: renders the pages; None: those of a site with no name of its own.
        visits: who is signed in on the web; None: no user can be.
        presets: returns the statuses with a name.
        stream: makes the pages of the stream, and runs; None: one that keeps nothing in memory.
        more: further routes.
        deadline: seconds that a handler may take.
    """
    pages = pages or Pages()
    app = _App(observer, deadline, pages)
    for blueprint in _reading_blueprints(service, pages, stream or Stream(service, observer)):
        app.register_blueprint(blueprint)
    app.register_blueprint(xmlrpc_blueprint(service, observer, proofs))
    if proofs is not None:
        app.register_blueprint(writing_blueprint(service, proofs))
    if live is not None:
        pages.is_live = True
        app.register_blueprint(live)
    if visits is not None:
        pages.signs_in = service.can_set
        for blueprint in private_blueprints(service, visits, pages, observer, presets):
            app.register_blueprint(blueprint)
    for blueprint in more:
        app.register_blueprint(blueprint)
    app.handle_errors()
    app.after_request(_finish)
    return app


def _reading_blueprints(service: FingerService, pages: Pages, stream: Stream) -> list[Blueprint]:
    """The routes that only read, and that every site has."""
    return [
        pages_blueprint(service, pages, stream),
        history_blueprint(service, pages),
        site_blueprint(pages),
        feeds_blueprint(service, pages),
        badges_blueprint(service),
        api.api_blueprint(service),
        listings_blueprint(service),
        openapi_blueprint(pages),
    ]


class _App(QuartTrio):
    request_class = LateRequest

    def __init__(self, observer: Observer, deadline: float, pages: Pages) -> None:
        super().__init__(__name__, static_folder=None)
        self._pages = pages
        self._observer = observer
        self._deadline = deadline
        self.config["MAX_CONTENT_LENGTH"] = _BODY_LIMIT
        self.config["BODY_TIMEOUT"] = _BODY_DEADLINE
        self.url_map.merge_slashes = False  # no redirects: names contain no slash

    async def dispatch_request(self, request_context: RequestContext | None = None) -> ResponseReturnValue:
        _check_request(self._observer)
        with trio.fail_after(self._deadline):
            return await super().dispatch_request(request_context)

    def handle_errors(self) -> None:
        """Show every failure of a handler."""
        self.register_error_handler(HTTPException, self.show_error)
        self.register_error_handler(BackendError, self.show_backend_error)
        self.register_error_handler(ProofError, self.show_refusal)
        self.register_error_handler(NotAllowedError, self.show_not_allowed)
        self.register_error_handler(TokensError, self.show_tokens_error)
        self.register_error_handler(trio.TooSlowError, self.show_too_slow)

    async def show_error(self, error: HTTPException) -> Response:
        """Any HTTP error: as problem+json below /api/; elsewhere as a page, or as text for those who want text."""
        status = error.code or 500
        detail = INTERNAL_ERROR if status == 500 else error.description or error.name
        if detail == NotFound.description:  # werkzeug's long default text
            detail = "This page does not exist"
        if request.path.startswith((api.PREFIX, _WELL_KNOWN)):
            errors = error.errors if isinstance(error, api.UnprocessableContent) else None
            response = api.problem(status, error.name, detail, errors)
        elif wants_text(request.headers):
            response = text_response(clean_line(detail), status)
        else:
            unknown = error if isinstance(error, UnknownUser) else None
            response = varying(self._pages.error(status, error.name, detail, unknown))
        for name, value in error.get_headers():
            if name != "Content-Type":  # above all Allow, which a 405 requires
                response.headers[name] = value
        return response

    async def show_backend_error(self, error: BackendError) -> Response:
        response = await self.show_error(ServiceUnavailable(error.public_message))
        response.headers["Retry-After"] = _RETRY_AFTER
        return response

    async def show_refusal(self, error: ProofError) -> Response:
        return await self.show_error(refusal(error))

    async def show_not_allowed(self, error: NotAllowedError) -> Response:
        return await self.show_error(Forbidden(str(error)))

    async def show_too_slow(self, _error: trio.TooSlowError) -> Response:
        return await self.show_backend_error(BackendError("The request took too long, please try again later"))

    async def show_tokens_error(self, error: TokensError) -> Response:
        self._observer.error("tokens_unreadable", reason=str(error))
        return await self.show_error(InternalServerError())

    def log_exception(self, exception_info: _ExcInfo) -> None:
        self._observer.error("http_handler_failed", exc=exception_info[1])


class _UnknownMethod(HTTPException):
    code = 501
    description = "This server does not implement the method of this request"


class _CompressedBody(UnsupportedMediaType):
    description = "Compressed request bodies are not supported: send the body without Content-Encoding"

    def get_headers(self, *_: object) -> list[tuple[str, str]]:
        return [("Accept-Encoding", "identity")]  # RFC 9110 section 15.5.16


def _check_request(observer: Observer) -> None:
    """Refuse what no route can process, before the body is read."""
    scope = scope_extras(request.scope)
    if scope["method"] not in _METHODS:  # Quart's is in upper case, but "get" is no method
        raise _UnknownMethod
    sent = {name for name, _ in scope["headers"]}
    if b"content-length" in sent and request.routing_exception is None and (request.content_length or 0) > _BODY_LIMIT:
        observer.refused("http", "body")
        raise RequestEntityTooLarge
    if b"content-encoding" not in sent:
        return
    codings = {coding.strip().lower() for coding in request.headers.get("Content-Encoding", "").split(",")}
    if codings - {"", "identity"} and request.method in {"POST", "PUT", "PATCH", "DELETE"}:
        raise _CompressedBody


async def _finish(response: Response) -> Response:
    """Add the fields that every response has, and an ETag. Called for each response, so it avoids what is slow."""
    cors.allow(response, request.path, request.method)
    present = {name.lower() for name, _ in response.headers}  # `setdefault` would look for each of them by itself
    for name, value in HEADERS.items():
        if name.lower() not in present:
            response.headers.add(name, value)
    if response.status_code != 200 or not isinstance(response.response, DataBody):
        return response
    scope = scope_extras(request.scope)
    if scope["method"] in {"GET", "HEAD"} and response.mimetype != CONTENT_TYPE:
        if "etag" not in present:
            response.headers.add("ETag", f'"{hashlib.md5(response.response.data, usedforsecurity=False).hexdigest()}"')
        if any(name.startswith((b"if-", b"range")) for name, _ in scope["headers"]):
            await response.make_conditional(request)
    return response
