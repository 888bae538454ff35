from __future__ import annotations

from datetime import timedelta

import pytest
import trio
from trio.testing import MockClock

from fingertrio.accounts.store import TokenStore
from fingertrio.accounts.tokens import TokensError
from tests.accounts.kit import Clock, MemoryDocument


async def test_a_token_is_found_by_its_secret_alone():
    store = TokenStore(MemoryDocument())
    secret, token = await store.add("ada", label="phone")
    assert await store.find(secret) == token
    assert await store.find(secret[:-1] + ("a" if secret[-1] != "a" else "b")) is None
    assert await store.find(token.digest) is None
    assert await store.find(token.id) is None


async def test_a_change_by_one_store_is_seen_by_the_next_look_of_another():
    document = MemoryDocument()
    one, other = TokenStore(document), TokenStore(document)
    secret, token = await one.add("ada")
    assert await other.find(secret) == token
    await other.revoke(token.id)
    assert await one.find(secret) is None
    assert await one.list() == []


async def test_revoking_what_is_not_there_says_so():
    with pytest.raises(LookupError, match="no token with the id abcdefgh"):
        await TokenStore(MemoryDocument()).revoke("abcdefgh")


async def test_all_tokens_of_a_user_go_together():
    store = TokenStore(MemoryDocument())
    for user in ("ada", "bob", "ada"):
        await store.add(user)
    assert await store.revoke_user("ada") == 2
    assert [token.user for token in await store.list()] == ["bob"]
    assert await store.revoke_user("ada") == 0


async def test_its_use_is_written_once_a_day():
    document, clock = MemoryDocument(), Clock()
    store = TokenStore(document, clock)
    secret, _ = await store.add("ada")
    for _ in range(3):
        token = await store.find(secret)
        assert token is not None
        await store.used(token)
    assert document.writes == 2
    clock.now += timedelta(days=1)
    token = await store.find(secret)
    assert token is not None
    await store.used(token)
    assert document.writes == 3
    [token] = await store.list()
    assert token.last_used == clock.now.replace(hour=0)


async def test_a_damaged_document_is_never_overwritten():
    document = MemoryDocument()
    document.content = b"damaged"
    store = TokenStore(document)
    with pytest.raises(TokensError):
        await store.add("ada")
    with pytest.raises(TokensError):
        await store.find("ft_" + "a" * 52)
    assert document.content == b"damaged"


async def test_after_a_document_was_damaged_its_old_tokens_do_not_count():
    document = MemoryDocument()
    store = TokenStore(document)
    secret, _ = await store.add("ada")
    document.content = b"damaged"
    with pytest.raises(TokensError):
        await store.find(secret)


async def test_a_document_that_others_change_for_seconds_is_changed_in_the_end(autojump_clock: MockClock):
    class Busy(MemoryDocument):
        async def replace(self, document: bytes, old: bytes | None) -> bool:
            return trio.current_time() >= begun + 5 and await super().replace(document, old)

    begun, document = trio.current_time(), Busy()
    await TokenStore(document).add("ada")
    assert document.writes == 1


async def test_a_document_that_others_change_all_the_time_ends_in_an_error(autojump_clock: MockClock):
    class Busy(MemoryDocument):
        async def replace(self, document: bytes, old: bytes | None) -> bool:
            return False

    with pytest.raises(TokensError, match="try again"):
        await TokenStore(Busy()).add("ada")
