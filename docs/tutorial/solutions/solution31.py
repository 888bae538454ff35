"""Revoke a token: the tokens are read from a file again whenever it changes, so a revoked one ends at once."""

import json
import os
from pathlib import Path
from tempfile import TemporaryDirectory

from harness import Step
from tokens31 import Tokens, digest, new_token


class TokenFile:
    """Tokens in a JSON file of digests and users, mode 0600."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = (0, 0)
        self._tokens = Tokens({})

    def user_of(self, token: str, address: str) -> str:
        about = self._path.stat()
        if about.st_mode & 0o077:
            raise ValueError("The tokens cannot be used: others can read their file")
        if (seen := (about.st_mtime_ns, about.st_ino)) != self._seen:
            self._tokens = Tokens(json.loads(self._path.read_text()))
            self._seen = seen
        return self._tokens.user_of(token, address)

    @staticmethod
    def write(path: Path, tokens: dict[str, str]) -> None:
        """Replace the file as a whole: a reader sees the old one or the new one."""
        new = path.with_suffix(".new")
        with open(new, "w", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            json.dump(tokens, file)
        new.replace(path)


async def main() -> None:
    print(new_token())


async def check(_step: Step) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder, "tokens.json")
        ada, moshez = new_token(), new_token()
        TokenFile.write(path, {digest(ada): "ada", digest(moshez): "moshez"})
        tokens = TokenFile(path)
        assert tokens.user_of(ada, "127.0.0.1") == "ada"
        TokenFile.write(path, {digest(moshez): "moshez"})
        said = ""
        try:
            tokens.user_of(ada, "127.0.0.1")
        except ValueError as error:
            said = str(error)
        assert said == "This token is not known"
        assert tokens.user_of(moshez, "127.0.0.1") == "moshez"
        path.chmod(0o644)
        try:
            tokens.user_of(moshez, "127.0.0.1")
        except ValueError as error:
            said = str(error)
        assert "others can read" in said


if __name__ == "__main__":
    import trio

    trio.run(main)
