from __future__ import annotations

import pytest

from fingertrio.backends.redis.target import Target, parse_target


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("redis://localhost", Target("server", (("localhost", 6379),))),
        ("redis://10.0.0.1:7000/3", Target("server", (("10.0.0.1", 7000),), db=3)),
        ("redis://[::1]:7000", Target("server", (("::1", 7000),))),
        ("redis://[::1]", Target("server", (("::1", 6379),))),
        ("rediss://u:p@h:1/", Target("server", (("h", 1),), username="u", password="p", tls=True)),
        ("redis://:p%40ss%2F@h", Target("server", (("h", 6379),), password="p@ss/")),
        ("unix:///run/redis/redis.sock", Target("server", path="/run/redis/redis.sock")),
        ("unix:/run/redis.sock?db=2", Target("server", path="/run/redis.sock", db=2)),
        ("redis+sentinel://a,b:7/mymaster", Target("sentinel", (("a", 26379), ("b", 7)), service="mymaster")),
        (
            "rediss+sentinel://u:p@[::1]:1,b/my%20master/4",
            Target("sentinel", (("::1", 1), ("b", 26379)), "", 4, "my master", "u", "p", tls=True),
        ),
        ("redis+cluster://a,b:7", Target("cluster", (("a", 6379), ("b", 7)))),
        ("rediss+cluster://:p@a", Target("cluster", (("a", 6379),), password="p", tls=True)),
    ],
)
def test_each_notation_names_its_target(url: str, target: Target) -> None:
    assert parse_target(url) == target


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://h", "it starts with redis://"),
        ("redis+mirror://h", "it starts with redis://"),
        ("localhost:6379", "it starts with redis://"),
        ("redis://", "each host is"),
        ("redis://h:", "each host is"),
        ("redis://h:99999", "99999 is no port"),
        ("redis://h:0", "0 is no port"),
        ("redis://::1", "each host is"),
        ("redis://a,b", "one host"),
        ("redis://h/mymaster", "the database is a number"),
        ("redis://h/-1", "the database is a number"),
        ("redis://h?db=1", "nothing can follow"),
        ("redis://h#1", "nothing can follow"),
        ("redis+sentinel://h", "the name of the service"),
        ("redis+sentinel://h/m/x", "the database is a number"),
        ("redis+cluster://h/1", "one database only"),
        ("unix://run/redis.sock", "starts with a slash"),
        ("unix:redis.sock", "starts with a slash"),
        ("unix:///s?timeout=1", "only `\\?db=`"),
    ],
)
def test_what_is_no_target_is_refused_with_a_reason(url: str, reason: str) -> None:
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
def test_its_name_for_the_log_has_no_password(url: str, text: str) -> None:
    target = parse_target(url)
    assert str(target) == text
    assert "secret" not in repr(target)


def test_a_bad_host_is_not_repeated_since_it_may_be_a_password() -> None:
    with pytest.raises(ValueError, match="each host is") as caught:
        parse_target("redis://u:sec:ret@:@h:x")
    assert "ret" not in str(caught.value)
