"""`fingertrio webhook`: makes secrets, lists the webhooks of a configuration, and tries them.

$ fingertrio webhook test
team: https://hooks.example.org accepted the test (HTTP status 204, 35 ms)
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import click
import trio

from fingertrio.cli import completing, discover
from fingertrio.cli.arguments import text
from fingertrio.cli.check_config import load_or_exit, refuse
from fingertrio.cli.drawing import Column, table
from fingertrio.cli.errors import REFUSED, UNREACHABLE, Group, nearest, say, stop
from fingertrio.cli.output import write_utf8
from fingertrio.clients.dial import AddressRefusedError, RemoteError
from fingertrio.clients.post import PostAnswer
from fingertrio.clients.tls import TLSError
from fingertrio.config.config import Config
from fingertrio.config.errors import ConfigError
from fingertrio.config.webhook import WebhookSection
from fingertrio.frontends.webhook.door import STORE_NAME, to_webhooks
from fingertrio.frontends.webhook.sender import send_signed
from fingertrio.frontends.webhook.settings import WebhookSettings
from fingertrio.frontends.webhook.store import StoreError, count_waiting
from fingertrio.server.accounts import kept_directory
from fingertrio.wire import webhook as protocol
from fingertrio.wire.text import clean_line, first_line

_SHOWN = 200  # characters of a receiver's answer

_ADVICE = {
    401: "check that the receiver has the same secret",
    403: "check that the receiver has the same secret",
    404: "check the url",
    405: "check the url: it must take POST",
    410: "the receiver wants no more messages",
}

_config = click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path),
    shell_complete=completing.config_files,
    help="TOML file of the server.",
)


@click.group("webhook", cls=Group)
def webhook() -> None:
    """Try and list the webhooks of a configuration, and make secrets for them."""


@webhook.command("secret")
def secret() -> None:
    """Print a new secret, for `secret` or `secret_file` here and for the receiver there."""
    click.echo(protocol.SigningSecret.generate().reveal())


@webhook.command("list")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@_config
def list_(path: Path | None, as_json: bool) -> None:
    """List the webhooks: name, receiver, whose changes are sent, secrets, and how many messages wait."""
    config, webhooks = _load(path)
    try:
        waiting = count_waiting(kept_directory(config.backend) / STORE_NAME)
    except StoreError as error:
        stop(str(error), REFUSED)
    if as_json:
        documents = [
            {
                "name": each.name,
                "receiver": each.place,
                "users": list(each.users),
                "secrets": len(each.secrets),
                "waiting": waiting.get(each.name, 0),
            }
            for each in webhooks
        ]
        write_utf8(json.dumps(documents, ensure_ascii=False) + "\n")
        return
    columns = ("name", "bold"), ("receiver", "cyan"), ("users", "", True), ("secrets",), ("waiting",)
    rows = [
        (each.name, each.place, " ".join(each.users), str(len(each.secrets)), str(waiting.get(each.name, 0)))
        for each in webhooks
    ]
    table([Column(*column) for column in columns], rows, empty="no webhooks are configured")


@webhook.command("test")
@click.argument("name", required=False, type=text, shell_complete=completing.webhooks)
@click.option("--json", "as_json", is_flag=True, help="As JSON, with what each receiver answered.")
@_config
def test(path: Path | None, name: str | None, as_json: bool) -> None:
    """Send a signed event of the type status.test to the webhook NAME, or to all, and report what it answers.

    Exit status: 0 accepted; 1 a receiver did not accept it; 2 wrong usage or configuration; 3 no answer.
    """
    _, webhooks = _load(path)
    if not webhooks:
        stop("no webhooks are configured; add a [[webhook]]")
    chosen = [each for each in webhooks if name in (None, each.name)]
    if not chosen:
        names = [each.name for each in webhooks]
        stop(f"there is no webhook {name}{nearest(name or '', names)}; there are: {', '.join(names)}")
    results = trio.run(_try_all, chosen)
    if as_json:
        write_utf8(json.dumps([result.document() for result in results], ensure_ascii=False) + "\n")
    else:
        for result in results:
            result.show()
    sys.exit(next((status for status in (REFUSED, UNREACHABLE) if any(r.status == status for r in results)), 0))


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one test: an answer, or the reason why there is none."""

    webhook: WebhookSettings
    milliseconds: int
    answer: PostAnswer | None = None
    error: RemoteError | None = None

    @property
    def status(self) -> int:
        """The exit status."""
        if self.answer is None:
            return UNREACHABLE
        return 0 if self._is_accepted(self.answer) else REFUSED

    def show(self) -> None:
        """Print one line: an acceptance on standard output, everything else as an error."""
        name, place = self.webhook.name, self.webhook.place
        if self.answer is None:
            say(f"{name}: {clean_line(str(self.error))}{self._advice()}")
        elif self._is_accepted(self.answer):
            click.echo(f"{name}: {place} accepted the test (HTTP status {self.answer.status}, {self.milliseconds} ms)")
        else:
            said = self._said(self.answer)
            quoted = f', "{said}"' if said else ""
            say(f"{name}: {place} answered HTTP status {self.answer.status}{quoted}{self._advice()}")

    def document(self) -> dict[str, object]:
        """The same for programs."""
        return {
            "name": self.webhook.name,
            "receiver": self.webhook.place,
            "accepted": self.status == 0,
            "status": None if self.answer is None else self.answer.status,
            "answer": None if self.answer is None else self._said(self.answer),
            "error": None if self.error is None else clean_line(str(self.error)),
            "milliseconds": self.milliseconds,
        }

    @staticmethod
    def _is_accepted(answer: PostAnswer) -> bool:
        return protocol.judge(answer.status) is protocol.Verdict.DELIVERED

    @staticmethod
    def _said(answer: PostAnswer) -> str:
        return clean_line(first_line(answer.body.decode("utf-8", "replace")))[:_SHOWN]

    def _advice(self) -> str:
        if isinstance(self.error, AddressRefusedError):
            return "; if this network is yours, add it to allow"
        if isinstance(self.error, TLSError):
            return "; if the authority is yours, name it in ca_file"
        if self.answer is None:
            return ""
        if 300 <= self.answer.status <= 399:
            return "; redirects are not followed: use the final url"
        advice = _ADVICE.get(self.answer.status)
        return "" if advice is None else f"; {advice}"


async def _try_all(webhooks: Sequence[WebhookSettings]) -> list[Result]:
    results: dict[str, Result] = {}
    async with trio.open_nursery() as nursery:
        for each in webhooks:
            nursery.start_soon(_try, each, results)
    return [results[each.name] for each in webhooks]


async def _try(settings: WebhookSettings, results: dict[str, Result]) -> None:
    begun = trio.current_time()
    answer, failure = None, None
    body = protocol.test(settings.name, datetime.now(UTC))
    try:
        answer = await send_signed(settings, protocol.new_id(), body)
    except RemoteError as error:
        failure = error
    milliseconds = round((trio.current_time() - begun) * 1000)
    results[settings.name] = Result(settings, milliseconds, answer, failure)


def _load(path: Path | None) -> tuple[Config, list[WebhookSettings]]:
    """The configuration that is meant, and its webhooks. Ends the program if it has mistakes."""
    path = path or discover.serving_config()
    config = load_or_exit(path)
    section = config.doors.get("webhook", WebhookSection(()))
    try:
        return config, to_webhooks(section)
    except ValueError as error:
        refuse(ConfigError(f"{path}: [[webhook]] {error}"))
