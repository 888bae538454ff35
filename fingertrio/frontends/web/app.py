"""The web application: what is common to pages, JSON, XML-RPC and the live feed.

Every response leaves through one place, which adds the headers that keep a browser from doing more with it than show
it. Every failure arrives in one place, which turns it into a page or, below /api/, into `application/problem+json` (RFC
9457). Handlers just raise: BackendError is a 503 with its public message, whatever nobody foresaw a 500 that says
nothing of its cause, and a handler that takes too long is stopped.
"""

from __future__ import annotations

from types import TracebackType

import trio
from quart import Blueprint, Response, request
from quart.ctx import RequestContext
from quart.typing import ResponseReturnValue
from quart_trio import QuartTrio
from werkzeug.exceptions import HTTPException, NotFound, ServiceUnavailable

from fingertrio.backend import INTERNAL_ERROR, BackendError
from fingertrio.frontends.web import api, pages
from fingertrio.observe.observer import Observer
from fingertrio.service import FingerService

# Seconds for one handler. The service's own deadline for the backend (5 s) acts before; this is for the sum of several
# questions (XML-RPC's multicall), and for bugs.
HANDLER_DEADLINE = 30.0

_BODY_DEADLINE = 10.0  # seconds for a request's body to arrive, once its handler asks for it
_BODY_LIMIT = 256 * 1024  # bytes of a request's body: an XML-RPC call with a whole status, many times over

_RETRY_AFTER = "5"  # seconds: what fails because of its backend has been given that long to recover

_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",  # keep it, but ask (by its ETag) before showing it: statuses change
}

_ExcInfo = tuple[type, BaseException, TracebackType] | tuple[None, None, None]


def create_app(
    service: FingerService, observer: Observer, *, live: Blueprint | None = None, deadline: float = HANDLER_DEADLINE
) -> QuartTrio:
    """The ASGI application, fresh; Quart's cannot be served twice.

    Args:
        service: what is asked.
        observer: told of what nobody foresaw.
        live: the routes of the live feed, which needs somebody to run its hub.
        deadline: seconds that a handler may take.
    """
    from fingertrio.frontends.web.xmlrpc import xmlrpc_blueprint  # noqa: PLC0415

    app = _App(observer, deadline)
    app.register_blueprint(pages.pages_blueprint(service))
    app.register_blueprint(api.api_blueprint(service))
    app.register_blueprint(xmlrpc_blueprint(service, observer))
    if live is not None:
        app.register_blueprint(live)
    app.register_error_handler(HTTPException, _show_error)
    app.register_error_handler(BackendError, _show_backend_error)
    app.register_error_handler(trio.TooSlowError, _show_too_slow)
    app.after_request(_finish)
    return app


class _App(QuartTrio):
    def __init__(self, observer: Observer, deadline: float) -> None:
        super().__init__(__name__, static_folder=None)
        self._observer = observer
        self._deadline = deadline
        self.config["MAX_CONTENT_LENGTH"] = _BODY_LIMIT
        self.config["BODY_TIMEOUT"] = _BODY_DEADLINE
        self.url_map.merge_slashes = False  # no name contains a slash, so there is nothing to redirect to

    async def dispatch_request(self, request_context: RequestContext | None = None) -> ResponseReturnValue:
        with trio.fail_after(self._deadline):
            return await super().dispatch_request(request_context)

    def log_exception(self, exception_info: _ExcInfo) -> None:
        self._observer.error("http_handler_failed", exc=exception_info[1])


async def _finish(response: Response) -> Response:
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    whole = isinstance(response.response, response.data_body_class)
    if whole and response.status_code == 200 and request.method in {"GET", "HEAD"}:
        await response.add_etag()
        await response.make_conditional(request)
    return response


async def _show_error(error: HTTPException) -> Response:
    """Any HTTP error, in the form that its asker can use."""
    status = error.code or 500
    detail = INTERNAL_ERROR if status == 500 else error.description or error.name
    if detail == NotFound.description:  # werkzeug's own words, which doubt the asker's spelling at length
        detail = "There is nothing here"
    if request.path.startswith(api.PREFIX):
        response = api.problem(status, error.name, detail)
    else:
        response = pages.error_page(status, error.name, detail)
    for name, value in error.get_headers():
        if name != "Content-Type":  # above all Allow, which belongs to a 405
            response.headers[name] = value
    return response


async def _show_backend_error(error: BackendError) -> Response:
    response = await _show_error(ServiceUnavailable(error.public_message))
    response.headers["Retry-After"] = _RETRY_AFTER
    return response


async def _show_too_slow(_error: trio.TooSlowError) -> Response:
    return await _show_backend_error(BackendError("This took too long"))
