from __future__ import annotations

import os
import pwd
import socket
from datetime import timedelta

import pytest
import trio
from trio.testing import MockClock

from fingertrio.accounts.accounts import Accounts, ProofError
from fingertrio.accounts.store import TokenStore
from fingertrio.accounts.tokens import TokensError
from fingertrio.accounts.writer import NotAllowedError, Writer, unproved
from fingertrio.backend import BackendError
from fingertrio.net.limits import RateLimiter
from tests.accounts.kit import Clock, MemoryDocument


class Place:
    def __init__(self) -> None:
        self.document, self.clock = MemoryDocument(), Clock()
        self.store = TokenStore(self.document, self.clock)
        self.accounts = Accounts(self.store, RateLimiter(rate=10 / 60, burst=10), self.clock)

    async def ask(self, secret: str, peer: str = "192.0.2.1") -> Writer:
        return await self.accounts.by_token(secret, peer=peer, door="http")

    async def reason(self, secret: str, peer: str = "192.0.2.1") -> str:
        with pytest.raises(ProofError) as error:
            await self.ask(secret, peer)
        assert not secret or secret not in str(error.value)
        return error.value.reason


@pytest.fixture
def place() -> Place:
    return Place()


async def test_a_token_speaks_for_its_user(place: Place):
    secret, token = await place.store.add("ada")
    writer = await place.ask(secret)
    assert writer == Writer("ada", admin=False, door="http", proof=f"token:{token.id}")
    writer.check("ada")
    with pytest.raises(NotAllowedError, match="ada may not set the status of bob"):
        writer.check("bob")
    [used] = await place.store.list()
    assert used.last_used == place.clock.now.replace(hour=0)


async def test_an_admin_token_speaks_for_everybody(place: Place):
    secret, _ = await place.store.add("root", scope="admin")
    (await place.ask(secret)).check("ada")


async def test_what_is_no_token_is_refused(place: Place):
    for text in ("", "x", "ft_" + "a" * 52, "Bearer", "\0", "ft_" + "\u00e4" * 52):
        assert await place.reason(text) == "token"


async def test_an_expired_and_a_revoked_token_are_refused(place: Place):
    secret, token = await place.store.add("ada", expires=place.clock.now + timedelta(hours=1))
    await place.ask(secret)
    place.clock.now += timedelta(hours=1)
    assert await place.reason(secret) == "expired"
    await place.store.revoke(token.id)
    assert await place.reason(secret) == "token"


async def test_a_thousand_guesses_from_one_address_are_throttled_and_write_nothing(
    place: Place, autojump_clock: MockClock
):
    secret, _ = await place.store.add("ada")
    writes = place.document.writes
    reasons = [
        await place.reason("ft_" + f"{number:a>52}".translate(str.maketrans("0189", "bcde"))) for number in range(1000)
    ]
    assert reasons == ["token"] * 10 + ["throttled"] * 990
    assert place.document.writes == writes
    # A right token is not looked at either, or the throttle would tell right from wrong.
    assert await place.reason(secret) == "throttled"
    # Another address is not concerned, and a minute later this one is not either.
    await place.ask(secret, "192.0.2.2")
    await trio.sleep(61)
    await place.ask(secret)


async def test_a_subscriber_cannot_dodge_the_throttle_within_one_ipv6_network(place: Place):
    for number in range(10):
        assert await place.reason("wrong", f"2001:db8::{number}") == "token"
    assert await place.reason("wrong", "2001:db8::ffff") == "throttled"


async def test_right_tokens_are_never_throttled(place: Place):
    secret, _ = await place.store.add("ada")
    for _ in range(100):
        await place.ask(secret)


async def test_a_store_that_fails_lets_nobody_in(place: Place):
    secret, _ = await place.store.add("ada")
    for failure in (TokensError("damaged"), BackendError()):
        place.document.failure = failure
        with pytest.raises(type(failure)):
            await place.ask(secret)


async def test_a_store_that_cannot_be_written_lets_its_users_in(place: Place, monkeypatch: pytest.MonkeyPatch):
    secret, _ = await place.store.add("ada")

    async def fail(document: bytes, old: bytes | None) -> bool:
        raise TokensError("read-only file system")

    monkeypatch.setattr(place.document, "replace", fail)
    assert (await place.ask(secret)).user == "ada"


async def test_the_kernel_tells_who_is_at_the_other_end_of_a_unix_socket(place: Place):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        writer = await place.accounts.by_peer(ours, door="setter")
    me = pwd.getpwuid(os.geteuid()).pw_name
    assert writer == Writer(me, admin=os.geteuid() == 0, door="setter", proof=f"peer:{os.geteuid()}")


async def test_a_user_id_without_a_name_is_refused(place: Place, monkeypatch: pytest.MonkeyPatch):
    def unknown(_uid: int) -> pwd.struct_passwd:
        raise KeyError

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(ProofError, match="has no login name here"):
        await place.accounts.by_peer(ours, door="setter")


def test_without_a_proof_everybody_can_be_set():
    unproved("setter").check("ada")


def test_a_writer_without_a_user_sets_nothing_by_accident():
    with pytest.raises(NotAllowedError):
        Writer(None, admin=False, door="http", proof="none").check("None")
