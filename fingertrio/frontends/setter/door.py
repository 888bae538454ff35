"""The [setter] section."""

from __future__ import annotations

from fingertrio.config.sections import SetterSection
from fingertrio.frontend import Door, Frontend
from fingertrio.frontends.setter.frontend import SetterFrontend


def open_setter(_options: SetterSection, door: Door) -> Frontend:
    """Two lines, a name and a status, set a status."""
    return SetterFrontend(
        service=door.service, observer=door.observer, listeners=door.listeners, caps=door.caps, rate=door.writes
    )
