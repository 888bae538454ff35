"""/-/sign-in and /-/sign-out: a token is pasted once, and a cookie (`visits`) says who it is from then on.

The token travels in the body of one request and appears nowhere else: in no address, answer, cookie or log line.
"""

from __future__ import annotations

import math
from dataclasses import replace

from quart import Blueprint, Response, request

from fingertrio.accounts.accounts import ProofError
from fingertrio.accounts.tokens import Token, TokensError
from fingertrio.backend import BackendError
from fingertrio.frontends.web.elsewhere import PROGRAM
from fingertrio.frontends.web.proofs import client_address
from fingertrio.frontends.web.rendering import HTML, Pages
from fingertrio.frontends.web.visits import Visit, Visits, new_visitor, read_form
from fingertrio.observe.observer import Observer
from fingertrio.service import FingerService

DOOR = "web"  # in audit lines

_NO_COOKIE = "Your browser did not send a cookie back. Allow cookies for this site, then sign in again."
_OLD_FORM = "This form was too old. Paste the token once more."
_MISSING = "Paste your token."
_WRONG = "This token is not valid. It begins with ft_ and has 55 characters; check that you copied all of it."
_EXPIRED = "This token has expired. Ask for a new one."


def sign_in_blueprint(service: FingerService, visits: Visits, pages: Pages, observer: Observer) -> Blueprint:
    """The routes of signing in and out."""
    blueprint = Blueprint("sign_in", __name__, url_prefix="/-")
    doorkeeper = _Doorkeeper(service, visits, pages, observer)

    @blueprint.get("/sign-in")
    async def show() -> Response:
        return await doorkeeper.show()

    @blueprint.post("/sign-in")
    async def sign_in() -> Response:
        return await doorkeeper.sign_in()

    @blueprint.post("/sign-out")
    async def sign_out() -> Response:
        return await doorkeeper.sign_out()

    return blueprint


class _Doorkeeper:
    def __init__(self, service: FingerService, visits: Visits, pages: Pages, observer: Observer) -> None:
        self._service = service
        self._visits = visits
        self._pages = pages
        self._observer = observer

    async def show(self) -> Response:
        visit = await self._visits.look()
        if visit.session is not None:
            return redirect_to("me")
        return come_again() or self._page(visit)

    async def sign_in(self) -> Response:
        self._visits.check_sender()
        form, visit = await read_form(), await self._visits.look()
        if visit.session is not None:  # in another tab
            return redirect_to("me")
        if not visit.accepts(form):
            return self._page(visit, 403, _OLD_FORM if visit.visitor else _NO_COOKIE)
        secret = form.get("token", "").strip()
        if not secret:
            return self._page(visit, 422, _MISSING)
        try:
            token = await self._visits.accounts.check_token(secret, peer=client_address())
        except ProofError as error:
            self._observer.refused("http", error.reason)
            return self._refused(visit, error)
        self._report("signed_in", token)
        response = redirect_to("me")
        self._visits.keep_session(response, self._visits.sessions.begin(visit.seals, token))
        return response

    async def sign_out(self) -> Response:
        self._visits.check_sender()
        form, visit = await read_form(), await self._visits.look()
        response = redirect_to("sign-in?signed-out")
        if visit.session is None:
            return response
        if not visit.accepts(form):  # of an earlier session
            return redirect_to("me")
        self._visits.count_write()  # it writes the tokens
        try:
            await self._visits.sessions.end(visit.session)
        except (TokensError, BackendError) as error:
            self._observer.warning("sign_out_not_kept", reason=str(error), proof=f"token:{visit.session.token.id}")
        self._report("signed_out", visit.session.token)
        self._visits.drop_session(response)
        return response

    def _page(self, visit: Visit, status: int = 200, problem: str = "") -> Response:
        visit = replace(visit, session=None, visitor=visit.visitor or new_visitor())
        places = self._pages.site.places(request.scheme, request.headers.get("Host", ""))
        response = self._pages.response(
            "sign_in.html",
            status,
            form=visit.form(),
            problem=problem,
            signed_out="signed-out" in request.args,
            has_ended=visit.has_ended,
            can_set=self._service.can_set,
            program=places.program if places.is_local else PROGRAM,
        )
        self._visits.keep_visitor(response, visit)
        if visit.has_ended:
            self._visits.drop_session(response)
        return response

    def _refused(self, visit: Visit, error: ProofError) -> Response:
        if error.retry_after:
            seconds = math.ceil(error.retry_after)
            problem = f"Too many failed attempts from your address. Try again in {seconds} seconds."
            response = self._page(visit, 429, problem)
            response.headers["Retry-After"] = str(seconds)
            return response
        return self._page(visit, 401, _EXPIRED if error.reason == "expired" else _WRONG)

    def _report(self, event: str, token: Token) -> None:
        self._observer.info(event, user=token.user, door=DOOR, proof=f"token:{token.id}")


def redirect_to(page: str) -> Response:
    """To another page below /-/, by GET. The address is relative: a proxy may serve the site below another path."""
    return Response("", 303, headers={"Location": page})


def come_again() -> Response | None:
    """For a browser that followed a link from another site: a page that reloads itself; None: no need.

    A browser sends a SameSite=Strict cookie only with requests that a page of ours caused. So the first request shows
    everybody as a stranger, and the second one, which this page makes, does not.
    """
    if request.headers.get("Sec-Fetch-Site") not in {"cross-site", "same-site"}:
        return None
    return Response(_AGAIN, content_type=HTML)


_AGAIN = (
    '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="0">'
    "<title>One moment</title></head><body><p>One moment. If nothing happens, reload this page.</p></body></html>\n"
)
