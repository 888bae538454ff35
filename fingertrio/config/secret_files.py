"""Secrets that stand in files of their own. No message ever contains one."""

from __future__ import annotations

import os
from pathlib import Path

_CREDENTIALS = "$CREDENTIALS_DIRECTORY"  # systemd's LoadCredential=
_SECRET_LIMIT = 4096  # bytes of a file with a secret


class SecretFileError(ValueError):
    """A file with a secret cannot be used. The message never contains its content."""


def read_secret(path: Path) -> str:
    """The content of a file with a secret, without one trailing newline.

    Raises:
        SecretFileError: it cannot be read.
    """
    place = str(path)
    if place.startswith(_CREDENTIALS):
        place = os.environ.get("CREDENTIALS_DIRECTORY", _CREDENTIALS) + place[len(_CREDENTIALS) :]
    try:
        with Path(place).expanduser().open("rb") as file:
            content = file.read(_SECRET_LIMIT + 1)
    except OSError as error:
        raise SecretFileError(f'"{path}" cannot be read: {error.strerror}') from None
    if len(content) > _SECRET_LIMIT:
        raise SecretFileError(f'"{path}" is larger than {_SECRET_LIMIT} bytes')
    try:
        return content.removesuffix(b"\n").removesuffix(b"\r").decode()
    except UnicodeDecodeError:
        raise SecretFileError(f'"{path}" is not UTF-8 text') from None
