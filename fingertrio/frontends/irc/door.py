"""The [irc] section, turned into networks. Secrets are read from their files here, at start and at each reload."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import trio

from fingertrio import version
from fingertrio.config.irc import IrcChannel, IrcNetwork, IrcSection
from fingertrio.config.places import state_directory
from fingertrio.config.secret_files import read_secret
from fingertrio.config.sections import OptionError
from fingertrio.frontend import Door, Frontend
from fingertrio.frontends.irc import (
    ChannelSettings,
    IRCFrontend,
    NetworkSettings,
    ServerAddress,
    STSStore,
    TLSSettings,
)
from fingertrio.observe.observer import Observer
from fingertrio.wire.irc_channel import ChannelPlan
from fingertrio.wire.irc_login import Login
from fingertrio.wire.irc_secrets import Secret

HOME = "https://pypi.org/project/fingertrio/"
VERSION = f"fingertrio {version}"


def open_irc(options: IrcSection, door: Door) -> Frontend:
    """A bot that answers questions."""
    frontend = IRCFrontend(
        service=door.service,
        observer=door.observer,
        networks=to_networks(options),
        store=STSStore(sts_path(options), door.observer),
        version=VERSION,
        home=HOME,
        rate=door.writes,
    )
    warn(options, door.observer)
    return _ReloadableIRC(frontend, door.observer)


class _ReloadableIRC:
    """The front end, which takes other options while it serves."""

    def __init__(self, frontend: IRCFrontend, observer: Observer) -> None:
        self.reloadable = frozenset(IrcSection.model_fields) - {"sts_file"}
        self._frontend = frontend
        self._observer = observer

    async def serve(
        self, stopping: trio.Event, *, task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED
    ) -> None:
        await self._frontend.serve(stopping, task_status=task_status)

    def prepare(self, options: IrcSection) -> Callable[[], None]:
        apply = self._frontend.prepare(to_networks(options))

        def commit() -> None:
            apply()
            warn(options, self._observer)

        return commit


def sts_path(options: IrcSection) -> Path:
    """Where the STS policies are kept."""
    return options.sts_file or state_directory() / "irc-sts.json"


def warn(options: IrcSection, observer: Observer) -> None:
    """Networks have rules that a configuration can break without being wrong."""
    for name, network in options.by_name.items():
        if not network.owner and not all(server.is_local for server in servers(network)):
            observer.warning(
                "irc_no_owner", network=name, reason='networks require a bot to name its owner: set owner = "..."'
            )


def to_networks(options: IrcSection) -> list[NetworkSettings]:
    """Every network of the section.

    Raises:
        OptionError: a file with a secret cannot be used.
    """
    return [_to_network(name, network) for name, network in options.by_name.items()]


def servers(network: IrcNetwork) -> tuple[ServerAddress, ...]:
    """The servers of a network, in order."""
    found = [
        ServerAddress(host=server.host, port=server.port, tls=server.tls, path=server.path)
        for server in network.servers
    ]
    if isinstance(network, IrcSection) and network.server is not None:
        found.insert(0, ServerAddress(host=network.server.host, port=network.server.port))
    return tuple(found)


def _to_network(name: str, network: IrcNetwork) -> NetworkSettings:
    set_by: Mapping[str, str] | str | None = network.set_by
    return NetworkSettings(
        name=name,
        servers=servers(network),
        login=_to_login(network),
        owner=network.owner,
        tls=TLSSettings(
            ca=network.tls_ca if isinstance(network.tls_ca, Path) else None,
            fingerprints=network.tls_fingerprint,
            certificate=network.tls_certificate,
            key=network.tls_key,
        ),
        insecure=network.insecure,
        reply=network.reply.upper(),
        channels=tuple(_to_channel(channel) for channel in network.all_channels),
        accept=None if network.accept_invites == "any" else tuple(network.accept_invites),
        rejoin=network.rejoin_seconds,
        botlist=network.botlist,
        set_by=set_by,
        ignore=network.ignore,
        flood_burst=int(network.flood.get("burst", 5)),
        flood_seconds=network.flood.get("seconds", 2.0),
        announce_every=network.announce_every,
        quiet_names=network.quiet_names,
        catch_up=network.catch_up,
        after_ban=network.after_ban_seconds,
        dry_run=network.dry_run,
        essential=network.essential,
    )


def _to_login(network: IrcNetwork) -> Login:
    realname = f"{network.realname} - bot, owner: {network.owner}" if network.owner else network.realname
    return Login(
        nick=network.nick,
        alternates=network.alternates,
        username=network.username,
        realname=realname,
        password=_secret("password_file", network.password_file),
        account=network.account,
        account_password=_secret("account_password_file", network.account_password_file),
        sasl=network.sasl,
        sasl_required=network.login_required,
        services=network.services,
        bot_mode=network.bot_mode,
        ask_chanserv=network.chanserv,
    )


def _to_channel(channel: IrcChannel) -> ChannelSettings:
    return ChannelSettings(
        plan=ChannelPlan(channel.name, _secret("key_file", channel.key_file)),
        prefix=channel.prefix,
        answer=channel.answer,
        announce=channel.announce,
        notice=channel.notice,
    )


def _secret(key: str, path: Path | None) -> Secret | None:
    if path is None:
        return None
    try:
        return Secret(read_secret(path))
    except ValueError as error:
        raise OptionError(key, str(error)) from None
