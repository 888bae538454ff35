"""The [admin] section."""

from __future__ import annotations

from fingertrio import version
from fingertrio.config.doors import AdminSection
from fingertrio.frontend import Door, Frontend
from fingertrio.frontends.admin.checks import DoorChecks
from fingertrio.frontends.admin.frontend import AdminApp
from fingertrio.http.server import HttpFrontend


def open_admin(_options: AdminSection, door: Door) -> Frontend:
    """/metrics, /healthz and /readyz, for operators."""
    app = AdminApp(
        door.observer.metrics,
        probes=[door.service.probe, DoorChecks(door.checks, door.observer).run],
        version=version,
    )
    return HttpFrontend(lambda: app, door=door.name, observer=door.observer, listeners=door.listeners, caps=door.caps)
