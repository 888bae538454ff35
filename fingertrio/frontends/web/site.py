"""How a site calls itself, and how it looks: what the operator can say about the pages."""

from __future__ import annotations

from dataclasses import dataclass

from fingertrio.frontends.web.assets import Asset

TITLE = "fingertrio"
DESCRIPTION = "What people here are up to, on the web and by finger"


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """One site.

    Attributes:
        title: its name, at the top of every page.
        description: one line about it.
        url: its public address without a slash at the end; None: not known.
        index: whether search engines may list its pages.
        style: a style sheet of the operator, after ours.
    """

    title: str = TITLE
    description: str = DESCRIPTION
    url: str | None = None
    index: bool = False
    style: Asset | None = None
