"""/-/me: a user sets the status, when it ends, takes it back, and takes back having done so.

Everything works without script: each button sends a form, and the answer is a redirect (303) to the page, or the page
again with all that was typed and what is wrong next to each field. The script adds a live preview and the browser's
time zone. What was done is in a cookie of some seconds (`last_change`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import datetime
from weakref import WeakValueDictionary

import trio
from quart import Blueprint, Response, request
from werkzeug.exceptions import Forbidden, NotFound

from fingertrio.accounts.accounts import ProofError
from fingertrio.accounts.writer import NotAllowedError, Writer
from fingertrio.backend import BackendError
from fingertrio.frontends.web.last_change import (
    UNDO_LENGTH,
    LastChange,
    beneath,
    change_of,
    fingerprint,
    open_change,
    take_back,
)
from fingertrio.frontends.web.me_details import DetailsForm
from fingertrio.frontends.web.me_form import MyForm, sentence
from fingertrio.frontends.web.me_view import MyPage, Typed
from fingertrio.frontends.web.rendering import HTML
from fingertrio.frontends.web.signing_in import DOOR, come_again, redirect_to
from fingertrio.frontends.web.text import href
from fingertrio.frontends.web.visits import Visit, Visits, read_form
from fingertrio.names import canonical_name, check_user_name
from fingertrio.service import FingerService
from fingertrio.wire.presets import Presets
from fingertrio.wire.status import STATUS_LIMIT

_RETRY_AFTER = "5"  # seconds that a failed backend is given to recover

_ENDED = "Your session has ended, and nothing was changed. What you typed stays here."
_OTHER_SESSION = (
    "This page was opened in an earlier session, or long ago, and nothing was changed. You are {user} now. What you "
    "typed is below: press the button once more if it is right."
)
_CHANGED = "The status was changed again meanwhile, so nothing was taken back."
_TOO_LATE = "It is too late to take the change back. Set the status again instead."

Action = Callable[["_Request"], Awaitable[Response]]


def me_blueprint(service: FingerService, visits: Visits, page: MyPage, presets: Callable[[], Presets]) -> Blueprint:
    """The routes of a user's own page."""
    blueprint = Blueprint("me", __name__, url_prefix="/-")
    me = _Me(service, visits, page, presets)

    @blueprint.get("/me")
    async def show() -> Response:
        return await me.show()

    @blueprint.post("/me")
    async def act() -> Response:
        return await me.act()

    @blueprint.post("/me/preview")
    async def show_preview() -> Response:
        """For the script: a status as the user's page shows it."""
        visits.check_sender()
        form, visit = await read_form(), await visits.look()
        if visit.session is None:
            raise Forbidden("Sign in first")
        # A longer text cannot be set, and the page says so.
        return Response(page.preview(form.get("status", "")[:STATUS_LIMIT]), content_type=HTML)

    @blueprint.get("/me/session")
    async def session() -> Response:
        """For the script of an open page: who is signed in now, and a form's seal for this session."""
        visit = await visits.look()
        found = None if visit.session is None else {"user": visit.session.token.user, "form": visit.form()}
        response = Response(json.dumps(found), 200 if found else 401, content_type="application/json")
        visits.renew_session(response, visit)
        return response

    return blueprint


class _Request:
    """One form that was sent, and for whom."""

    def __init__(self, visit: Visit, form: Mapping[str, str], user: str) -> None:
        self.visit = visit
        self.form = form
        self.mine = MyForm.of(form)
        self.described = DetailsForm.of(form)
        self.user = user


class _Me:
    def __init__(self, service: FingerService, visits: Visits, page: MyPage, presets: Callable[[], Presets]) -> None:
        self._service = service
        self._visits = visits
        self._page = page
        self._presets = presets
        self._locks: WeakValueDictionary[str, trio.Lock] = WeakValueDictionary()
        self._actions: Mapping[str, Action] = {
            "set": self._set,
            "preset": self._set_preset,
            "clear": self._clear,
            "undo": self._undo,
            "preview": self._preview,
            "details": self._describe,
        }

    async def show(self) -> Response:
        visit = await self._visits.look()
        if visit.session is None:
            return come_again() or redirect_to("sign-in")
        user = _user_of(visit, request.args.get("user", ""))
        sealed = self._visits.news()
        response = await self._page.show(visit, user, change=open_change(visit, sealed), sealed=sealed)
        self._visits.renew_session(response, visit)
        return response

    async def act(self) -> Response:
        self._visits.check_sender()
        form, visit = await read_form(), await self._visits.look()
        if visit.session is None:
            return await self._again(_Request(visit, form, ""), 401, _ENDED)
        if not visit.accepts(form):
            return await self._ask_again(visit, form, visit.session.token.user)
        wanted = _Request(visit, form, _user_of(visit, form.get("user", "")))
        action = self._actions.get(form.get("do", "set").partition(":")[0], self._set)
        try:
            return await action(wanted)
        except ProofError as error:
            seconds = max(1, math.ceil(error.retry_after))
            response = await self._again(wanted, 429, f"Too many changes from here. Try again in {seconds} seconds.")
            response.headers["Retry-After"] = str(seconds)
        except NotAllowedError as error:
            response = await self._again(wanted, 403, sentence(str(error)))
        except BackendError as error:
            problem = f"{error.public_message}. Nothing was changed, or only in part; try again in some seconds."
            response = await self._again(wanted, 503, problem)
            response.headers["Retry-After"] = _RETRY_AFTER
        return response

    async def _ask_again(self, visit: Visit, form: Mapping[str, str], user: str) -> Response:
        """The page of the present session, with what was typed in another one."""
        about = user
        with suppress(NotAllowedError, NotFound):
            about = _user_of(visit, form.get("user", ""))
        return await self._again(_Request(visit, form, about), 403, _OTHER_SESSION.format(user=user))

    async def _again(self, wanted: _Request, status: int, problem: str = "") -> Response:
        """The page with what was typed. A form that was not sent shows what is set."""
        typed = Typed(
            mine=wanted.mine if "status" in wanted.form else None,
            described=wanted.described if "name" in wanted.form else None,
            named=wanted.form.get("user", ""),
        )
        return await self._page.show(wanted.visit, wanted.user, status, typed=typed, problem=problem)

    async def _set(self, wanted: _Request) -> Response:
        status, until = wanted.mine.check()
        if wanted.mine.wrong:
            return await self._again(wanted, 422)
        return await self._store(wanted, status, until)

    async def _set_preset(self, wanted: _Request) -> Response:
        preset = self._presets().get(wanted.form["do"].partition(":")[2])
        if preset is None:
            return await self._again(wanted, 422, "This button is no longer there. Nothing was changed.")
        until = wanted.mine.check_until(preset.get("for") or preset.get("until") or "")
        if wanted.mine.wrong:
            return await self._again(wanted, 422)
        return await self._store(wanted, preset["status"], until)

    async def _store(self, wanted: _Request, status: str, until: datetime | None) -> Response:
        self._visits.count_write()
        async with self._locked(wanted.user):
            before = await self._service.get_user(wanted.user)
            lasting = await beneath(self._service, before)
            try:
                info = await self._service.set_user(wanted.user, status, writer=_writer(wanted), until=until)
            except ValueError as error:
                wanted.mine.wrong["status"] = sentence(str(error))
                return await self._again(wanted, 422)
        return await self._done(wanted, change_of(self._service, "set", before, lasting, info))

    async def _clear(self, wanted: _Request) -> Response:
        self._visits.count_write()
        async with self._locked(wanted.user):
            before = await self._service.get_user(wanted.user)
            lasting = await beneath(self._service, before)
            info = await self._service.clear_user(wanted.user, writer=_writer(wanted))
        if info is None:
            return await self._again(wanted, 422, "There is no status to clear.")
        return await self._done(wanted, change_of(self._service, "cleared", before, lasting, info))

    async def _undo(self, wanted: _Request) -> Response:
        change = open_change(wanted.visit, wanted.form.get("change", ""))
        if change is None or change.before is None:
            return await self._again(wanted, 422, _TOO_LATE)
        self._visits.count_write()
        async with self._locked(change.user):
            if fingerprint(await self._service.get_user(change.user)) != change.after:
                return await self._again(wanted, 409, _CHANGED)
            try:
                await take_back(self._service, change, _writer(wanted))
            except ValueError as error:
                return await self._again(wanted, 422, sentence(f"the status of before cannot be set again: {error}"))
        return await self._done(wanted, LastChange("undone", change.user))

    async def _describe(self, wanted: _Request) -> Response:
        described = wanted.described
        details = described.details()
        if described.wrong:
            return await self._again(wanted, 422)
        self._visits.count_write()
        try:
            await self._service.set_details(wanted.user, name=described.name, details=details, writer=_writer(wanted))
        except ValueError as error:
            described.take(error)
            return await self._again(wanted, 422)
        return await self._done(wanted, LastChange("described", wanted.user))

    async def _preview(self, wanted: _Request) -> Response:
        wanted.mine.check()
        typed = Typed(mine=wanted.mine, is_preview=True)
        return await self._page.show(wanted.visit, wanted.user, 422 if wanted.mine.wrong else 200, typed=typed)

    async def _done(self, wanted: _Request, change: LastChange) -> Response:
        """The page that reports a change: by a redirect, or at once if the change is too large for a cookie."""
        own = wanted.visit.session is not None and wanted.user == wanted.visit.session.token.user
        response = redirect_to("me" if own else f"me?user={href(wanted.user)}")
        sealed = change.seal(wanted.visit)
        if self._visits.keep_news(response, sealed, UNDO_LENGTH):
            return response
        return await self._page.show(wanted.visit, wanted.user, change=change, sealed=sealed)

    def _locked(self, user: str) -> trio.Lock:
        return self._locks.setdefault(user, trio.Lock())


def _writer(wanted: _Request) -> Writer:
    if wanted.visit.session is None:
        raise AssertionError("the session was checked")
    return wanted.visit.session.writer(DOOR)


def _user_of(visit: Visit, name: str) -> str:
    """Whose status it is about: the session's user, or for an administrator the one that was named.

    Raises:
        NotAllowedError, NotFound: it may not be this user, or can be no user's name.
    """
    if visit.session is None:
        raise AssertionError("the session was checked")
    writer, name = visit.session.writer(DOOR), canonical_name(name.strip())
    user = name or visit.session.token.user
    writer.check(user)
    try:
        return check_user_name(user)
    except ValueError as error:
        raise NotFound(f"{error}") from error
