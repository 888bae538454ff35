"""What /-/me shows: the present status as its page shows it, the form, presets, and a command that works."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from quart import Response

from fingertrio.accounts.sessions import Session
from fingertrio.backend import NO_PLAN, BackendError, UserInfo
from fingertrio.frontends.web.last_change import LastChange, fingerprint
from fingertrio.frontends.web.me_details import KNOWN, DetailsForm
from fingertrio.frontends.web.me_form import MyForm, zone_name
from fingertrio.frontends.web.profile import profile
from fingertrio.frontends.web.rendering import Pages
from fingertrio.frontends.web.text import href, written
from fingertrio.frontends.web.visits import Visit, Visits
from fingertrio.service import FingerService
from fingertrio.wire.presets import Presets
from fingertrio.wire.status import LINES_LIMIT, STATUS_LIMIT
from fingertrio.wire.text import first_line

_NAMES = 500  # user names that an administrator is offered; any other can be typed

_NOTHING = "Nothing yet"  # of a user who is not known yet

_LINE = 40  # characters of a preset's status on its button

_DONE = {
    "set": "Your status is set.",
    "cleared": "Your status is cleared.",
    "undone": "The change was taken back.",
    "described": "Your name and details are saved.",
}


@dataclass(frozen=True, slots=True)
class _PresetButton:
    name: str
    line: str
    end: str


@dataclass(frozen=True, slots=True)
class Typed:
    """What was typed and is to be shown again.

    Attributes:
        mine: the status and its end; None: show what is set.
        described: name and details; None: the same.
        named: whose status the form was about, while there is no session.
        is_preview: show the status as it would look.
    """

    mine: MyForm | None = None
    described: DetailsForm | None = None
    named: str = ""
    is_preview: bool = False


class MyPage:
    """Renders the page.

    Args:
        service: knows what is set.
        visits: knows the site's address.
        pages: renders templates.
        presets: returns the statuses with a name.
    """

    def __init__(self, service: FingerService, visits: Visits, pages: Pages, presets: Callable[[], Presets]) -> None:
        self._service = service
        self._visits = visits
        self._pages = pages
        self._presets = presets

    async def show(
        self,
        visit: Visit,
        user: str,
        status: int = 200,
        *,
        typed: Typed | None = None,
        problem: str = "",
        change: LastChange | None = None,
        sealed: str = "",
    ) -> Response:
        """The page.

        Args:
            visit: of the browser. Without a session, the page shows what was typed, and how to sign in.
            user: whose status; empty: without a session.
            status: of the response.
            typed: what was typed; None: show what is set.
            problem: why nothing was done.
            change: what was done just now.
            sealed: the same, for the form that takes it back.
        """
        info, typed = None, typed or Typed()
        try:
            info = await self._service.get_user(user) if user else None
        except BackendError as error:
            problem = problem or f"{error.public_message}. What is set now cannot be shown."
        return self._pages.response(
            "me.html",
            status,
            users=await self._names(visit.session),
            problem=problem,
            done=None if change is None else _DONE.get(change.kind),
            change=sealed if change is not None and change.before is not None and change.user == user else None,
            is_described=typed.described is not None or (change is not None and change.kind == "described"),
            **_forms(visit, user, typed),
            **self._status(user, info, typed),
            **self._details(info, typed),
            **self._elsewhere(user, info),
        )

    def _status(self, user: str, info: UserInfo | None, typed: Typed) -> Mapping[str, Any]:
        """What is set, and the form that sets another."""
        mine = typed.mine or MyForm.showing(info, zone_name(info))
        if typed.is_preview and "status" not in mine.wrong:
            card = _card(mine.status)
        else:
            card = _card(_NOTHING, is_empty=True) if info is None else _card(info.status)
        return {
            "user": user,
            "who": profile(info or UserInfo(user, ""), self._pages.minute()) if user else None,
            "exists": info is not None,
            **card,
            "mine": mine,
            "is_typed": typed.mine is not None,
            "is_preview": typed.is_preview,
            "presets": self._buttons(),
            "can_set": self._service.can_set,
            "can_clear": self._service.can_clear and bool(info and info.status),
            "bytes_limit": STATUS_LIMIT,
            "lines_limit": LINES_LIMIT,
        }

    def _details(self, info: UserInfo | None, typed: Typed) -> Mapping[str, Any]:
        """The form with name and details; without one where there is no user yet."""
        described = typed.described or (None if info is None else DetailsForm.showing(info))
        return {"described": described, "known": KNOWN, "can_set_details": self._service.can_set_details}

    def _elsewhere(self, user: str, info: UserInfo | None) -> Mapping[str, Any]:
        """How to set the status without this page, and to show it on others."""
        return {
            "command": self._command(user),
            "embeds": list(self._embeds(user)),
            "badge": f"{href(user)}/badge.svg?{fingerprint(info)}",  # browsers keep each for two minutes
        }

    def preview(self, text: str) -> str:
        """A status as the user's page shows it: a part of a page."""
        return self._pages.html("me_card.html", root="", **_card(text))

    async def _names(self, session: Session | None) -> tuple[str, ...]:
        """The users that an administrator may choose."""
        if session is not None and session.token.scope == "admin" and self._service.can_list:
            with suppress(BackendError):
                return (await self._service.get_users())[:_NAMES]
        return ()

    def _buttons(self) -> list[_PresetButton]:
        return [
            _PresetButton(name, first_line(preset["status"])[:_LINE], preset.get("for") or preset.get("until") or "")
            for name, preset in self._presets().items()
        ]

    def _embeds(self, user: str) -> Iterator[str]:
        """What puts the status into other pages: a picture in Markdown and in HTML, and the text itself by script."""
        site, name = self._visits.address(), href(user)
        yield f"[![{user}]({site}/{name}/badge.svg)]({site}/{name})"
        yield f'<img src="{site}/{name}/badge.svg" alt="{user}">'
        yield f'<script src="{site}/-/embed.js" defer></script>\n<span data-fingertrio="{user}"></span>'

    def _command(self, user: str) -> str:
        """A command line that sets the status, but for the token."""
        url = f"{self._visits.address()}/api/users/{href(user)}/status?for=40m"
        return f'curl -H "Authorization: Bearer $TOKEN" -d coffee \\\n  {shlex.quote(url)}'


def _forms(visit: Visit, user: str, typed: Typed) -> Mapping[str, Any]:
    """What all forms of the page have: their seal, and whose status they are about."""
    is_own = visit.session is None or visit.session.token.user == user
    return {
        "session": visit.session,
        "form": visit.form(),
        "is_own": is_own,
        "about": typed.named if visit.session is None else "" if is_own else user,
        "action": "me" if is_own else f"me?user={href(user)}",
    }


def _card(status: str | None, *, is_empty: bool = False) -> Mapping[str, Any]:
    """The variables of me_card.html."""
    return {"card": written(status or NO_PLAN), "is_empty": is_empty or not status}
