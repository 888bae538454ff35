"""The error for a name that no user has."""

from __future__ import annotations

from fingertrio.frontends.web.rendering import UnknownUser
from fingertrio.frontends.web.similar import similar
from fingertrio.names import canonical_name, is_user_name
from fingertrio.service import FingerService


def unknown_user(service: FingerService, user: str) -> UnknownUser:
    """The error, with names that the reader may have meant: those of the list that is in memory."""
    user = canonical_name(user)
    listed = service.peek_users() if is_user_name(user) else None
    return UnknownUser(user, () if listed is None else similar(user, listed.value))
