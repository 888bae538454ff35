"""The plan backend: the machine's own users, from the password database and the files they keep for it at home.

The homes belong to other people, and whoever asks is a stranger, so two parties are kept from harm and from harming:

- A name is a key of the password database and nothing else; only the exact login name finds anybody.
- A file counts if it is a plain file, belongs to the user whose home it is in and has a decent size. Everything else, a
  symbolic link, a FIFO, a device, somebody else's file, is as if it were not there; it is not even opened. Nothing is
  ever run.
- `.nofinger` in the home, of whatever kind and whoever put it there, hides the user everywhere. So does a home that we
  may not search: we could not see a `.nofinger`, and its owner has closed the door. Classic finger shows such users
  without their plan; `closed_homes` does so too.
- Hidden users, accounts outside the range of user ids and missing users get the same answer after the same work.
- The database may be a directory far away and a home may lie on a dead file system: all of it is done in threads of our
  own. A look that hangs is given up, not waited for, and no second one is started into the same home until it is back,
  so one bad home costs one thread.

We read with whatever rights we have. Do not run this as root: then files that are closed to others would be shown.
"""

from __future__ import annotations

import logging
import os
import pwd
import stat
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Protocol, Self, TypeVar
from weakref import WeakValueDictionary

import trio
from pydantic import BaseModel, ConfigDict, Field, model_validator

from fingertrio.backend import BackendError, UserInfo
from fingertrio.names import is_user_name
from fingertrio.wire.text import clean, clean_line

_log = logging.getLogger(__name__)

NO_PLAN = "No Plan."  # as finger has said since 4.2BSD

# Bytes. A plan of 64 KiB is a book already. A project is a line or a few. A public key of OpenPGP with many signatures
# takes 10 KiB; one of ssh less than one.
_PLAN_LIMIT = 64 * 1024
_PROJECT_LIMIT = 4 * 1024
_PUBKEY_LIMIT = 16 * 1024

# O_PATH: a home may be searchable without being readable (mode 711), and opening it must ask for no more.
_HOME_FLAGS = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
# O_NONBLOCK, O_NOCTTY: should the file be replaced after we looked, no FIFO makes us wait and no terminal takes us.
_FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC

# Where we look when there is nobody to look for, so that it takes as long.
_NOBODYS_HOME = "/"

_NOBODY = 65534  # owns what belongs to nobody; never a person, however far the range of user ids is set

# A local home answers in microseconds and a remote one in milliseconds. When people are listed, who is slower than this
# is left out; the list is asked for within the service's 5 seconds.
_LISTING_PATIENCE = 1.0  # seconds

T = TypeVar("T")


class PlanOptions(BaseModel):
    """What a configuration may say of this backend."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_uid: int = Field(default=1000, ge=0, description="Accounts with a smaller user id do not exist (UID_MIN).")
    max_uid: int = Field(
        default=60_000,
        ge=0,
        description="Accounts with a greater user id do not exist (UID_MAX); directory services use greater ones.",
    )
    plan: bool = Field(default=True, description="Show ~/.plan; it is the status.")
    project: bool = Field(default=True, description="Show ~/.project.")
    pubkey: bool = Field(default=True, description="Show ~/.pubkey.")
    closed_homes: bool = Field(
        default=False,
        description="Show users whose home we may not search, without any file, instead of hiding them.",
    )
    threads: int = Field(default=4, gt=0, description="How many homes are looked into at once.")

    @model_validator(mode="after")
    def _some_user_ids_remain(self) -> Self:
        if self.min_uid > self.max_uid:
            raise ValueError(f"min_uid ({self.min_uid}) is greater than max_uid ({self.max_uid}): nobody would exist")
        return self


@asynccontextmanager
async def open_plan(options: PlanOptions) -> AsyncIterator[PlanBackend]:
    """A backend over the users of this machine and their ~/.plan. It lists them; their plans are theirs to set."""
    yield PlanBackend(options)


class Passwords(Protocol):
    """A password database. Its methods may block; they are called in threads."""

    def find(self, user: str) -> pwd.struct_passwd | None:
        """The account of that name, None if there is none."""
        ...

    def names(self) -> Iterable[str]:
        """Login names to list, in order. Those that `find` does not know do not matter."""
        ...


class SystemPasswords:
    """The password database of this machine.

    It finds whomever the system knows. It lists the local accounts, those in /etc/passwd, and not what a directory
    service adds: `pwd.getpwall` keeps the interpreter's lock while it waits for the directory, and with it every door.
    `pwd.getpwnam` lets it go.
    """

    def __init__(self, passwd: Path = Path("/etc/passwd")) -> None:
        self._passwd = passwd

    def find(self, user: str) -> pwd.struct_passwd | None:
        """As Passwords. A directory service that is down looks as if it did not know the user; Python tells no more."""
        try:
            return pwd.getpwnam(user)
        except (KeyError, UnicodeEncodeError):  # the latter: a name that the locale's encoding cannot hold
            return None

    def names(self) -> Iterable[str]:
        """As Passwords, in the order of the file."""
        lines = self._passwd.read_text(encoding="utf-8", errors="replace").split("\n")
        return [name for name, colon, _ in (line.partition(":") for line in lines) if colon]


class PlanBackend:
    """Made by `open_plan`.

    Args:
        options: see there.
        passwords: who there is.
    """

    def __init__(self, options: PlanOptions, passwords: Passwords | None = None) -> None:
        self._options = options
        self._passwords = passwords or SystemPasswords()
        self._threads = trio.CapacityLimiter(options.threads)
        self._homes: WeakValueDictionary[str, trio.CapacityLimiter] = WeakValueDictionary()

    async def get_user(self, user: str) -> UserInfo | None:
        """The user's plan, full name and what else is shown; None: hidden or not there."""
        return await self._visit(user, self._tell)

    async def get_users(self) -> Sequence[str]:
        """Everybody whom `get_user` knows and whose home answers soon, in the order of the password database."""
        try:
            names = await trio.to_thread.run_sync(self._passwords.names, abandon_on_cancel=True, limiter=self._threads)
        except OSError as error:
            raise BackendError from error
        users: dict[str, None] = {}  # each once: a file may name one twice
        for name in filter(is_user_name, names):
            with trio.move_on_after(_LISTING_PATIENCE) as patience:
                if await self._visit(name, lambda account, _home: account.pw_name) is not None:
                    users[name] = None
            if patience.cancelled_caught:
                _log.warning("the home of %s does not answer; the list is without it", name)
        return tuple(users)

    async def _visit(self, user: str, tell: Callable[[pwd.struct_passwd, int | None], T]) -> T | None:
        """What `tell` makes of the user's account and open home, in a thread; None: nobody who may be shown."""
        turn = _Turn(self._homes.setdefault(user, trio.CapacityLimiter(1)), self._threads)
        return await trio.to_thread.run_sync(
            self._look,
            user,
            tell,
            abandon_on_cancel=True,
            limiter=turn,  # type: ignore[arg-type]  # trio takes whatever has these two methods, and types it narrower
        )

    def _look(self, user: str, tell: Callable[[pwd.struct_passwd, int | None], T]) -> T | None:
        account = self._find(user)
        with ExitStack() as stack:
            home: int | None = None
            try:
                home = os.open(account.pw_dir if account else _NOBODYS_HOME, _HOME_FLAGS)
                stack.callback(os.close, home)
                os.stat(".nofinger", dir_fd=home, follow_symlinks=False)
                shown = False
            except (FileNotFoundError, NotADirectoryError):  # no such file, or no home at all: nobody wants to hide
                shown = True
            except OSError:  # it cannot be told
                shown = self._options.closed_homes
            return tell(account, home) if account and shown else None

    def _find(self, user: str) -> pwd.struct_passwd | None:
        account = self._passwords.find(user)
        if account is None or account.pw_name != user:  # some directories find "Moshez" for "moshez"
            return None
        is_person = self._options.min_uid <= account.pw_uid <= self._options.max_uid and account.pw_uid != _NOBODY
        return account if is_person else None

    def _tell(self, account: pwd.struct_passwd, home: int | None) -> UserInfo:
        plan = project = pubkey = None
        if home is not None:
            uid = account.pw_uid
            plan = _read(home, ".plan", uid, _PLAN_LIMIT) if self._options.plan else None
            project = _read(home, ".project", uid, _PROJECT_LIMIT) if self._options.project else None
            pubkey = _read(home, ".pubkey", uid, _PUBKEY_LIMIT) if self._options.pubkey else None
        details = {"project": project and project.text, "pubkey": pubkey and pubkey.text}
        return UserInfo(
            account.pw_name,
            plan.text if plan else NO_PLAN,
            name=_full_name(account),
            since=plan.modified if plan else None,
            details=MappingProxyType({key: text for key, text in details.items() if text}),
        )


@dataclass(frozen=True, slots=True)
class _Text:
    """What a file says, and when it was written."""

    text: str
    modified: datetime | None


def _read(home: int, name: str, owner: int, limit: int) -> _Text | None:
    """The file `name` in the directory `home`; None: there is none that counts, or it is blank."""
    try:
        if not _counts(os.stat(name, dir_fd=home, follow_symlinks=False), owner):
            return None
        fd = os.open(name, _FILE_FLAGS, dir_fd=home)
        try:
            about = os.fstat(fd)  # of what was opened, whatever the name stands for by now
            if not _counts(about, owner):
                return None
            with open(fd, "rb", closefd=False) as file:
                data = file.read(limit + 1)
        finally:
            os.close(fd)
    except OSError:
        return None
    if len(data) > limit:
        return None
    text = clean(data.decode("utf-8", "replace")).rstrip("\n")
    return _Text(text, _moment(about.st_mtime)) if text.strip() else None


def _counts(about: os.stat_result, owner: int) -> bool:
    return stat.S_ISREG(about.st_mode) and about.st_uid == owner


def _moment(timestamp: float) -> datetime | None:
    """None: no calendar knows it. The owner of a file may date it to any year."""
    try:
        return datetime.fromtimestamp(timestamp, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _full_name(account: pwd.struct_passwd) -> str | None:
    """The first field of GECOS, where & stands for the login name with a capital."""
    login = account.pw_name
    field = account.pw_gecos.partition(",")[0].replace("&", login[:1].upper() + login[1:])
    # Bytes that were not UTF-8 come as lone surrogates: show that something is there.
    return clean_line(field.encode("utf-8", "surrogateescape").decode("utf-8", "replace")) or None


class _Turn:
    """A place in one home, then a place in a thread; a limiter for one `trio.to_thread.run_sync`.

    Trio gives both back when the thread has really ended, also where nobody waits for it any more. Until then, who
    asks for the same home waits for that, without holding a thread.
    """

    def __init__(self, home: trio.CapacityLimiter, threads: trio.CapacityLimiter) -> None:
        self._home = home
        self._threads = threads

    async def acquire_on_behalf_of(self, borrower: object) -> None:
        await self._home.acquire_on_behalf_of(borrower)
        try:
            await self._threads.acquire_on_behalf_of(borrower)
        except BaseException:
            self._home.release_on_behalf_of(borrower)
            raise

    def release_on_behalf_of(self, borrower: object) -> None:
        self._threads.release_on_behalf_of(borrower)
        self._home.release_on_behalf_of(borrower)
