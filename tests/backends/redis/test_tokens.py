"""The tokens of all servers, in Redis."""

from __future__ import annotations

from fingertrio.accounts.store import TokenStore
from fingertrio.backend import KeepsTokens
from fingertrio.backends.redis import RedisOptions, open_redis
from fingertrio.config.config import parse_config
from fingertrio.server.accounts import tokens_document
from fingertrio.testing.redis_server import RedisServer

CONFIG = parse_config({"backend": {"use": "redis"}})


async def test_a_token_works_on_every_node_and_ends_on_every_node(shared: RedisServer):
    options = RedisOptions(url=shared.url, prefix="tokens-nodes")
    async with open_redis(options) as one, open_redis(options) as other:
        here, there = TokenStore(tokens_document(CONFIG, one)), TokenStore(tokens_document(CONFIG, other))
        secret, token = await here.add("ada")
        assert await there.find(secret) == token
        await there.revoke(token.id)
        assert await here.find(secret) is None


async def test_a_document_is_replaced_only_by_a_writer_that_has_seen_it(shared: RedisServer):
    async with open_redis(RedisOptions(url=shared.url, prefix="tokens-replace")) as backend:
        assert isinstance(backend, KeepsTokens)
        assert await backend.read_tokens() is None
        assert await backend.replace_tokens(b"one", None)
        assert not await backend.replace_tokens(b"two", None)
        assert not await backend.replace_tokens(b"two", b"zero")
        assert await backend.replace_tokens(b"two", b"one")
        assert await backend.read_tokens() == b"two"
