"""From the configuration to receivers, at a start and at a reload."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
import trio
import trustme

from fingertrio.config.config import parse_config
from fingertrio.config.errors import ConfigError
from fingertrio.config.plugins import find_frontends
from fingertrio.config.webhook import WebhookSection
from fingertrio.frontends.webhook.door import to_webhooks
from fingertrio.observe.observer import Observer
from fingertrio.server.doors import OpenDoor
from fingertrio.service import FingerService
from fingertrio.testing import FakeBackend
from fingertrio.testing.fakes import FakeReader
from fingertrio.wire.webhook import SigningSecret
from tests.helpers import no_accounts

SECRET, OTHER = (SigningSecret(bytes([number] * 32)).reveal() for number in (1, 2))
TEAM = {"name": "team", "url": "https://hooks.example.org/", "secret": SECRET}


class Opened:
    """A door over a service, with what it logs."""

    def __init__(self, service: FingerService, directory: Path) -> None:
        self.log = io.StringIO()
        self.directory = directory
        self._service = service

    def configuration(self, *tables: Mapping[str, object]):
        backend = {"use": "sqlite", "path": str(self.directory / "fingertrio.db")}
        return parse_config({"backend": backend, "webhook": list(tables)})

    def open(self, *tables: Mapping[str, object]) -> OpenDoor:
        config = self.configuration(*tables)
        plugin = find_frontends(["webhook"])["webhook"]
        observer = Observer(self.log, human=False)
        return OpenDoor(plugin, config, self._service, no_accounts(), observer, (), source="f.toml")


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Opened]:
    async with FingerService.open(FakeBackend({})) as service:
        yield Opened(service, tmp_path)


async def test_it_serves_and_keeps_its_file_next_to_the_database(door: Opened) -> None:
    opened = door.open(TEAM, {**TEAM, "name": "other", "url": "https://other.example.org:8443/x"})
    assert opened.reloadable == {"root"}
    stopping = trio.Event()
    async with trio.open_nursery() as nursery:
        places = await nursery.start(opened.serve, stopping)
        stopping.set()
    assert places == ["team at https://hooks.example.org", "other at https://other.example.org:8443"]
    assert (door.directory / "webhooks.db").exists()
    assert door.log.getvalue() == ""


async def test_a_file_that_cannot_be_used_is_a_mistake_of_the_section(door: Opened) -> None:
    (door.directory / "webhooks.db").mkdir()
    with pytest.raises(ConfigError, match=r"f\.toml: \[webhook\]: .*webhooks\.db cannot be used"):
        door.open(TEAM)


async def test_a_secret_or_a_certificate_that_cannot_be_read_is_a_mistake(door: Opened) -> None:
    missing = door.directory / "missing"
    unread = {"name": "team", "url": TEAM["url"], "secret_file": str(missing)}
    with pytest.raises(ConfigError, match=r"f\.toml: \[webhook\] team: .*missing.* cannot be read: No such file"):
        door.open(unread)
    with pytest.raises(ConfigError, match=r"\[webhook\] team: ca_file: .*missing.* cannot be used: No such file"):
        door.open({**TEAM, "ca_file": str(missing)})
    missing.write_text("no certificate")
    with pytest.raises(ConfigError, match=r"\[webhook\] team: ca_file: .*missing.* cannot be used: "):
        door.open({**TEAM, "ca_file": str(missing)})


async def test_a_reload_reads_the_secrets_again_and_changes_nothing_if_one_is_wrong(door: Opened) -> None:
    file = door.directory / "secret"
    file.write_text(SECRET)
    table = {"name": "team", "url": TEAM["url"], "secret_file": str(file)}
    opened = door.open(table)
    frontend = opened._frontend._frontend  # type: ignore[attr-defined] # what the door wraps
    async with trio.open_nursery() as nursery:
        stopping = trio.Event()
        await nursery.start(opened.serve, stopping)
        file.write_text(f"{OTHER}\n{SECRET}\n")
        change = opened.prepare(door.configuration(table))
        assert [secret.reveal() for secret in frontend.senders["team"].settings.secrets] == [SECRET]
        change()
        assert [secret.reveal() for secret in frontend.senders["team"].settings.secrets] == [OTHER, SECRET]
        file.unlink()
        with pytest.raises(ConfigError, match="cannot be read"):
            opened.prepare(door.configuration(table))
        assert [secret.reveal() for secret in frontend.senders["team"].settings.secrets] == [OTHER, SECRET]
        stopping.set()


async def test_a_backend_that_reports_no_changes_is_named(tmp_path: Path) -> None:
    async with FingerService.open(FakeReader({})) as service:
        door = Opened(service, tmp_path)
        door.open(TEAM)
    assert '"event": "webhook_incomplete"' in door.log.getvalue()


def test_http_needs_no_certificates_and_https_shares_those_of_the_system(tmp_path: Path) -> None:
    trustme.CA().cert_pem.write_to_path(tmp_path / "ca.pem")
    section = WebhookSection.model_validate(
        [
            TEAM,
            {**TEAM, "name": "b"},
            {**TEAM, "name": "c", "ca_file": str(tmp_path / "ca.pem")},
            {**TEAM, "name": "d", "url": "http://127.0.0.1/", "insecure": True},
        ]
    )
    first, second, own, plain = to_webhooks(section)
    assert first.ssl_context is second.ssl_context is not None
    assert own.ssl_context is not None
    assert len(own.ssl_context.get_ca_certs()) == 1
    assert plain.ssl_context is None
