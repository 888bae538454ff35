"""WebFinger for the users of this server (RFC 7033): /.well-known/webfinger.

    GET /.well-known/webfinger?resource=acct:ada@example.org
    GET /.well-known/webfinger?resource=https://finger.example.org/ada&rel=http://webfinger.net/rel/profile-page

Off until the operator names domains; they may differ from the host of this site. A user chooses further links in the
detail `webfinger`; a user with the detail `fediverse` is described by that account's own server, and gets a redirect.

A hidden user and one that does not exist get the same bytes. With `issuer`, both get a descriptor of one link, as every
account at the domain does: a provider of identities may know accounts that have no status here.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import quote

from quart import Blueprint, Response, request
from werkzeug.exceptions import BadRequest, NotFound

from fingertrio.backend import NO_SUCH_USER, UserInfo
from fingertrio.frontends.web.replaying import replay_while
from fingertrio.frontends.web.site import Site
from fingertrio.service import FingerService
from fingertrio.wire import feeds
from fingertrio.wire.details import webfinger_links
from fingertrio.wire.webfinger import (
    CONTENT_TYPE,
    ISSUER,
    PATH,
    PROFILE_PAGE,
    Account,
    Descriptor,
    Link,
    Question,
    WebFingerError,
    dump_descriptor,
    parse_account,
    parse_page,
    parse_question,
    to_query,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class WebFingerPolicy:
    """Which accounts are described.

    Attributes:
        domains: the hosts of the accounts; a user has one account at each, the first one is the user's subject.
        issuer: the OpenID Connect provider of every account at these domains.
    """

    domains: tuple[str, ...] = ()
    issuer: str | None = None


def webfinger_blueprint(
    service: FingerService, policy: Callable[[], WebFingerPolicy], site: Callable[[], Site]
) -> Blueprint:
    """The route of WebFinger."""
    blueprint = Blueprint("webfinger", __name__)

    @blueprint.get(PATH)
    async def webfinger() -> Response:
        rules, base = policy(), site().url
        if not rules.domains or base is None:
            raise NotFound("This server does not answer WebFinger")
        try:
            question = parse_question(request.query_string)
        except WebFingerError as error:
            raise BadRequest(str(error)) from None
        account = _account(question, rules, base)
        if account is None:
            raise NotFound(NO_SUCH_USER)
        found = await service.ask_user(account.user)
        info = found.value
        replay_while(found, any_query=info is not None and _is_usual(question))
        elsewhere = None if info is None else _fediverse(info)
        if elsewhere is not None and not _asks_issuer(question, rules):
            return _redirect(elsewhere, question)
        return _answer(account, info, question, rules, base)

    return blueprint


def _account(question: Question, rules: WebFingerPolicy, base: str) -> Account | None:
    """The account at our domains that the question is about."""
    account = parse_account(question.resource)
    if account is not None:
        return account if account.host in rules.domains else None
    user = parse_page(question.resource, base)
    return None if user is None else Account(user, rules.domains[0])


def _is_usual(question: Question) -> bool:
    """Whether clients ask so: of other parameters and relations there is no end, and each would be kept."""
    is_short = request.query_string.count(b"&") == len(question.rels)
    return is_short and question.rels in {(), (ISSUER,), (PROFILE_PAGE,), ("self",)}


def _asks_issuer(question: Question, rules: WebFingerPolicy) -> bool:
    """Whether only the provider of identities is wanted, which is ours also for accounts described elsewhere."""
    return rules.issuer is not None and question.rels == (ISSUER,)


def _fediverse(info: UserInfo) -> Account | None:
    """The user's account on another server, which describes it."""
    return parse_account(f"acct:{info.details.get('fediverse', '').removeprefix('@')}")


def _redirect(account: Account, question: Question) -> Response:
    """To the server of that account (section 4.2: by https only)."""
    place = f"https://{account.host}{PATH}?{to_query(Question(str(account), question.rels))}"
    return Response(b"", 307, headers={"Location": place}, content_type="text/plain")


def _answer(account: Account, info: UserInfo | None, question: Question, rules: WebFingerPolicy, base: str) -> Response:
    links: list[Link] = []
    aliases: list[str] = []
    if info is not None:
        account = Account(info.user, account.host)
        page = f"{base}/{quote(info.user, safe='')}"
        aliases = [page, *(str(Account(info.user, host)) for host in rules.domains if host != account.host)]
        links += [
            Link(PROFILE_PAGE, page, "text/html"),
            Link("alternate", f"{base}/api/users/{quote(info.user, safe='')}", "application/json"),
            Link("alternate", f"{page}/feed.atom", feeds.ATOM),
            Link("alternate", f"{page}/feed.json", feeds.JSON),
        ]
    if rules.issuer is not None:
        links.append(Link(ISSUER, rules.issuer))
    elif info is None:
        raise NotFound(NO_SUCH_USER)
    if info is not None:
        with suppress(ValueError):  # from a backend that checks less than we do
            links += [Link(each.rel, each.href, each.type) for each in webfinger_links(info.details)]
    descriptor = Descriptor(str(account), tuple(aliases), links=tuple(links))
    return Response(dump_descriptor(descriptor, question.rels), content_type=CONTENT_TYPE)
