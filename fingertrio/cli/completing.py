"""What a shell can complete: the names of users, configurations, sections, webhooks, backends and front ends.

A completion must be quick, never print a message, and never insert text that the shell would run: names are those that
`names` allows, and bash gets them quoted. Each function is a `shell_complete` of click; what it needs is imported when
a shell asks.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable
from contextlib import redirect_stderr, suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import click
    from click.shell_completion import CompletionItem

_TIMEOUT = 1.0  # seconds for a server to list its users: a person waits
_MOST = 200  # suggestions

Complete = Callable[["click.Context", "click.Parameter", str], list[Any]]


def _quiet(names: Callable[[], Iterable[str]]) -> Complete:
    """Those of `names` that begin like the incomplete word; none where they cannot be found out."""

    def complete(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[Any]:
        found: list[str] = []
        # A message would be printed into the prompt.
        with suppress(Exception, SystemExit), redirect_stderr(io.StringIO()):
            found = sorted({name for name in names() if name.startswith(incomplete)})[:_MOST]
        return found

    return complete


def _users() -> Iterable[str]:
    from fingertrio.cli import api, discover  # noqa: PLC0415 -- see above
    from fingertrio.names import is_user_name  # noqa: PLC0415

    document = api.request("GET", discover.web_url(), "/api/users", timeout=_TIMEOUT)
    names = [entry["user"] for entry in document["users"]]
    return [name for name in names if isinstance(name, str) and is_user_name(name)]


def _logins() -> Iterable[str]:
    """The users of the server, and those of this machine: a token may be for a user without a status."""
    import pwd  # noqa: PLC0415 -- see above

    found = {account.pw_name for account in pwd.getpwall()}
    with suppress(Exception, SystemExit):
        found.update(_users())
    return found


def _sections() -> Iterable[str]:
    from fingertrio.config.plugins import frontend_names  # noqa: PLC0415 -- see above
    from fingertrio.config.table import FIXED_SECTIONS  # noqa: PLC0415

    return {*FIXED_SECTIONS, *frontend_names()}


def _backends() -> Iterable[str]:
    from fingertrio.config.plugins import backend_names  # noqa: PLC0415 -- see above

    return backend_names()


def _frontends() -> Iterable[str]:
    from fingertrio.config.plugins import frontend_names  # noqa: PLC0415 -- see above

    return frontend_names()


def _webhooks() -> Iterable[str]:
    from fingertrio.cli import discover  # noqa: PLC0415 -- see above
    from fingertrio.config.table import load_table  # noqa: PLC0415
    from fingertrio.names import is_user_name  # noqa: PLC0415

    names = [entry["name"] for entry in load_table(discover.serving_config()).sections["webhook"]]
    return [name for name in names if is_user_name(name)]  # a mistaken one could be anything


users, logins, sections = _quiet(_users), _quiet(_logins), _quiet(_sections)
backends, frontends, webhooks = _quiet(_backends), _quiet(_frontends), _quiet(_webhooks)


def config_files(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The configurations of this machine that begin like the incomplete word; where there are none, any file."""
    from click.shell_completion import CompletionItem  # noqa: PLC0415 -- see above

    from fingertrio.config.places import default_config  # noqa: PLC0415
    from fingertrio.server.runtime import running_servers  # noqa: PLC0415

    known = {os.environ.get("FINGERTRIO_CONFIG", ""), str(default_config() or "")}
    with suppress(OSError):
        known |= {server.config or "" for server in running_servers()}
    found = sorted(path for path in known if path and path.startswith(incomplete) and path != incomplete)
    return [CompletionItem(path) for path in found] or [CompletionItem(incomplete, type="file")]
