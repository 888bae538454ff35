"""The JSON that this server sends, as models: what `/api/openapi.json` says, and what tests hold responses against.

Handlers build their documents without them, since a model for each response would cost more than the response. A test
compares both, member by member. `StatusWrite`, the body of a write, is in `writing`: that one validates.

Members without a default are always there. Clients must accept further members.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class _Model(BaseModel):
    # Built when the document is first asked for, so that a start does not wait for it.
    model_config = ConfigDict(defer_build=True)


_StaleSince = Annotated[
    datetime | None,
    Field(description="since when this may be out of date, as its source is unavailable; null: up to date"),
]


class Status(_Model):
    """One status in a history."""

    status: Annotated[str, Field(description="clean text, lines separated by LF; empty: it was cleared")]
    emoji: Annotated[str | None, Field(description="the emoji at the start of the first line that is not blank")]
    line: Annotated[str, Field(description="the rest of that line")]
    since: Annotated[datetime | None, Field(description="when it was set; null: unknown")]
    until: Annotated[datetime | None, Field(description="when it ends or ended; null: it has no end")]


class ListedUser(Status):
    """A user in a list of statuses."""

    user: Annotated[str, Field(description="the login name")]
    name: Annotated[str | None, Field(description="the full name")]
    details: Annotated[dict[str, str], Field(description="further texts, by name")]


class User(ListedUser):
    """A user and the present status."""

    stale_since: _StaleSince


class UserAddress(_Model):
    """Where a user is found."""

    user: Annotated[str, Field(description="the login name")]
    url: Annotated[str, Field(description="a URI reference", json_schema_extra={"format": "uri-reference"})]


class Users(_Model):
    """The login names."""

    users: list[UserAddress]
    stale_since: _StaleSince


class Statuses(_Model):
    """A page of the newest statuses."""

    statuses: list[ListedUser]
    next: Annotated[str | None, Field(description="`before` of the next page; null: there are no more")]
    stale_since: _StaleSince


class History(_Model):
    """A page of the statuses of one user, the newest first."""

    user: str
    statuses: list[Status]
    next: Annotated[datetime | None, Field(description="`before` of the next page; null: there are no more")]
    stale_since: _StaleSince


class Whoami(_Model):
    """Whose token it is."""

    user: str
    admin: Annotated[bool, Field(description="whether it may write for every user")]


class FieldProblem(_Model):
    """What is wrong with one field of the request."""

    field: str
    detail: str


class Problem(_Model):
    """An error (RFC 9457)."""

    type: Literal["about:blank"]
    title: str
    status: Annotated[int, Field(description="the status code")]
    detail: Annotated[str, Field(description="what is wrong, and what to do next")]
    instance: Annotated[str, Field(description="the path of the request")]
    errors: Annotated[list[FieldProblem], Field(description="with status 422: each wrong field")] = []


class Badge(_Model):
    """A badge, as the endpoint schema of shields.io."""

    schemaVersion: Literal[1]  # noqa: N815 -- the name in that schema
    label: str
    message: str
    color: str
    isError: bool  # noqa: N815
    cacheSeconds: int  # noqa: N815


class Link(_Model):
    """A link of a descriptor."""

    rel: str
    href: str = ""
    type: str = ""
    titles: dict[str, str] = {}


class Descriptor(_Model):
    """A JSON Resource Descriptor (RFC 7033)."""

    subject: str
    aliases: list[str] = []
    properties: dict[str, str | None] = {}
    links: list[Link]


class FeedAuthor(_Model):
    """Whose status it is."""

    name: str
    url: str


class FeedItem(_Model):
    """One status in a feed."""

    id: str
    url: str
    content_text: str
    date_published: datetime
    authors: list[FeedAuthor] = []


class Feed(_Model):
    """A feed (JSON Feed 1.1)."""

    version: Literal["https://jsonfeed.org/version/1.1"]
    title: str
    home_page_url: str
    feed_url: str
    icon: str
    next_url: Annotated[str | None, Field(description="the next page; missing: there are no more")] = None
    authors: list[FeedAuthor] = []
    items: list[FeedItem]


MODELS: tuple[type[BaseModel], ...] = (Badge, Descriptor, Feed, History, Problem, Statuses, User, Users, Whoami)
