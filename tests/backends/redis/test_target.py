from __future__ import annotations

import pytest

from fingertrio.backends.redis.target import RedisTarget, parse_target


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("redis://localhost", RedisTarget("server", (("localhost", 6379),))),
        ("redis://10.0.0.1:7000/3", RedisTarget("server", (("10.0.0.1", 7000),), db=3)),
        ("redis://[::1]:7000", RedisTarget("server", (("::1", 7000),))),
        ("redis://[::1]", RedisTarget("server", (("::1", 6379),))),
        ("rediss://u:p@h:1/", RedisTarget("server", (("h", 1),), username="u", password="p", tls=True)),
        ("redis://:p%40ss%2F@h", RedisTarget("server", (("h", 6379),), password="p@ss/")),
        ("unix:///run/redis/redis.sock", RedisTarget("server", path="/run/redis/redis.sock")),
        ("unix:/run/redis.sock?db=2", RedisTarget("server", path="/run/redis.sock", db=2)),
        ("redis+sentinel://a,b:7/mymaster", RedisTarget("sentinel", (("a", 26379), ("b", 7)), service="mymaster")),
        (
            "rediss+sentinel://u:p@[::1]:1,b/my%20master/4",
            RedisTarget("sentinel", (("::1", 1), ("b", 26379)), "", 4, "my master", "u", "p", tls=True),
        ),
        ("redis+cluster://a,b:7", RedisTarget("cluster", (("a", 6379), ("b", 7)))),
        ("rediss+cluster://:p@a", RedisTarget("cluster", (("a", 6379),), password="p", tls=True)),
    ],
)
def test_each_notation_is_parsed(url: str, target: RedisTarget) -> None:
    assert parse_target(url) == target


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://h", "expected redis://"),
        ("redis+mirror://h", "expected redis://"),
        ("localhost:6379", "expected redis://"),
        ("redis://", "each host must be"),
        ("redis://h:", "each host must be"),
        ("redis://h:99999", "99999 is not a port"),
        ("redis://h:0", "0 is not a port"),
        ("redis://::1", "each host must be"),
        ("redis://a,b", "one host"),
        ("redis://h/mymaster", "the database must be a number"),
        ("redis://h/-1", "the database must be a number"),
        ("redis://h?db=1", "not allowed here"),
        ("redis://h#1", "not allowed here"),
        ("redis+sentinel://h", "the service name"),
        ("redis+sentinel://h/m/x", "the database must be a number"),
        ("redis+cluster://h/1", "only one database"),
        ("unix://run/redis.sock", "starts with a slash"),
        ("unix:redis.sock", "starts with a slash"),
        ("unix:///s?timeout=1", "only `\\?db=`"),
    ],
)
def test_an_invalid_url_is_refused_with_a_reason(url: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_target(url)


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("redis://u:secret@h", "Redis at h:6379"),
        ("redis://:secret@[::1]:1/2", "Redis at [::1]:1"),
        ("unix:///s", "Redis at /s"),
        ("redis+sentinel://u:secret@a,b:7/m", 'Redis "m" of the sentinels a:26379, b:7'),
        ("redis+cluster://u:secret@a", "the Redis cluster of a:6379"),
    ],
)
def test_its_name_in_the_log_omits_the_password(url: str, text: str) -> None:
    target = parse_target(url)
    assert str(target) == text
    assert "secret" not in repr(target)


def test_a_bad_host_is_not_repeated_since_it_may_be_a_password() -> None:
    with pytest.raises(ValueError, match="each host must be") as caught:
        parse_target("redis://u:sec:ret@:@h:x")
    assert "ret" not in str(caught.value)
