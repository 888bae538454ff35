"""The [setter] section."""

from __future__ import annotations

from fingertrio.config.sections import SetterSection
from fingertrio.frontend import Door, Frontend
from fingertrio.frontends.setter.frontend import SetterFrontend


def open_setter(_options: SetterSection, door: Door) -> Frontend:
    """Sets a status from two lines, a user name and a status."""
    return SetterFrontend(
        service=door.service, observer=door.observer, listeners=door.listeners, caps=door.caps, rate=door.writes
    )
