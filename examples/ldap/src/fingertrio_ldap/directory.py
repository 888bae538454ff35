"""The requests that the backend makes: searches, changes, new entries. Blocking, so for threads.

Repeating one does no harm, which the pool relies on: a search and a replacement have no memory, and an entry that is
added twice is an error that says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ldap3

from fingertrio_ldap.connection import failure
from fingertrio_ldap.entries import Entry
from fingertrio_ldap.errors import DirectoryError, ExistingEntryError, MissingEntryError, UnfitError
from fingertrio_ldap.options import LDAPOptions
from fingertrio_ldap.pool import Pool

# Result codes of RFC 4511 section 4.1.9, and what they mean for a change. A value is refused as a constraint violation
# or for its syntax.
_SUCCESS, _SIZE_LIMIT = 0, 4
_KINDS: Mapping[int, type[DirectoryError]] = {
    19: UnfitError,
    21: UnfitError,
    32: MissingEntryError,
    68: ExistingEntryError,
}

_PAGES = "1.2.840.113556.1.4.319"  # the control of RFC 2696

# More entries than this for one login name are a mistake in the filter; reading them all would not help.
_CANDIDATES = 10


class Directory:
    """The directory, through a pool of connections. Thread-safe."""

    def __init__(self, options: LDAPOptions, pool: Pool) -> None:
        self._options = options
        self._pool = pool

    def search(self, search_filter: str, attributes: Sequence[str]) -> list[Entry]:
        """The entries that match a filter for one user. Raises DirectoryError."""

        def search(connection: Any) -> list[Entry]:
            result, response = self._search(connection, search_filter, attributes, size_limit=_CANDIDATES)
            if result["result"] not in (_SUCCESS, _SIZE_LIMIT):
                raise failure("search", result)
            return _entries(response)

        return self._pool.run(search)

    def search_all(self, search_filter: str, attributes: Sequence[str]) -> list[Entry]:
        """All entries that match, read in pages. Raises DirectoryError, also if there are more than `limit`."""

        def search_all(connection: Any) -> list[Entry]:
            found: list[Entry] = []
            page = {"paged_size": self._options.page_size, "paged_cookie": None}
            while True:
                result, response = self._search(connection, search_filter, attributes, **page)
                if result["result"] != _SUCCESS:
                    raise failure("search", result)
                found += _entries(response)
                if len(found) > self._options.limit:
                    raise DirectoryError(f"more than {self._options.limit} users: a larger `limit` allows them")
                page["paged_cookie"] = result.get("controls", {}).get(_PAGES, {}).get("value", {}).get("cookie")
                if not page["paged_cookie"]:  # the last page, or a server that does not know the control
                    return found

        return self._pool.run(search_all)

    def add(self, dn: str, attributes: Mapping[str, Sequence[str]]) -> None:
        """Make an entry. Raises ExistingEntryError, UnfitError, or another DirectoryError."""
        given = {name: list(values) for name, values in attributes.items() if values}
        self._change("add", lambda connection: connection.add(dn, attributes=given))

    def replace(self, dn: str, attributes: Mapping[str, Sequence[str]]) -> None:
        """Replace all values of these attributes. Raises MissingEntryError, UnfitError, or another DirectoryError."""
        changes = {name: [(ldap3.MODIFY_REPLACE, list(values))] for name, values in attributes.items()}
        self._change("modify", lambda connection: connection.modify(dn, changes))

    def _change(self, what: str, request: Callable[[Any], Any]) -> None:
        def change(connection: Any) -> None:
            result = request(connection)[1]
            if (code := result["result"]) != _SUCCESS:
                raise failure(what, result, _KINDS.get(code, DirectoryError))

        self._pool.run(change)

    def _search(self, connection: Any, search_filter: str, attributes: Sequence[str], **more: Any) -> tuple[Any, Any]:
        """The result, and the entries and references that came before it."""
        _, result, response, _ = connection.search(
            self._options.base,
            search_filter,
            search_scope=ldap3.SUBTREE if self._options.scope == "subtree" else ldap3.LEVEL,
            dereference_aliases=ldap3.DEREF_NEVER,
            attributes=list(attributes),
            time_limit=math.ceil(self._options.timeout),
            **more,
        )
        return result, response or []


def _entries(response: Sequence[Mapping[str, Any]]) -> list[Entry]:
    """The entries in a response. References to other servers are left out, and not followed."""
    return [
        Entry(each["dn"], {name.lower(): values for name, values in each["raw_attributes"].items()})
        for each in response
        if each["type"] == "searchResEntry"
    ]
