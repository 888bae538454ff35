from __future__ import annotations

from fingertrio.backends.redis.keys import Keys, layout_key


def tag(key: bytes) -> bytes:
    """What decides the hash slot of a key in a cluster."""
    return key[key.index(b"{") + 1 : key.index(b"}")]


def test_all_that_one_script_touches_shares_a_hash_tag() -> None:
    keys = Keys("fingertrio", 16)
    for user in ("moshez", "alice", "\u5f20\u4e09", "a.b+c$"):
        shard = keys.shard(user)
        names = [keys.user(user), keys.history(user), *(keys.of_shard(shard, what) for what in ("users", "count"))]
        assert {tag(name) for name in names} == {b"fingertrio:%d" % shard}


def test_users_are_spread_over_all_shards_and_stay_where_they_are() -> None:
    keys = Keys("fingertrio", 16)
    assert {keys.shard(f"user{number}") for number in range(200)} == set(range(16))
    assert keys.shard("moshez") == 1


def test_the_layout_has_a_place_that_depends_on_nothing() -> None:
    assert layout_key("x") == b"{x:0}:layout"
