"""Web sessions: who is signed in, until when, and what a cookie is worth to somebody who changes or copies it."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fingertrio.accounts.sessions import SESSION_LENGTH, Seals, Session, Sessions
from fingertrio.accounts.store import TokenStore
from fingertrio.accounts.tokens import Token, TokensError
from tests.accounts.kit import Clock, MemoryDocument

A_MINUTE = timedelta(minutes=1)

T = TypeVar("T")


class Server:
    """One server over a document that others may share."""

    def __init__(self, document: MemoryDocument, clock: Clock) -> None:
        self.tokens = TokenStore(document, clock)
        self.sessions = Sessions(self.tokens, clock)

    async def begin(self, token: Token) -> str:
        return self.sessions.begin(await self.sessions.seals(), token)

    async def find(self, cookie: str) -> Session | None:
        return await self.sessions.find(await self.sessions.seals(), cookie)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def document() -> MemoryDocument:
    return MemoryDocument()


@pytest.fixture
def server(document: MemoryDocument, clock: Clock) -> Server:
    return Server(document, clock)


async def test_a_cookie_speaks_for_the_tokens_user_and_does_not_have_the_token(server: Server):
    secret, token = await server.tokens.add("ada", scope="admin")
    cookie = await server.begin(token)
    session = await server.find(cookie)
    assert session is not None
    assert session.writer("web") == await _writer(server, secret)
    assert secret not in cookie
    assert token.digest not in cookie
    assert len(cookie) < 300


async def _writer(server: Server, secret: str) -> object:
    found = await server.tokens.find(secret)
    assert found is not None
    return Session(found, found.created, "", False).writer("web")


async def test_every_changed_character_makes_a_cookie_worthless(server: Server):
    _, token = await server.tokens.add("ada")
    cookie = await server.begin(token)
    for at, char in enumerate(cookie[:-1]):  # two bits of the last one are padding, and read by no decoder
        assert await server.find(f"{cookie[:at]}{'B' if char == 'A' else 'A'}{cookie[at + 1 :]}") is None
    for cut in (cookie[:-1], cookie[1:], cookie + "A", "", ".", "..", cookie.upper()):
        assert await server.find(cut) is None


async def test_a_session_ends_with_its_token(server: Server, clock: Clock):
    _, token = await server.tokens.add("ada", expires=clock.now + timedelta(hours=1))
    _, other = await server.tokens.add("ada")
    first, second = await server.begin(token), await server.begin(other)
    await server.tokens.revoke(other.id)
    assert await server.find(second) is None
    clock.now += timedelta(minutes=59)
    assert await server.find(first) is not None
    clock.now += A_MINUTE
    assert await server.find(first) is None


async def test_a_session_ends_a_month_after_its_last_use(server: Server, clock: Clock):
    _, token = await server.tokens.add("ada")
    cookie = await server.begin(token)
    began = clock.now
    for _ in range(5):  # used, and renewed, again and again
        clock.now += SESSION_LENGTH - A_MINUTE
        session = await server.find(cookie)
        assert session is not None
        assert session.begun == began
        assert session.is_old
        cookie = server.sessions.renew(await server.sessions.seals(), session)
    clock.now += SESSION_LENGTH
    assert await server.find(cookie) is None


async def test_signing_out_ends_copies_of_the_cookie_and_renewed_ones(server: Server, clock: Clock):
    _, token = await server.tokens.add("ada")
    _, other = await server.tokens.add("ada")
    cookie, kept = await server.begin(token), await server.begin(other)
    session = await server.find(cookie)
    assert session is not None
    renewed = server.sessions.renew(await server.sessions.seals(), session)
    await server.sessions.end(session)
    assert await server.find(cookie) is None
    assert await server.find(renewed) is None
    assert await server.find(kept) is not None
    again = await server.tokens.find_id(token.id)
    assert again is not None
    assert await server.find(await server.begin(again)) is not None  # in the same moment


async def test_servers_that_share_tokens_share_sessions(document: MemoryDocument, clock: Clock):
    one, other = Server(document, clock), Server(document, clock)
    _, token = await one.tokens.add("ada")
    cookie = await one.begin(token)
    session = await other.find(cookie)
    assert session is not None
    await other.sessions.end(session)
    assert await one.find(cookie) is None


async def test_a_session_ends_also_on_a_server_whose_clock_is_behind(document: MemoryDocument, clock: Clock):
    behind = Clock()
    behind.now = clock.now - A_MINUTE
    ahead, slow = Server(document, clock), Server(document, behind)
    _, token = await ahead.tokens.add("ada")
    first = await ahead.begin(token)
    clock.now += A_MINUTE / 2
    await slow.sessions.end(_found(await slow.find(first)))
    assert await ahead.find(first) is None

    second = await ahead.begin(token)
    await ahead.sessions.end(_found(await ahead.find(second)))
    again = await slow.begin(_found(await slow.tokens.find_id(token.id)))
    await slow.sessions.end(_found(await slow.find(again)))
    for cookie in (first, second, again):
        assert await slow.find(cookie) is None


def _found(value: T | None) -> T:
    assert value is not None
    return value


async def test_keys_change_and_go_when_nothing_they_signed_is_valid(
    server: Server, document: MemoryDocument, clock: Clock
):
    _, token = await server.tokens.add("ada")
    cookie, used = await server.begin(token), []
    for _ in range(6):
        clock.now += timedelta(days=29)
        session = await server.find(cookie)
        assert session is not None
        cookie = server.sessions.renew(await server.sessions.seals(), session)
        keys = [entry["key"] for entry in json.loads(document.content or b"")["session_keys"]]
        assert 1 <= len(keys) <= 3
        used.append(keys[-1])
    assert len(set(used)) >= 3


async def test_all_sessions_are_ended_at_once(server: Server, document: MemoryDocument, clock: Clock):
    secret, token = await server.tokens.add("ada")
    cookie = await server.begin(token)
    await TokenStore(document, clock).end_sessions()  # by a command, while the server runs
    assert await server.find(cookie) is None
    assert await server.tokens.find(secret) == token
    assert await server.find(await server.begin(token)) is not None


async def test_without_a_token_no_key_is_kept(server: Server, document: MemoryDocument):
    seals = await server.sessions.seals()
    assert seals.open("form", seals.seal("form", "x", A_MINUTE)) == "x"
    assert document.content is None


async def test_a_document_that_cannot_be_written_leaves_sessions_in_memory(clock: Clock):
    document = _ReadOnly()
    server = Server(document, clock)
    _, token = await server.tokens.add("ada")
    document.is_read_only = True
    cookie = await server.begin(token)
    assert await server.find(cookie) is not None
    assert await Server(document, clock).find(cookie) is None
    session = await server.find(cookie)
    assert session is not None
    with pytest.raises(TokensError):
        await server.sessions.end(session)


class _ReadOnly(MemoryDocument):
    is_read_only = False

    async def replace(self, document: bytes, old: bytes | None) -> bool:
        if self.is_read_only:
            raise TokensError("tokens.json cannot be written: Read-only file system")
        return await super().replace(document, old)


async def test_what_is_sealed_for_one_purpose_is_nothing_for_another(clock: Clock):
    seals = Seals(["a" * 64], clock)
    sealed = seals.seal("undo", ["ada", None], A_MINUTE)
    assert seals.open("undo", sealed) == ["ada", None]
    assert seals.open("form", sealed) is None
    assert Seals(["b" * 64], clock).open("undo", sealed) is None
    assert Seals(["a" * 64, "b" * 64], clock).open("undo", sealed) == ["ada", None]
    clock.now += A_MINUTE
    assert seals.open("undo", sealed) is None


@given(st.text(max_size=200))
def test_any_text_is_a_session_or_none(text: str):
    assert Seals(["a" * 64], Clock()).open("session", text) is None
