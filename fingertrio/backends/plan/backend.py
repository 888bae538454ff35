"""The backend contract over the password database and the homes; see the package for the rules."""

from __future__ import annotations

import logging
import os
import pwd
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from math import ceil
from pathlib import Path
from types import MappingProxyType
from typing import Protocol, Self, TypeVar

import trio
from pydantic import BaseModel, ConfigDict, Field, model_validator

from fingertrio.backend import NO_PLAN, BackendError, UserInfo
from fingertrio.backends.plan.homes import open_home, read_file
from fingertrio.backends.plan.looks import PATIENCE, Looks, NoAnswerError
from fingertrio.backends.plan.release import ExactWaits
from fingertrio.names import is_user_name
from fingertrio.wire.text import clean_line, decode

_log = logging.getLogger(__name__)


# Bytes. A plan of 64 KiB is a book. A project is a few lines. An OpenPGP public key with many signatures takes 10 KiB,
# an ssh key less than one.
_PLAN_LIMIT = 64 * 1024
_PROJECT_LIMIT = 4 * 1024
_PUBKEY_LIMIT = 16 * 1024

# Opened when there is no account, so that this case makes the same system calls.
_ANY_HOME = "/"

_NOBODY = 65534  # the user id of files without an owner; never a person, whatever the range of user ids

# Seconds. A local home answers in microseconds, a remote one in milliseconds. For the list, homes that take longer are
# tried once more after all others, then left out. The list must end before the service's deadline of 5.
_LIST_PATIENCE = (0.05, 0.5)
_LIST_DEADLINE = 4.0

# Answers for hidden and missing users leave at this many moments in each `unknown_delay`, which takes as many threads.
_RELEASES = 10

_DATABASE = ""  # the key of a look into the password database alone; not a user name

T = TypeVar("T")


class PlanOptions(BaseModel):
    """Options of the `plan` backend."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_uid: int = Field(default=1000, ge=0, description="Accounts with a smaller user id are ignored (UID_MIN).")
    max_uid: int = Field(
        default=60_000,
        ge=0,
        description="Accounts with a greater user id are ignored (UID_MAX); directory services use greater ones.",
    )
    plan: bool = Field(default=True, description="Show ~/.plan; it is the status.")
    project: bool = Field(default=True, description="Show ~/.project.")
    pubkey: bool = Field(default=True, description="Show ~/.pubkey.")
    closed_homes: bool = Field(
        default=False,
        description="Show users whose home we may not search, without any file, instead of hiding them.",
    )
    threads: int = Field(
        default=4, gt=0, description="How many homes are read at once, not counting homes that do not answer."
    )
    unknown_delay: float = Field(
        default=0.1,
        ge=0,
        le=2,
        description="Seconds after which hidden and missing users are answered, so that the time does not tell which "
        "of the two a user is. Make it longer than your password database takes for a name; 0 answers at once.",
    )

    @model_validator(mode="after")
    def _some_user_ids_remain(self) -> Self:
        if self.min_uid > self.max_uid:
            raise ValueError(f"min_uid ({self.min_uid}) is greater than max_uid ({self.max_uid}): no account is left")
        return self


class Passwords(Protocol):
    """A password database. Its methods may block; they are called in threads."""

    def find(self, user: str) -> pwd.struct_passwd | None:
        """The account with this name, None if there is none."""
        ...

    def names(self) -> Iterable[str]:
        """Login names to list, in order. Names that `find` does not know are ignored."""
        ...


class SystemPasswords:
    """The password database of this machine.

    `find` knows every account of the system. `names` has only the local accounts, those in /etc/passwd, and not those
    of a directory service: `pwd.getpwall` holds the interpreter lock while it waits for the directory, which would stop
    all doors. `pwd.getpwnam` releases it.
    """

    def __init__(self, passwd: Path = Path("/etc/passwd")) -> None:
        self._passwd = passwd

    def find(self, user: str) -> pwd.struct_passwd | None:
        """See Passwords. If a directory service is down, its users look like missing users; Python cannot tell."""
        try:
            return pwd.getpwnam(user)
        except (KeyError, UnicodeEncodeError):  # the latter: the locale's encoding cannot express the name
            return None

    def names(self) -> Iterable[str]:
        """See Passwords; in the order of the file."""
        lines = self._passwd.read_text(encoding="utf-8", errors="replace").split("\n")
        return [name for name, colon, _ in (line.partition(":") for line in lines) if colon]


class PlanBackend:
    """Created by `open_plan`.

    Args:
        options: see `PlanOptions`.
        passwords: the accounts.
        wait_until: waits until an exact time of Trio's clock; for tests with another clock.
    """

    def __init__(
        self,
        options: PlanOptions,
        passwords: Passwords | None = None,
        wait_until: Callable[[float], Awaitable[None]] | None = None,
    ) -> None:
        self._options = options
        self._passwords = passwords or SystemPasswords()
        self._looks = Looks(options.threads)
        self._wait_until = wait_until or ExactWaits(options.unknown_delay / _RELEASES).until
        self._unlisted: frozenset[str] = frozenset()

    async def get_user(self, user: str) -> UserInfo | None:
        """The user's plan, full name and the other files that are shown; None: hidden or missing."""
        asked = trio.current_time()
        try:
            info = await self._visit(user, self._describe_user)
        except NoAnswerError as error:
            raise BackendError from error
        if info is None and (delay := self._options.unknown_delay):
            # A look that took longer waits for the next multiple: that tells as little as the load of the machine.
            intervals = max(ceil((trio.current_time() - asked) / delay), 1)
            await self._wait_until(asked + intervals * delay)
        return info

    async def get_users(self) -> Sequence[str]:
        """Every user whom `get_user` shows and whose home answers soon, in the order of the password database."""
        try:
            names = await self._looks.run(_DATABASE, lambda _enter: self._passwords.names())
        except (OSError, NoAnswerError) as error:
            raise BackendError from error
        accounts = list(dict.fromkeys(filter(is_user_name, names)))  # once each, although a file may repeat a name
        shown: dict[str, bool] = {}
        with trio.move_on_after(_LIST_DEADLINE):
            for patience in _LIST_PATIENCE:
                queue = iter([user for user in accounts if user not in shown])
                async with trio.open_nursery() as nursery:
                    for _ in range(self._options.threads):
                        nursery.start_soon(self._check_shown, queue, patience, shown)
        self._report_unlisted([user for user in accounts if user not in shown])
        return tuple(user for user in accounts if shown.get(user))

    async def _check_shown(self, queue: Iterator[str], patience: float, shown: dict[str, bool]) -> None:
        """Whether each user of the queue is shown; users whose homes do not answer are left out."""
        for user in queue:
            try:
                found = await self._visit(user, lambda account, _home: account.pw_name, patience=patience)
            except NoAnswerError:
                continue
            shown[user] = found is not None

    def _report_unlisted(self, users: Sequence[str]) -> None:
        if (now := frozenset(users)) != self._unlisted and users:
            some = ", ".join(users[:5]) + (f" and {len(users) - 5} more" if len(users) > 5 else "")
            _log.warning("the list of users lacks %s: no answer from their homes", some)
        self._unlisted = now

    async def _visit(
        self, user: str, use: Callable[[pwd.struct_passwd, int | None], T], *, patience: float = PATIENCE
    ) -> T | None:
        """What `use` returns for the user's account and open home, in a thread; None: hidden or missing."""

        def look(enter: Callable[[str], None]) -> T | None:
            account = self._find(user)
            path = account.pw_dir if account else _ANY_HOME
            enter(path)
            with open_home(path) as home:
                hidden = not self._options.closed_homes if home.hidden is None else home.hidden
                return None if account is None or hidden else use(account, home.fd)

        return await self._looks.run(user, look, patience=patience)

    def _find(self, user: str) -> pwd.struct_passwd | None:
        account = self._passwords.find(user)
        if account is None or account.pw_name != user:  # some directories find "Moshez" for "moshez"
            return None
        is_person = self._options.min_uid <= account.pw_uid <= self._options.max_uid and account.pw_uid != _NOBODY
        return account if is_person else None

    def _describe_user(self, account: pwd.struct_passwd, home: int | None) -> UserInfo:
        plan = project = pubkey = None
        if home is not None:
            uid = account.pw_uid
            plan = read_file(home, ".plan", uid, _PLAN_LIMIT) if self._options.plan else None
            project = read_file(home, ".project", uid, _PROJECT_LIMIT) if self._options.project else None
            pubkey = read_file(home, ".pubkey", uid, _PUBKEY_LIMIT) if self._options.pubkey else None
        details = {"project": project and project.text, "pubkey": pubkey and pubkey.text}
        return UserInfo(
            account.pw_name,
            plan.text if plan else NO_PLAN,
            name=_full_name(account),
            since=plan.modified if plan else None,
            details=MappingProxyType({key: text for key, text in details.items() if text}),
        )


def _full_name(account: pwd.struct_passwd) -> str | None:
    """The first field of GECOS, in which & means the capitalised login name."""
    login = account.pw_name
    field = account.pw_gecos.partition(",")[0].replace("&", login[:1].upper() + login[1:])
    return clean_line(decode(os.fsencode(field))) or None  # pwd decoded it by the locale, losslessly
