"""Who sent the present request, by its cookie; forms; and the cookies that answer it.

Over https the cookies have the prefix `__Host-`: browsers then take them from this host alone, for all of its paths
and over https only, so a sibling domain cannot plant one. Over plain http no browser can promise that. There, two
cookies of one name are taken for none: one of them was planted.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import cast
from urllib.parse import parse_qsl

import trio
from quart import Response, request
from werkzeug.exceptions import BadRequest, Forbidden, UnsupportedMediaType

from fingertrio.accounts.accounts import Accounts, ProofError
from fingertrio.accounts.sessions import SESSION_LENGTH, Seals, Session, Sessions
from fingertrio.frontends.web.peers import forwarded_host
from fingertrio.frontends.web.proofs import client_address
from fingertrio.frontends.web.same_site import Sender, origin_of, sender_of
from fingertrio.net.limits import RateLimiter
from fingertrio.observe.observer import Observer

_SESSION = "fingertrio"
_VISITOR = "fingertrio-visitor"  # a browser that is not signed in, so that its form cannot come from another site
_NEWS = "fingertrio-news"  # what was done, for the page that follows

_COOKIE_LIMIT = 3800  # characters of a value; browsers keep 4096 with the name and the attributes

_FORM_LENGTH = timedelta(days=7)  # that a page may stay open before its form is too old
_VISITOR_LENGTH = timedelta(hours=12)

_OTHER_SITE = (
    "A page of another site sent this form, so nothing was changed. If it was a page of this site, its operator has to "
    "set [http] url, or let the proxy pass on the Host header"
)

_FIELDS_LIMIT = 128  # of a form; ours have 12, and two for each of 52 details


@dataclass(frozen=True, slots=True)
class Visit:
    """One request's browser.

    Attributes:
        session: who is signed in; None: no user.
        has_ended: there is a cookie of a session that has ended.
        seals: the present keys.
        visitor: the random word of a browser that is not signed in; empty: it has none.
    """

    session: Session | None
    has_ended: bool
    seals: Seals
    visitor: str = ""

    @property
    def word(self) -> str:
        """What forms for this browser are sealed for."""
        return self.session.form if self.session is not None else self.visitor

    def form(self) -> str:
        """The seal that a form for this browser has."""
        return self.seals.seal("form", self.word, _FORM_LENGTH)

    def accepts(self, form: Mapping[str, str]) -> bool:
        """Whether `form` was made for this browser as it is now."""
        sealed = self.seals.open("form", form.get("form", ""))
        return bool(self.word) and isinstance(sealed, str) and secrets.compare_digest(sealed, self.word)


class Visits:
    """Sessions of browsers.

    Args:
        accounts: knows the tokens.
        writes: how often one address may write.
        observer: counts refusals.
        url: returns the public address of the site, if it is configured.
    """

    def __init__(
        self,
        accounts: Accounts,
        writes: RateLimiter | None,
        observer: Observer,
        url: Callable[[], str | None] = lambda: None,
    ) -> None:
        self.accounts = accounts
        self.sessions = Sessions(accounts.tokens)
        self._writes = writes
        self._observer = observer
        self._url = url

    async def look(self) -> Visit:
        """The browser of the present request. Raises TokensError or BackendError where the tokens cannot be read."""
        seals = await self.sessions.seals()
        cookie = _cookie(_SESSION)
        session = await self.sessions.find(seals, cookie) if cookie else None
        has_ended = session is None and self.sessions.made(seals, cookie)
        visitor = seals.open("visitor", _cookie(_VISITOR)) if session is None else None
        return Visit(session, has_ended, seals, visitor if isinstance(visitor, str) else "")

    def check_sender(self) -> None:
        """Raise Forbidden if a page of another site sent the present request."""
        if sender_of(request.headers, self.origins()) is Sender.OTHER:
            self._observer.refused("http", "origin")
            raise Forbidden(_OTHER_SITE)

    def origins(self) -> set[str]:
        """The origins of our own pages, as far as the present request tells."""
        hosts = {request.headers.get("Host", ""), forwarded_host(request.scope)}
        found = {origin_of(f"{request.scheme}://{host}") for host in hosts if host}
        return found if (url := self._url()) is None else found | {origin_of(url)}

    def address(self) -> str:
        """The site's address as its users know it, without a slash at the end."""
        if (url := self._url()) is not None:
            return url.rstrip("/")
        return f"{request.scheme}://{forwarded_host(request.scope) or request.headers.get('Host', 'localhost')}"

    def count_write(self) -> None:
        """Count one write of this address. Raises ProofError if it writes too often."""
        peer, now = client_address(), trio.current_time()
        if self._writes is not None and not self._writes.allow(peer, now):
            self._observer.refused("http", "rate")
            raise ProofError("too many changes from your address", "rate", self._writes.wait(peer, now))

    def keep_session(self, response: Response, cookie: str) -> None:
        """Sign the browser in."""
        _keep(response, _SESSION, cookie, SESSION_LENGTH)
        _drop(response, _VISITOR)

    def renew_session(self, response: Response, visit: Visit) -> None:
        """Let the session of `visit` last longer, at most once a day."""
        if visit.session is not None and visit.session.is_old:
            self.keep_session(response, self.sessions.renew(visit.seals, visit.session))

    def drop_session(self, response: Response) -> None:
        """Forget the session in the browser."""
        for name in (_SESSION, _NEWS):
            _drop(response, name)

    def keep_visitor(self, response: Response, visit: Visit) -> None:
        """Make the browser known by the random word of `visit`."""
        _keep(response, _VISITOR, visit.seals.seal("visitor", visit.visitor, _VISITOR_LENGTH), _VISITOR_LENGTH)

    def keep_news(self, response: Response, news: str, length: timedelta) -> bool:
        """Send `news` to the next page; False: it is too long for a cookie."""
        if len(news) <= _COOKIE_LIMIT:
            _keep(response, _NEWS, news, length)
        return len(news) <= _COOKIE_LIMIT

    def news(self) -> str:
        """What was done before this page."""
        return _cookie(_NEWS)


def new_visitor() -> str:
    """A random word for a browser that is not signed in."""
    return secrets.token_urlsafe(16)


async def read_form() -> dict[str, str]:
    """The fields of the form that was sent, each once.

    Raises:
        UnsupportedMediaType, BadRequest: the body is no such form.
    """
    if request.mimetype != "application/x-www-form-urlencoded":
        raise UnsupportedMediaType("Send a form as application/x-www-form-urlencoded")
    body = cast("bytes", await request.get_data(as_text=False))
    try:
        pairs = parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=_FIELDS_LIMIT)
    except ValueError:
        raise BadRequest(f"A form has at most {_FIELDS_LIMIT} fields") from None
    form = dict(pairs)
    if len(form) != len(pairs):
        raise BadRequest("A field of the form was sent twice")
    return form


def _is_secure() -> bool:
    """Whether the browser uses https. Only a trusted proxy is asked (`peers.ForwardedClient`)."""
    return bool(request.scheme == "https")


def _name(name: str) -> str:
    return f"__Host-{name}" if _is_secure() else name


def _cookie(name: str) -> str:
    """The value of the only cookie with this name; empty: there is none, or they are several."""
    values = request.cookies.getlist(_name(name))
    return values[0] if len(values) == 1 else ""


def _keep(response: Response, name: str, value: str, length: timedelta) -> None:
    response.set_cookie(
        _name(name), value, max_age=length, path="/", secure=_is_secure(), httponly=True, samesite="Strict"
    )


def _drop(response: Response, name: str) -> None:
    response.delete_cookie(_name(name), path="/", secure=_is_secure(), httponly=True, samesite="Strict")
