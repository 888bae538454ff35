"""Who may write, what is accepted, and the audit line."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from io import StringIO
from types import SimpleNamespace

import pytest

from fingertrio.accounts.writer import NotAllowedError, Writer
from fingertrio.backend import BackendError, UserInfo
from fingertrio.backends.memory import MemoryBackend
from fingertrio.observe.observer import Observer
from fingertrio.service import FingerService, ServicePolicy
from fingertrio.testing import FakeReader
from fingertrio.wire.details import DetailsError
from tests.helpers import ANYONE

ADA = Writer("ada", admin=False, door="http", proof="token:abcdefgh")
ADMIN = Writer("root", admin=True, door="setter", proof="peer:0")


@asynccontextmanager
async def serving(**policy: object) -> AsyncIterator[SimpleNamespace]:
    log = StringIO()
    observer = Observer(log, human=False)
    backend = MemoryBackend({"ada": "Weaving", "bob": "Out"})
    async with FingerService.open(backend, ServicePolicy(**policy), observer) as service:  # type: ignore[arg-type]

        def audit() -> list[dict[str, object]]:
            observer.flush()
            records = [json.loads(line) for line in log.getvalue().splitlines()]
            return [record for record in records if record["event"] in {"set", "cleared", "described"}]

        yield SimpleNamespace(service=service, backend=backend, audit=audit, log=log, observer=observer)


async def test_a_writer_sets_and_clears_what_is_its_own():
    async with serving() as place:
        await place.service.set_user("ada", "In the garden", writer=ADA)
        assert (await place.service.get_user("ada")).status == "In the garden"
        await place.service.clear_user("ada", writer=ADA)
        assert (await place.service.get_user("ada")).status == ""
        assert "ada" in await place.service.get_users()


async def test_a_writer_changes_nothing_of_another_user():
    async with serving() as place:
        with pytest.raises(NotAllowedError, match="ada may not set the status of bob"):
            await place.service.set_user("bob", "Hacked", writer=ADA)
        with pytest.raises(NotAllowedError, match="ada may not set the status of bob"):
            await place.service.clear_user("bob", writer=ADA)
        assert (await place.service.get_user("bob")).status == "Out"
        assert place.audit() == []


async def test_an_admin_sets_every_user():
    async with serving() as place:
        await place.service.set_user("bob", "Back", writer=ADMIN)
        assert (await place.service.get_user("bob")).status == "Back"


async def test_each_write_leaves_one_audit_line_without_the_status():
    async with serving() as place:
        until = datetime.now(UTC) + timedelta(hours=1)
        await place.service.set_user("ada", "In the gard\u00e9n", writer=ADA, until=until)
        await place.service.clear_user("bob", writer=ADMIN)
        written, cleared = place.audit()
        assert "gard" not in place.log.getvalue()
    expected = {
        "event": "set",
        "level": "info",
        "user": "ada",
        "by": "ada",
        "door": "http",
        "proof": "token:abcdefgh",
        "bytes": 14,
        "until": until.isoformat(),
    }
    assert expected.items() <= written.items()
    assert {
        "event": "cleared",
        "user": "bob",
        "by": "root",
        "door": "setter",
        "proof": "peer:0",
    }.items() <= cleared.items()


async def test_the_status_is_in_the_audit_line_only_if_configured():
    async with serving(log_statuses=True) as place:
        await place.service.set_user("ada", "In the garden", writer=ADA)
        assert place.audit()[0]["status"] == "In the garden"


async def test_what_fails_leaves_no_audit_line():
    class Broken(MemoryBackend):
        async def set_user(self, user: str, status: str, *, until: datetime | None = None) -> UserInfo:
            raise BackendError("The disk is full")

    log = StringIO()
    async with FingerService.open(Broken({}), None, Observer(log, human=False)) as service:
        with pytest.raises(BackendError, match="The disk is full"):
            await service.set_user("ada", "x", writer=ANYONE)
    assert '"event": "set"' not in log.getvalue()


async def test_a_status_is_stored_as_every_door_stores_it():
    async with serving() as place:
        await place.service.set_user("ada", "Cafe\u0301\r\n\x07two\n\n", writer=ADA)
        assert (await place.service.get_user("ada")).status == "Caf\u00e9\ntwo"


async def test_clearing_somebody_who_is_not_there_is_no_such_user():
    async with serving() as place:
        assert await place.service.clear_user("zoe", writer=ADMIN) is None
        assert place.audit() == []


async def test_a_default_length_holds_for_what_is_set_without_an_end():
    async with serving(default_length=timedelta(hours=8)) as place:
        info = await place.service.set_user("ada", "At work", writer=ADA)
        assert timedelta(hours=7) < info.until - datetime.now(UTC) <= timedelta(hours=8)
        until = datetime.now(UTC) + timedelta(hours=1)
        assert (await place.service.set_user("ada", "At lunch", writer=ADA, until=until)).until == until


async def test_a_preset_is_its_status_until_its_end_unless_the_client_names_one():
    presets = {"lunch": {"status": "Lunch", "for": "1h"}}
    async with serving(presets=presets, default_length=timedelta(hours=8)) as place:
        info = await place.service.set_user("ada", ":lunch\n", writer=ADA)
        assert info.status == "Lunch"
        assert timedelta(minutes=59) < info.until - datetime.now(UTC) <= timedelta(hours=1)
        end = datetime.now(UTC) + timedelta(hours=3)
        assert (await place.service.set_user("ada", ":lunch", writer=ADA, until=end)).until == end
        with pytest.raises(ValueError, match="no preset :tea"):
            await place.service.set_user("ada", ":tea", writer=ADA)
        assert (await place.service.set_user("ada", ":)", writer=ADA)).status == ":)"


async def test_a_backend_that_cannot_write_says_so():
    async with FingerService.open(FakeReader({"ada": "x"})) as service:
        assert not service.can_set
        assert not service.can_clear
        with pytest.raises(BackendError, match="cannot be set here"):
            await service.set_user("ada", "x", writer=ANYONE)
        with pytest.raises(BackendError, match="cannot be cleared here"):
            await service.clear_user("ada", writer=ANYONE)


async def test_a_writer_describes_itself_and_nobody_else():
    async with serving() as place:
        info = await place.service.set_details("ada", name=" Ada\tL. ", details={"project": "x\r\ny"}, writer=ADA)
        assert (info.name, dict(info.details)) == ("Ada L.", {"project": "x\ny"})
        assert await place.service.get_user("ada") == info
        with pytest.raises(NotAllowedError):
            await place.service.set_details("bob", name="Bob", details={}, writer=ADA)
        [line] = place.audit()
        assert {"event": "described", "user": "ada", "by": "ada", "details": "project"}.items() <= line.items()
        assert "Ada" not in place.log.getvalue()


async def test_one_detail_changes_and_the_others_stay():
    async with serving() as place:
        info = await place.service.set_details("ada", name=None, details={"a": "1", "b": "2"}, writer=ADA)
        info = await place.service.set_details("ada", name=None, details={**info.details, "a": ""}, writer=ADA)
        assert dict(info.details) == {"b": "2"}


async def test_details_that_could_not_be_set_are_kept_unless_they_change():
    async with serving() as place:
        await place.backend.set_details("ada", None, {"chat": "xmpp:ada@example.org", "timezone": "Mars"})
        info = await place.service.get_user("ada")
        info = await place.service.set_details("ada", name=None, details={**info.details, "a": "1"}, writer=ADA)
        assert dict(info.details) == {"chat": "xmpp:ada@example.org", "timezone": "Mars", "a": "1"}
        with pytest.raises(DetailsError) as caught:
            await place.service.set_details("ada", name=None, details={"timezone": "Venus"}, writer=ADA)
        assert set(caught.value.errors) == {"timezone"}


async def test_details_that_are_not_valid_name_each_field():
    async with serving() as place:
        with pytest.raises(DetailsError) as caught:
            await place.service.set_details(
                "ada", name="x" * 201, details={"timezone": "Mars", "Home": "javascript:alert(1)"}, writer=ADA
            )
        assert set(caught.value.errors) == {"name", "timezone", "Home"}
        assert place.audit() == []


async def test_details_are_of_the_user_as_spelled():
    async with serving() as place:
        with pytest.raises(ValueError, match="spelled ada"):
            await place.service.set_details("Ada", name="x", details={}, writer=ADMIN)


async def test_a_backend_that_cannot_describe_says_so():
    async with FingerService.open(FakeReader({"ada": "x"})) as service:
        assert not service.can_set_details
        with pytest.raises(BackendError, match="cannot be set here"):
            await service.set_details("ada", name="Ada", details={}, writer=ADA)
