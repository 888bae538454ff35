"""The error for a name that no user has."""

from __future__ import annotations

from fingertrio.backend import BackendError
from fingertrio.frontends.web.rendering import UnknownUser
from fingertrio.frontends.web.similar import similar
from fingertrio.names import canonical_name, is_user_name
from fingertrio.service import FingerService


async def unknown_user(service: FingerService, user: str) -> UnknownUser:
    """The error, with names of the public list that the reader may have meant."""
    user = canonical_name(user)
    if not service.can_list or not is_user_name(user):
        return UnknownUser(user, ())
    try:
        return UnknownUser(user, similar(user, await service.get_users()))
    except BackendError:  # logged by the service; that there is no such user is true all the same
        return UnknownUser(user, ())
