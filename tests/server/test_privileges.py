"""Dropping privileges. Each test that does so runs in its own process, because it cannot be undone."""

import grp
import os
import pwd
import subprocess
import sys

import pytest

from fingertrio.server.privileges import PrivilegeError, drop_privileges

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

# What a child does: the module alone, since what it needs afterwards must not depend on file permissions.
CHILD = """
import os, sys
from fingertrio.server.privileges import drop_privileges
print(drop_privileges({user!r}, {group!r}, run_as_root=False))
print(os.getresuid(), os.getresgid(), sorted(os.getgroups()))
try:
    os.setuid(0)
except PermissionError:
    print("for good")
"""


def in_child(user, group=None):
    code = CHILD.format(user=user, group=group)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=20)
    return done.stdout.splitlines()


@root_only
def test_root_becomes_the_user_with_its_groups_for_good():
    account = pwd.getpwnam("daemon")
    groups = sorted({account.pw_gid, *(g.gr_gid for g in grp.getgrall() if "daemon" in g.gr_mem)})
    became, identity, end = in_child("daemon")
    assert became == "daemon"
    assert identity == f"{(account.pw_uid,) * 3} {(account.pw_gid,) * 3} {groups}"
    assert end == "for good"


@root_only
def test_another_group_can_be_named():
    gid = grp.getgrnam("mail").gr_gid
    _, identity, _ = in_child("daemon", "mail")
    assert f"{(gid,) * 3}" in identity


@root_only
def test_root_does_not_stay_root_unasked():
    with pytest.raises(PrivilegeError, match="run_as_root = true"):
        drop_privileges(None, None, run_as_root=False)
    assert drop_privileges(None, None, run_as_root=True) is None


def test_an_unknown_user_or_group_is_named():
    with pytest.raises(PrivilegeError, match='there is no user "nosuchuser"'):
        drop_privileges("nosuchuser", None, run_as_root=False)
    with pytest.raises(PrivilegeError, match='there is no group "nosuchgroup"'):
        drop_privileges("daemon", "nosuchgroup", run_as_root=False)
