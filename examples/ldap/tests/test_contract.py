"""The contract of backends, on a real slapd: read only, and with statuses that are set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fingertrio.testing import check_backend
from fingertrio_ldap import LDAPOptions, open_ldap


@pytest.fixture
def password(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    path.write_text("root\n")
    return path


async def test_reading(slapd: Any) -> None:
    options = LDAPOptions(servers=(slapd.url,), start_tls=False, base="ou=people,dc=example,dc=org")
    known = {"moshez": "Happy and well", "ada": "At the engine"}
    checked = await check_backend(lambda: open_ldap(options), known=known)
    assert "the_list_is_of_the_users" in checked


async def test_setting(slapd: Any, password: Path) -> None:
    options = LDAPOptions.model_validate(
        {
            "servers": [slapd.url],
            "start_tls": False,
            "bind_dn": "cn=root,dc=example,dc=org",
            "password_file": password,
            "base": "dc=example,dc=org",
            "filter": "(&(objectClass=fingerUser)(fingerLogin={user}))",
            "login": "fingerLogin",
            "status": "fingerStatus",
            "since": "fingerSince",
            "write": True,
            "create": {
                "dn": "fingerLogin={user},dc=example,dc=org",
                "attributes": {"objectClass": ["fingerUser"], "fingerLogin": ["{user}"]},
            },
        }
    )
    checked = await check_backend(lambda: open_ldap(options))
    assert {"a_cancelled_new_user_is_whole_or_nobody", "clearing_leaves_an_empty_status"} <= set(checked)
