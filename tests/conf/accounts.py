"""`python accounts.py USERS ...`: fingertrio with other accounts in the password database, in place of this machine's.

USERS is a JSON object of user names with [uid, home, full name].
"""

from __future__ import annotations

import json
import pwd
import sys

from fingertrio.backends.plan import backend as plan
from fingertrio.cli.main import main

ACCOUNTS = {
    user: pwd.struct_passwd((user, "x", uid, uid, name, home, "/bin/sh"))
    for user, (uid, home, name) in json.loads(sys.argv.pop(1)).items()
}


BY_UID = {account.pw_uid: account for account in ACCOUNTS.values()}
of_this_machine = pwd.getpwuid


def getpwuid(uid: int) -> pwd.struct_passwd:
    return BY_UID.get(uid) or of_this_machine(uid)


class Accounts:
    """A `plan.Passwords`."""

    def find(self, user: str) -> pwd.struct_passwd | None:
        return ACCOUNTS.get(user)

    def names(self) -> list[str]:
        return list(ACCOUNTS)


pwd.getpwuid = getpwuid
plan.SystemPasswords = Accounts  # type: ignore[assignment,misc] # the stand-in
main()
