"""Makes what `fingertrio init` has decided: directories, the configuration, the first token. All of it or nothing."""

from __future__ import annotations

import os
import pwd
import shlex
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path

import click
import trio

from fingertrio.accounts.file import TokenFile
from fingertrio.accounts.store import TokenStore
from fingertrio.accounts.tokens import TokensError
from fingertrio.cli.errors import REFUSED, failure
from fingertrio.cli.init_file import Answers, configuration
from fingertrio.config.config import load_config
from fingertrio.config.errors import ConfigError
from fingertrio.config.places import config_path
from fingertrio.server.misconfiguration import find_misconfiguration

_LABEL = "made by fingertrio init"


def write(path: Path, answers: Answers, *, force: bool) -> None:
    """Write the configuration to `path`, make the token, and print both. Ends the program if that fails.

    Args:
        path: absolute.
        answers: what to write.
        force: replace a file that exists, and keep it beside the new one.
    """
    token: str | None = None
    try:
        with ExitStack() as undo:  # each step leaves what takes it back
            _make_directory(path.parent, 0o755, undo)
            # 711: others may connect to the setter's socket in it, if its mode allows it. The files are 600.
            _make_directory(answers.data, 0o700 if answers.run_as is None else 0o711, undo, owner=answers.run_as)
            draft = path.with_name(f".{path.name}.{os.getpid()}")
            undo.callback(draft.unlink, missing_ok=True)
            _write_draft(draft, configuration(answers))
            _check(draft)
            if answers.owner:
                token = _make_token(answers, undo)
            with _undisturbed():
                kept = _put_in_place(draft, path, undo, force=force)
                undo.pop_all()
                draft.unlink(missing_ok=True)
                _report(path, answers, token, kept)
    except FileExistsError:
        raise failure(f"{path} exists already; --force replaces it and keeps a backup", REFUSED) from None
    except OSError as error:
        raise failure(f"{error.filename or path} cannot be written: {error.strerror}", REFUSED) from None
    except (ConfigError, TokensError) as error:
        raise failure(str(error), REFUSED) from None


def _make_directory(directory: Path, mode: int, undo: ExitStack, *, owner: str | None = None) -> None:
    """Make it, and those above it. One that exists stays as it is."""
    for missing in reversed([place for place in (directory, *directory.parents) if not place.exists()]):
        missing.mkdir(mode=mode if missing == directory else 0o755)
        undo.callback(_remove_empty, missing)
        if missing == directory:
            missing.chmod(mode)  # whatever the umask
            if owner is not None:
                account = pwd.getpwnam(owner)
                os.chown(missing, account.pw_uid, account.pw_gid)


def _remove_empty(directory: Path) -> None:
    with suppress(OSError):  # something else is in it by now
        directory.rmdir()


def _write_draft(path: Path, content: str) -> None:
    path.unlink(missing_ok=True)  # what an interrupted run with the same process id left, or somebody put in the way
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        os.fchmod(descriptor, 0o644)  # no secrets: the commands of other users may read where the server is
        file.write(content)
        file.flush()
        os.fsync(descriptor)


def _check(draft: Path) -> None:
    """What `check-config` would say of it. Raises ConfigError: the directories do not suit the server's user."""
    for finding in find_misconfiguration(load_config(draft, {}, to_serve=True)):
        raise ConfigError(f"nothing was written, because this configuration would not work: {finding}")


def _make_token(answers: Answers, undo: ExitStack) -> str:
    file = TokenFile(answers.data / "tokens.json")
    was_there = file.path.exists()
    before = {token.id for token in trio.run(TokenStore(file).list)}

    async def revoke() -> None:
        """Also a token whose making was interrupted."""
        store = TokenStore(file)
        for token in await store.list():
            if token.id not in before and token.label == _LABEL:
                await store.revoke(token.id)
        if not was_there:
            file.path.unlink(missing_ok=True)

    undo.callback(trio.run, revoke)
    secret, _ = trio.run(partial(TokenStore(file).add, answers.owner, label=_LABEL))
    return secret


def _put_in_place(draft: Path, path: Path, undo: ExitStack, *, force: bool) -> Path | None:
    """Give the draft its name, without ever replacing a file that is not kept; where the one before is kept."""
    if not (force and path.exists()):
        os.link(draft, path)  # fails if the file exists, also if it was made a moment ago
        return None
    names = (f"{path.name}.old", *(f"{path.name}.old-{number}" for number in range(2, 1000)))
    kept = next(place for name in names if not (place := path.with_name(name)).exists())
    os.link(path, kept)
    undo.callback(kept.unlink)
    draft.replace(path)
    return kept


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Within, Ctrl-C waits: the file is in place, and the token must be shown before the program may end."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _report(path: Path, answers: Answers, token: str | None, kept: Path | None) -> None:
    option = "" if path == config_path() else f" --config {shlex.quote(str(path))}"
    user = f" --user {answers.owner}" if answers.owner and answers.owner != _login() else ""
    click.echo(f"wrote {click.style(str(path), bold=True)}" + (f"; the one before is {kept}" if kept else ""))
    click.echo(f"the database will be {answers.data / 'fingertrio.db'}")
    if token is not None:
        url = f"http://127.0.0.1:{answers.web_port}/api/users/{answers.owner}/status"
        click.echo(f"\nThe token of {answers.owner}, shown this once:\n\n  {click.style(token, fg='yellow')}\n")
        click.echo("Once the server runs, it sets the status from any program:\n")
        click.echo(f"  curl -H 'Authorization: Bearer {token}' -d 'hello, world' {url}")
    if answers.url.startswith("https:"):
        click.echo(f"\nYour proxy has to pass {answers.url}/ on to http://127.0.0.1:{answers.web_port}.")
    click.echo("\nNext, here and in another terminal:\n")
    for command in (f"fingertrio serve{option}", f"fingertrio set{user} hello, world"):
        click.echo(f"  {click.style(command, bold=True)}")


def _login() -> str:
    with suppress(KeyError):
        return pwd.getpwuid(os.geteuid()).pw_name
    return ""
