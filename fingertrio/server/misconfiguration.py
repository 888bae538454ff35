"""What is valid in a configuration and yet not what its author can have meant, as findings: `fingertrio check-config`.

Mistakes, which no server accepts, are errors of `config`. Here is what would only show later: as a failed start, as a
door that does not do what it seems to, or never. Nothing is opened, and no host is asked. A configuration that says
that something is meant, such as `url = "http://..."` for pages without TLS, gets no finding about it.
"""

from __future__ import annotations

import difflib
import inspect
import re
import typing
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from fingertrio.backend import SetsStatus
from fingertrio.config.config import Config
from fingertrio.config.doors import FingerSection, HttpSection, SetterSection
from fingertrio.config.errors import ConfigError
from fingertrio.config.plugins import BackendPlugin, find_backend
from fingertrio.config.sections import ListeningSection
from fingertrio.server.access import ServerUser
from fingertrio.server.findings import Finding
from fingertrio.server.unusable_paths import find_unusable_paths

# What [finger] show can name besides details that somebody invents: frontends/finger/text.py and wire/details.py. A
# test compares.
FACTS = (
    *("login", "name", "since", "until", "plan"),
    *("project", "pubkey", "pronouns", "timezone", "emoji", "fediverse", "webfinger", "links"),
)


def find_misconfiguration(config: Config) -> list[Finding]:
    """What to say of a valid configuration.

    Args:
        config: as `load_config(..., to_serve=True)` returns it.
    """
    return [
        *_facts(config),
        *_setter(config),
        *_pages(config),
        *_networks(config),
        *_lost(config),
        *_process(config),
    ]


def _facts(config: Config) -> Iterator[Finding]:
    section = config.doors.get("finger")
    shown = section.show if isinstance(section, FingerSection) else None
    for fact in shown or ():
        close = difflib.get_close_matches(fact.lower(), FACTS, 1, cutoff=0.75)
        if fact in FACTS or (not close and re.fullmatch(r"\S.{0,39}", fact)):
            continue  # the name of a detail can be any
        hint = f'did you mean "{close[0]}"?' if close else "a name has at most 40 characters"
        yield Finding(f'[finger] show = [..., "{fact}"]', "there is no such fact, so nothing is shown for it", hint)
    if shown is not None and isinstance(section, FingerSection) and section.answer == "status":
        why = 'answer = "status" shows the status alone'
        yield Finding("[finger] show", f"it has no effect: {why}", 'write answer = "full", or remove show')


def _setter(config: Config) -> Iterator[Finding]:
    section = config.doors.get("setter")
    if not isinstance(section, SetterSection):
        return
    if _can_set(config.backend.use, config.backend.options) is False:
        yield Finding(
            "[setter]",
            f"the {config.backend.use} backend cannot set a status, and a server does not start",
            'remove the section, or put a layer with use = "sqlite" over it: fingertrio backends layers',
        )
    if config.process.user is None:
        return
    for address in section.listen:
        if address.path is None and section.auth_at(address) == "none":
            yield Finding(
                f'[setter] listen = "{address}"',
                "every user and every program of this machine can set every status there",
                'use "unix:/path" with auth = "peer", or auth = "token"',
            )


def _can_set(use: str, options: Mapping[str, Any]) -> bool | None:
    """Whether a backend can set statuses, as far as its type says; None: it does not say."""
    if use == "layers":
        layers = [layer for layer in options.get("layers", ()) if isinstance(layer, dict) and "use" in layer]
        found = [_can_set(layer["use"], layer) for layer in layers]
        return True if True in found else None if None in found else False
    try:
        made = _type_of(find_backend(use))
    except ConfigError:
        return None
    return None if made is None or inspect.isabstract(made) else all(hasattr(made, name) for name in _methods())


def _methods() -> Iterable[str]:
    return [name for name, value in vars(SetsStatus).items() if callable(value) and not name.startswith("_")]


def _type_of(plugin: BackendPlugin) -> type | None:
    """The class of the backend that its opening function is annotated with; None: a protocol, or nothing."""
    annotation = typing.get_type_hints(inspect.unwrap(plugin.open)).get("return")
    made = next(iter(typing.get_args(annotation)), None)
    return made if isinstance(made, type) and not getattr(made, "_is_protocol", False) else None


def _pages(config: Config) -> Iterator[Finding]:
    section = config.doors.get("http")
    if not isinstance(section, HttpSection) or section.certfile is not None or section.trusted_proxies:
        return
    secure = section.url is not None and section.url.startswith("https:")
    public = [address for address in section.listen if not address.is_local]
    if public and (section.url is None or secure):
        yield Finding(
            f'[http] listen = "{public[0]}"',
            "the pages have no TLS: the network can read the tokens of those who set a status",
            "set certfile and keyfile, or listen on 127.0.0.1 behind a proxy, with trusted_proxies; "
            'url = "http://..." says that it is meant so',
        )
    elif secure:
        yield Finding(
            f'[http] url = "{section.url}"',
            "a proxy has to speak https there, and trusted_proxies does not name it: all clients would count as one",
            'trusted_proxies = ["127.0.0.1", "::1"], or the address of the proxy',
        )


def _networks(config: Config) -> Iterator[Finding]:
    if any(network.prefixlen == 0 for network in config.limits.exempt):
        yield Finding(
            "[limits] exempt", "it exempts every address, so no limit acts", "name the networks that are yours"
        )
    for name, section in config.doors.items():
        trusted = getattr(section, "trusted_proxies", ())
        if any(getattr(network, "prefixlen", None) == 0 for network in trusted):
            yield Finding(
                f"[{name}] trusted_proxies",
                "every client can claim to be at any address, and so escape limits and the log",
                "name the addresses of your proxies",
            )


def _lost(config: Config) -> Iterator[Finding]:
    if config.backend.use == "memory" and not config.backend.options.get("users"):
        yield Finding(
            '[backend] use = "memory"',
            "it has no users, and what is set is lost when the server stops",
            'use = "sqlite" keeps it in a file',
        )


def _process(config: Config) -> Iterator[Finding]:
    process = config.process
    if process.user is None:
        public = [
            f'[{name}] "{address}"'
            for name, section in config.doors.items()
            for address in (section.listen if isinstance(section, ListeningSection) else ())
            if not address.is_local
        ]
        if process.run_as_root and public:
            yield Finding(
                "[process] run_as_root = true",
                f"other machines can reach a program of root: {public[0]}",
                'user = "fingertrio": the ports are bound first, then root is given up',
            )
        return
    try:
        user = ServerUser.find(process.user, process.group)
    except KeyError:
        yield _unknown_account(process.user, process.group)
        return
    if user.uid == 0:
        yield Finding(f'[process] user = "{user.name}"', "this user has all rights", "name one without: fingertrio")
    yield from _relative(config)
    yield from find_unusable_paths(config, user)


def _unknown_account(user: str, group: str | None) -> Finding:
    try:
        ServerUser.find(user, None)
    except KeyError:
        advice = f"useradd --system --shell /usr/sbin/nologin {user}"
        return Finding(f'[process] user = "{user}"', "there is no such user on this machine", f"make one: {advice}")
    return Finding(
        f'[process] group = "{group}"', "there is no such group on this machine", f"groupadd --system {group}"
    )


def _relative(config: Config) -> Iterator[Finding]:
    path = config.backend.options.get("path")
    if isinstance(path, str) and not path.startswith(("/", "~")):
        yield Finding(
            f'[backend] path = "{path}"',
            "it depends on the directory in which the server is started",
            f'write the whole path: path = "/var/lib/fingertrio/{Path(path).name}"',
        )
