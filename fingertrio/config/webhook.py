"""The [[webhook]] tables: receivers that are sent a signed HTTP request whenever a status changes.

    [[webhook]]
    name = "team"
    url = "https://hooks.example.org/finger"
    secret_file = "/etc/fingertrio/team.secret"

Here the form of everything is checked, the secrets too where their files can be read. The door reads them again, at
start and at each reload. Neither a secret nor the path of a URL is in a message: some receivers put a secret there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, RootModel, field_validator, model_validator

from fingertrio.config.secret_files import SecretFileError, read_secret
from fingertrio.config.sections import Networks, Section, to_list
from fingertrio.net.address import Address
from fingertrio.wire.http_url import HTTPURL, parse_http_url
from fingertrio.wire.webhook import SigningSecret

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,40}")


def _to_secret(value: object) -> SigningSecret:
    match value:
        case SigningSecret():
            return value
        case str():
            return SigningSecret.parse(value)
    raise ValueError("expected a secret in quotes")


def _to_url(value: object) -> HTTPURL:
    match value:
        case HTTPURL():
            return value
        case str():
            return parse_http_url(value, with_query=True, hide=True)
    raise ValueError("expected a URL in quotes")


Secret = Annotated[SigningSecret, BeforeValidator(_to_secret)]


class Webhook(Section):
    """One receiver."""

    name: str = Field(description="its name in commands, logs and metrics; what waits is kept under it")
    url: Annotated[HTTPURL, BeforeValidator(_to_url)] = Field(description="where requests are sent; https")
    secret: Secret | None = Field(None, description='"whsec_" and base64 of 24 to 64 bytes; signs each request')
    secret_file: Path | None = Field(
        None, description="file with the secret; each further line is an old one, see `old_secrets`"
    )
    old_secrets: tuple[Secret, ...] = Field(
        (), description="also sign with these, while the receiver does not know the new secret yet"
    )
    users: Annotated[tuple[str, ...], BeforeValidator(to_list)] = Field(
        ("*",), description='whose changes are sent: names, or patterns such as "*" and "ops-*"'
    )
    timeout: float = Field(15.0, ge=1, le=60, description="seconds for one request, connecting included")
    allow: Networks = Field(
        (), description='networks that it may be in although they are not public, such as "10.0.0.0/8"'
    )
    ca_file: Path | None = Field(None, description="PEM file with authorities to trust instead of the system's")
    insecure: bool = Field(False, description="allow http:// to an address of this machine")

    @field_validator("name")
    @classmethod
    def _is_name(cls, value: str) -> str:
        if _NAME.fullmatch(value) is None:
            raise ValueError('a name has up to 40 letters, digits, "_", "." and "-"')
        return value

    @field_validator("users")
    @classmethod
    def _are_some(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value:
            raise ValueError('without users nothing is sent; expected names, or "*" for all')
        return value

    @model_validator(mode="after")
    def _fits_together(self) -> Webhook:
        for mistake in self._mistakes():
            raise ValueError(mistake)
        return self

    def _mistakes(self) -> Iterator[str]:
        if (self.secret is None) == (self.secret_file is None):
            yield "needs either secret or secret_file; fingertrio webhook secret makes one"
        if self.secret_file is not None:
            try:
                self.secrets()
            except SecretFileError:
                pass  # perhaps readable for the server's user only; the door reports it
            except ValueError as error:
                yield str(error)
        if not self.url.tls:
            if not self.insecure:
                yield "url: http is not encrypted; use https, or insecure = true for a receiver on this machine"
            if not Address(self.url.host).is_local:
                yield "url: http is for a receiver on this machine alone (127.0.0.1, ::1, localhost); use https"

    def secrets(self) -> tuple[SigningSecret, ...]:
        """The secrets, the current one first.

        Raises:
            SecretFileError: secret_file cannot be read.
            ValueError: it has something else in it.
        """
        if self.secret_file is None:
            return (*((self.secret,) if self.secret is not None else ()), *self.old_secrets)
        lines = [line.strip() for line in read_secret(self.secret_file).splitlines() if line.strip()]
        if not lines:
            raise ValueError(f'secret_file: "{self.secret_file}" is empty')
        try:
            return (*map(SigningSecret.parse, lines), *self.old_secrets)
        except ValueError as error:
            raise ValueError(f'secret_file: "{self.secret_file}": {error}') from None


class WebhookSection(RootModel[tuple[Webhook, ...]]):
    """A signed HTTP request to other servers whenever a status changes, as in Standard Webhooks."""

    @model_validator(mode="before")
    @classmethod
    def _is_array(cls, value: Any) -> Any:
        if isinstance(value, Mapping):
            raise ValueError("write [[webhook]], in double brackets, one for each receiver")  # noqa: TRY004 -- pydantic
        return value

    @model_validator(mode="after")
    def _names_differ(self) -> WebhookSection:
        names = [hook.name for hook in self.root]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f'two have the name "{name}"')
        return self
