"""What a user looks like in the directory: filters and names that a login name cannot break, and entries as answers.

The filter finds candidates, and the login attribute decides. Many directories compare without regard to case, and some
fold more than that, so `uid=MOSHEZ` may find the entry of moshez. An entry counts only if one of its login names is
exactly the one that was asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from ldap3.protocol.formatters.formatters import format_time
from ldap3.utils.conv import escape_filter_chars
from ldap3.utils.dn import escape_rdn

from fingertrio.backend import UserInfo
from fingertrio.names import canonical_name, is_user_name
from fingertrio.wire.text import clean, clean_line, decode
from fingertrio_ldap.options import USER, CreateOptions, LDAPOptions


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of the directory.

    Attributes:
        dn: its distinguished name.
        values: of each attribute, by its name in lower case.
    """

    dn: str
    values: Mapping[str, Sequence[bytes]]

    def texts(self, attribute: str) -> list[str]:
        """The values of an attribute as text, in the directory's order, which means nothing."""
        return [decode(value) for value in self.values.get(attribute.lower(), ())]

    def text(self, attribute: str) -> str:
        """The first of them, or nothing."""
        return next(iter(self.texts(attribute)), "")


def user_filter(options: LDAPOptions, user: str) -> str:
    """The filter for one user, escaped as in RFC 4515 section 3."""
    return options.filter.replace(USER, escape_filter_chars(user))


def list_filter(options: LDAPOptions) -> str:
    """The filter for all users: those that have a login name."""
    return options.filter.replace(USER, "*")


def attributes(options: LDAPOptions) -> list[str]:
    """Every attribute that an answer needs."""
    optional = [] if options.since is None else [options.since]
    return list(dict.fromkeys([options.login, options.name, options.status, *optional, *options.details.values()]))


def login_names(options: LDAPOptions, entry: Entry) -> list[str]:
    """The login names of an entry that can be asked for."""
    return [name for text in entry.texts(options.login) if is_user_name(name := canonical_name(text))]


def as_answer(options: LDAPOptions, user: str, entry: Entry) -> UserInfo:
    """The entry of `user` as an answer. A user without a status has an empty one."""
    details = {label: clean("\n".join(entry.texts(name))).strip() for label, name in options.details.items()}
    return UserInfo(
        user,
        clean(entry.text(options.status)).rstrip("\n"),
        name=clean_line(entry.text(options.name)) or None,
        since=None if options.since is None else _moment(entry.values.get(options.since.lower(), ())),
        details={label: text for label, text in details.items() if text},
    )


def new_entry(create: CreateOptions, user: str) -> tuple[str, dict[str, list[str]]]:
    """Name and attributes of a new user's entry; the name is escaped as in RFC 4514 section 2.4."""
    dn = create.dn.replace(USER, escape_rdn(user))
    return dn, {name: [text.replace(USER, user) for text in texts] for name, texts in create.attributes.items()}


def status_values(options: LDAPOptions, status: str, now: datetime) -> dict[str, list[str]]:
    """The attributes that a new status changes, with their values. LDAP has no empty values: they are removed."""
    values = {options.status: [status] if status else []}
    if options.since is not None:
        values[options.since] = [now.strftime("%Y%m%d%H%M%SZ")]
    return values


def _moment(values: Sequence[bytes]) -> datetime | None:
    """A Generalized Time (RFC 4517 section 3.3.13); None: there is none, or it is not one."""
    found = format_time(values[0]) if values else None
    if not isinstance(found, datetime):
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
