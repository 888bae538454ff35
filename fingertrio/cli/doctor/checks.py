"""All checks, in the order in which they are shown: from what everything depends on to what depends on the rest."""

from __future__ import annotations

from collections.abc import Sequence

from fingertrio.cli.doctor import (
    certificates,
    clock,
    configuration,
    homes,
    irc,
    limits,
    listening,
    origins,
    port79,
    redis,
    sqlite,
    systemd,
    url,
    versions,
    webfinger,
)
from fingertrio.cli.doctor.check import Check

CHECKS: Sequence[Check] = (
    configuration.SERVER,
    configuration.CONFIGURATION,
    configuration.FILES,
    listening.CHECK,
    port79.CHECK,
    url.URL,
    certificates.CHECK,
    url.PROXIES,
    webfinger.CHECK,
    clock.CHECK,
    # Where statuses come from.
    sqlite.CHECK,
    redis.CHECK,
    origins.CHECK,
    homes.CHECK,
    # Where statuses go. Receivers of [[webhook]] belong here: whether they answer, and what they answer to a test.
    irc.CHECK,
    # What it all runs on.
    systemd.CHECK,
    limits.CHECK,
    versions.CHECK,
)
