"""The recipe for one person: finger, the own shell, feeds, WebFinger, and https by Caddy."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from fingertrio.testing.process import environment, run
from tests.conf.behind import CHECKS, Behind, finger
from tests.conf.recipes import LIMITS, caddy, listening, own, recipe, serving, token

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class OnePerson(Behind):
    """The running recipe, and how a command of the page is run."""

    config: Path
    environ: Mapping[str, str]

    def run(self, *arguments: object) -> str:
        done = run(*arguments, environ={**environment(), **own(self.config, self.environ)})
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def site() -> Iterator[OnePerson]:
    with tempfile.TemporaryDirectory(prefix="ft-") as name:
        directory = Path(name)
        config = recipe("one-person.toml", directory, {"/var/lib/fingertrio": name})
        environ = {**LIMITS, **listening("finger", "http", setter=f"unix:{directory}/setter")}
        with serving(config, environ) as program:
            secret = token(config, environ, "ada")
            with caddy(directory, program.address("http")) as proxy:
                found = OnePerson(proxy, (program,), secret, config, environ)
                found.set("Weaving patterns")
                yield found


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_behind_caddy(site: OnePerson, check: Callable[[Behind], None]):
    check(site)


def test_the_own_shell_sets_the_status_that_finger_and_the_feeds_show(site: OnePerson):
    site.run("set", "--user", "ada", "Back", "at", "five")
    assert "Back at five" in finger(site.nodes[0].address("finger"), "ada")
    feed = json.loads(site.ask("/ada/feed.json").body)
    assert feed["items"][0]["content_text"] == "Back at five"
    assert feed["feed_url"] == "https://finger.example.org/ada/feed.json"
    assert b"Back at five" in site.ask("/ada/twtxt.txt").body


def test_a_fediverse_account_is_found_under_the_own_domain(site: OnePerson):
    site.run("user", "set", "ada", "--config", site.config, "--detail", "fediverse=ada@social.example")
    for _ in range(2000):  # the command writes the database itself, which the server notices within a second
        answer = site.ask("/.well-known/webfinger?resource=acct:ada@example.org", host="example.org")
        if answer.status == 307:
            break
    assert answer.status == 307
    assert answer.headers.get("Location", "").startswith("https://social.example/.well-known/webfinger?")
    site.run("user", "set", "ada", "--config", site.config, "--detail", "fediverse=")
