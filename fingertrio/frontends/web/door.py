"""The [http] section."""

from __future__ import annotations

import os
import shlex
import shutil
import ssl
import sys
from collections.abc import Callable, Collection
from pathlib import Path

from fingertrio.config.doors import HttpSection
from fingertrio.config.sections import OptionError
from fingertrio.frontend import Door, Frontend
from fingertrio.frontends.web.assets import Asset, make_asset
from fingertrio.frontends.web.frontend import WebFrontend, WebPolicy
from fingertrio.frontends.web.live_watcher import LivePolicy
from fingertrio.frontends.web.site import Site
from fingertrio.frontends.web.webfinger import WebFingerPolicy
from fingertrio.http.tls import CertificateError, make_tls_context
from fingertrio.net.address import Address, Network, parse_address, plain_network
from fingertrio.net.limits import ConnectionCaps
from fingertrio.net.listen import address_of
from fingertrio.net.proxies import UNIX, TrustedProxies

_STYLE_LIMIT = 256 * 1024  # bytes of the operator's style sheet; ours has 12 kB


class _Http:
    reloadable = frozenset(
        {
            "certfile",
            "keyfile",
            "proxy_protocol",
            "trusted_proxies",
            "keep_alive",
            "max_buffered",
            "allowed_origins",
            "max_watchers",
            "max_watchers_per_address",
            "title",
            "description",
            "url",
            "index",
            "style",
            "docs_url",
        }
    )

    def __init__(self, options: HttpSection, door: Door) -> None:
        # Shared by all policies: watchers stay connected, and counted, when the policy changes.
        self._watchers = ConnectionCaps(total=options.max_watchers, per_address=options.max_watchers_per_address)
        self._door, self._trusted = door, options.trusted_proxies
        _warn_of_unlisted_proxies(options, door)
        self._frontend = WebFrontend(
            service=door.service,
            observer=door.observer,
            listeners=door.listeners,
            caps=door.caps,
            accounts=door.accounts,
            rate=door.queries,
            writes=door.writes,
            policy=self._policy(options),
            presets=lambda: door.presets,
        )
        self.serve = self._frontend.serve
        self.check = self._frontend.check

    def prepare(self, options: HttpSection) -> Callable[[], None]:
        policy = self._policy(options)

        def change() -> None:
            if options.trusted_proxies != self._trusted:
                self._trusted = options.trusted_proxies
                _warn_of_unlisted_proxies(options, self._door)
            self._watchers.total = options.max_watchers
            self._watchers.per_address = options.max_watchers_per_address
            self._frontend.adopt(policy)

        return change

    def _policy(self, options: HttpSection) -> WebPolicy:
        return WebPolicy(
            trusted_proxies=options.trusted_proxies,
            proxy_protocol=options.proxy_protocol,
            live=LivePolicy(caps=self._watchers, origins=options.allowed_origins),
            tls=_tls(options),
            keep_alive=options.keep_alive,
            memory=options.max_buffered,
            webfinger=WebFingerPolicy(domains=self._door.webfinger.domains, issuer=self._door.webfinger.issuer),
            site=Site(
                title=options.title,
                description=options.description,
                url=options.url,
                index=options.index,
                style=_style(options),
                docs_url=options.docs_url,
                finger=self._door.neighbours.get("finger", ()),
                program=_program(),
            ),
        )


def _warn_of_unlisted_proxies(options: HttpSection, door: Door) -> None:
    """Warn if only this machine can connect, and a proxy that does so is not in trusted_proxies.

    All clients of such a proxy would have its address, and loopback and Unix sockets are usually exempt from limits. An
    empty list that is written out says that there is no proxy.
    """
    addresses = [parse_address(address_of(listener)) for listener in door.listeners]
    unlisted = [address for address in addresses if not _is_listed(address, options.trusted_proxies)]
    has_none = "trusted_proxies" in options.model_fields_set and not options.trusted_proxies
    if unlisted and not has_none and all(address.is_local for address in addresses):
        door.observer.warning(
            "no_trusted_proxies",
            reason="only this machine can connect. If a proxy forwards requests to these addresses, name it in [http] "
            "trusted_proxies: otherwise the limits for each address do not apply to the proxy's clients. If there is "
            "none, write trusted_proxies = []",
            addresses=", ".join(map(str, unlisted)),
        )


def _is_listed(address: Address, proxies: Collection[Network | str]) -> bool:
    """Whether a proxy on this machine that connects to `address` can be one of `proxies`."""
    if address.path is not None:
        return UNIX in proxies
    return TrustedProxies(proxies).includes(address.host) or any(
        not isinstance(entry, str) and plain_network(entry).is_loopback for entry in proxies
    )


def _tls(options: HttpSection) -> ssl.SSLContext | None:
    if options.certfile is None:
        return None
    try:
        return make_tls_context(options.certfile, options.keyfile)
    except CertificateError as error:
        raise OptionError(error.which, str(error)) from error


def _style(options: HttpSection) -> Asset | None:
    if options.style is None:
        return None
    try:
        with options.style.open("rb") as file:
            data = file.read(_STYLE_LIMIT + 1)
    except OSError as error:
        raise OptionError("style", f'"{options.style}" cannot be read: {error.strerror}') from error
    if len(data) > _STYLE_LIMIT:
        raise OptionError("style", f'"{options.style}" has more than {_STYLE_LIMIT} bytes')
    return make_asset("site.css", data)


def _program() -> str:
    """The command line of fingertrio on this machine, as short as it works in the shell that started this process."""
    installed = Path(sys.executable).with_name("fingertrio")
    found = shutil.which("fingertrio")
    if found is not None and os.path.realpath(found) == os.path.realpath(installed):
        return "fingertrio"
    if os.access(installed, os.X_OK):
        return shlex.quote(str(installed))
    return f"{shlex.quote(sys.executable)} -m fingertrio"


def open_http(options: HttpSection, door: Door) -> Frontend:
    """Pages, JSON under /api, XML-RPC at /RPC2, and the live feed at /api/watch and /api/events."""
    return _Http(options, door)
