"""How a site calls itself, how it looks and where it is: what the pages know of the configuration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fingertrio.frontends.web.assets import Asset
from fingertrio.frontends.web.elsewhere import PROGRAM, Places
from fingertrio.net.address import Address

TITLE = "fingertrio"
DESCRIPTION = "What people here are up to, on the web and by finger"


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """One site.

    Attributes:
        title: its name, at the top of every page.
        description: one line about it.
        url: its public address without a slash at the end; None: that of each request.
        index: whether search engines may list its pages.
        style: a style sheet of the operator, after ours.
        docs_url: where the documentation is, for the foot of every page; None: no link.
        finger: the addresses on which this server's finger front end listens.
        program: the command line of fingertrio on this machine.
    """

    title: str = TITLE
    description: str = DESCRIPTION
    url: str | None = None
    index: bool = False
    style: Asset | None = None
    docs_url: str | None = None
    finger: Sequence[Address] = ()
    program: str = PROGRAM

    def base(self, scheme: str, host: str) -> str:
        """The address of the site: the configured one, or that of a request; empty if neither is known."""
        if self.url is not None:
            return self.url
        return f"{scheme}://{host}" if host else ""

    def places(self, scheme: str, host: str) -> Places:
        """Where this server can be reached, for a request to `host`."""
        return Places(self.base(scheme, host), self.finger, self.program)
