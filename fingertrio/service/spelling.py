"""Names that differ by case alone: one user, found by every spelling.

Where this server keeps the statuses, `Ada` and `ada` are the same person: as two users, one could be taken for the
other. Names of the system (plans, commands) stay as the system has them.
"""

from __future__ import annotations

from collections.abc import Iterable


class Spellings:
    """An index of the users' names by their case-folded form.

    It is read from the list of users once, and follows the changes after that. It may name a user who has been removed
    since, so the caller asks the backend for that user.
    """

    def __init__(self) -> None:
        self._by_fold: dict[str, str] | None = None  # None: the list has to be read

    @property
    def is_loaded(self) -> bool:
        """Whether `find` knows all users."""
        return self._by_fold is not None

    def load(self, names: Iterable[str]) -> None:
        """Take the whole list."""
        self._by_fold = {}
        for name in names:
            self.add(name)

    def add(self, name: str) -> None:
        """A user who may be new."""
        if self._by_fold is not None:
            self._by_fold.setdefault(name.casefold(), name)

    def forget(self) -> None:
        """The list has to be read again."""
        self._by_fold = None

    def find(self, user: str) -> str | None:
        """Another spelling of `user`; None: there is none. Raises LookupError if the list has to be read first."""
        if self._by_fold is None:
            raise LookupError
        found = self._by_fold.get(user.casefold())
        return None if found == user else found
