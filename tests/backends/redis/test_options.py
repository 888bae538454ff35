from __future__ import annotations

import pytest
from pydantic import ValidationError

from fingertrio.backends.redis.options import RedisOptions
from fingertrio.backends.redis.target import RedisTarget


def test_the_default_is_redis_on_this_machine() -> None:
    assert RedisOptions().target == RedisTarget("server", (("127.0.0.1", 6379),))


def test_an_error_in_the_url_does_not_show_the_password() -> None:
    with pytest.raises(ValidationError, match="expected one host") as caught:
        RedisOptions(url="redis://:secret@a,b")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("prefix", ["", "{x}", "a b", "x" * 65, "finger\n"])
def test_a_prefix_that_could_break_a_hash_tag_is_an_error(prefix: str) -> None:
    with pytest.raises(ValidationError, match="prefix"):
        RedisOptions(prefix=prefix)
