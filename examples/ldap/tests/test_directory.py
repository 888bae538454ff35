"""What is particular to a directory, on a real slapd: attributes, escaping, pages, TLS, passwords, outages."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
import trustme

from fingertrio.backend import BackendError, ListsUsers, SetsStatus, UserInfo
from fingertrio_ldap import LDAPOptions, open_ldap
from fingertrio_ldap.directory import Directory
from fingertrio_ldap.entries import new_entry, user_filter
from fingertrio_ldap.errors import DirectoryError
from fingertrio_ldap.options import CreateOptions
from fingertrio_ldap.pool import Pool

SUFFIX = "dc=example,dc=org"
PEOPLE = f"ou=people,{SUFFIX}"
ROOT = f"cn=root,{SUFFIX}"

Options = Callable[..., LDAPOptions]


@pytest.fixture
def options(slapd: Any, tmp_path: Path) -> Options:
    """Makes options for the server; a `password` is written to a file."""

    def options(password: str | None = None, **more: object) -> LDAPOptions:
        table: dict[str, object] = {"servers": [slapd.url], "start_tls": False, "base": PEOPLE}
        if password is not None:
            (tmp_path / "password").write_text(f"{password}\n")
            table |= {"bind_dn": ROOT, "password_file": tmp_path / "password"}
        return LDAPOptions.model_validate(table | more)

    return options


def opened(options: LDAPOptions) -> AbstractAsyncContextManager[Any]:
    """The backend, which sets statuses or does not, depending on its options."""
    return open_ldap(options)


async def reason(backend: Any, user: str = "moshez") -> str:
    """Why asking for a user fails: what the log gets. A client reads that there is an internal error."""
    with pytest.raises(BackendError, match="Internal error") as caught:
        await backend.get_user(user)
    return str(caught.value.__cause__)


# ---- Entries


async def test_attributes_are_an_answer(slapd: Any, options: Options) -> None:
    details = {"phone": "telephoneNumber", "room": "roomNumber"}
    async with opened(options(details=details)) as backend:
        assert await backend.get_user("moshez") == UserInfo(
            "moshez", "Happy and well", name="Moshe Zadka", details={"phone": "555 1234"}
        )
        assert await backend.get_users() == ["ada", "moshez"]
        assert not isinstance(backend, SetsStatus)


async def test_the_directory_folds_names_and_the_answer_does_not(options: Options) -> None:
    async with opened(options()) as backend:
        assert await backend.get_user("MOSHEZ") is None


async def test_the_time_of_a_status_is_a_generalized_time(options: Options) -> None:
    async with opened(options(since="createTimestamp")) as backend:
        info = await backend.get_user("ada")
        assert info is not None
        assert info.since is not None
        assert abs((datetime.now(UTC) - info.since).total_seconds()) < 3600
    async with opened(options(since="cn")) as backend:
        info = await backend.get_user("ada")
        assert info is not None
        assert info.since is None


async def test_a_user_without_a_status_is_a_user(slapd: Any, options: Options) -> None:
    slapd.apply(f"dn: uid=quiet,{PEOPLE}\nobjectClass: inetOrgPerson\nuid: quiet\ncn: Q\nsn: Q\n")
    async with opened(options()) as backend:
        assert await backend.get_user("quiet") == UserInfo("quiet", "", name="Q")
    slapd.apply(f"dn: uid=quiet,{PEOPLE}\nchangetype: delete\n")


async def test_a_name_of_two_entries_is_an_error(slapd: Any, options: Options) -> None:
    slapd.apply(f"dn: cn=twin,{PEOPLE}\nobjectClass: inetOrgPerson\nuid: ada\ncn: twin\nsn: T\n")
    async with opened(options()) as backend:
        text = await reason(backend, "ada")
    assert text.startswith("ada is the login name of ")
    assert f"cn=twin,{PEOPLE}" in text
    slapd.apply(f"dn: cn=twin,{PEOPLE}\nchangetype: delete\n")


@pytest.mark.parametrize("name", ["*", "mosh*", "moshez)(uid=*", "*)(|(uid=*", "\\2a", "a\0b", "(", "zo\u00eb\\"])
def test_a_name_cannot_change_the_filter(slapd: Any, options: Options, name: str) -> None:
    """Names like these never reach a backend. Here they go to the directory itself."""
    given = options()
    pool = Pool(given)
    try:
        directory = Directory(given, pool)
        assert directory.search(user_filter(given, name), ["uid"]) == []
        assert len(directory.search(user_filter(given, "ada"), ["uid"])) == 1
    finally:
        pool.close()


def test_an_odd_name_finds_its_entry(slapd: Any, options: Options) -> None:
    slapd.apply(f"dn: cn=odd,{PEOPLE}\nobjectClass: inetOrgPerson\nuid: a*b(c)\\d\ncn: odd\nsn: O\n")
    given = options()
    pool = Pool(given)
    try:
        [entry] = Directory(given, pool).search(user_filter(given, "a*b(c)\\d"), ["uid"])
        assert entry.dn == f"cn=odd,{PEOPLE}"
    finally:
        pool.close()
        slapd.apply(f"dn: cn=odd,{PEOPLE}\nchangetype: delete\n")


@pytest.mark.parametrize("name", ["a,ou=admins", "a+cn=b", 'a"b', "a=b", "#a", "a;b<c>d", "a\\"])
def test_a_name_cannot_change_the_place_of_a_new_entry(slapd: Any, options: Options, name: str) -> None:
    given = options(password="root")
    create = CreateOptions.model_validate(
        {
            "dn": f"uid={{user}},{PEOPLE}",
            "attributes": {"objectClass": ["inetOrgPerson"], "uid": ["{user}"], "cn": ["odd"], "sn": ["O"]},
        }
    )
    pool = Pool(given)
    try:
        directory = Directory(given, pool)
        dn, values = new_entry(create, name)
        directory.add(dn, values)
        [entry] = directory.search(user_filter(given, name), ["uid"])
        assert entry.texts("uid") == [name]
        assert entry.dn.endswith(f",{PEOPLE}")
        slapd.apply(f"dn: {dn}\nchangetype: delete\n")
    finally:
        pool.close()


# ---- Lists


@pytest.fixture
def crowd(slapd: Any) -> Iterator[list[str]]:
    names = [f"user{number:02}" for number in range(25)]
    entries = [f"dn: uid={name},{PEOPLE}\nobjectClass: inetOrgPerson\nuid: {name}\ncn: U\nsn: U\n" for name in names]
    slapd.apply("\n".join(entries))
    yield names
    slapd.apply("\n".join(f"dn: uid={name},{PEOPLE}\nchangetype: delete\n" for name in names))


async def test_a_list_comes_in_pages(slapd: Any, options: Options, crowd: list[str]) -> None:
    before = slapd.log().count("SRCH base")
    async with opened(options(page_size=10)) as backend:
        assert isinstance(backend, ListsUsers)
        assert await backend.get_users() == ["ada", "moshez", *crowd]
    assert slapd.log().count("SRCH base") - before == 3


async def test_a_list_has_a_limit(options: Options, crowd: list[str]) -> None:
    async with opened(options(page_size=10, limit=20)) as backend:
        with pytest.raises(BackendError) as caught:
            await backend.get_users()
        assert "more than 20 users" in str(caught.value.__cause__)
        assert await backend.get_user("user07") is not None


async def test_one_level_does_not_look_below(options: Options) -> None:
    async with opened(options(base=SUFFIX, scope="one level")) as backend:
        assert await backend.get_users() == []
    async with opened(options(base=SUFFIX)) as backend:
        assert await backend.get_users() == ["ada", "moshez"]


async def test_a_referral_is_not_followed(slapd: Any, options: Options) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        url = f"ldap://127.0.0.1:{other.getsockname()[1]}/{PEOPLE}"
        slapd.apply(
            f"dn: ou=away,{PEOPLE}\nobjectClass: referral\nobjectClass: extensibleObject\nou: away\nref: {url}\n"
        )
        async with opened(options(password="root")) as backend:
            assert await backend.get_users() == ["ada", "moshez"]
        async with opened(options(password="root", base=f"ou=away,{PEOPLE}")) as backend:
            assert "referral" in await reason(backend)
        other.setblocking(False)
        with pytest.raises(BlockingIOError):
            other.accept()
    slapd.apply(f"dn: ou=away,{PEOPLE}\ncontrol: 2.16.840.1.113730.3.4.2 true\nchangetype: delete\n")


# ---- TLS and passwords


@pytest.fixture
def secure(options: Options, slapd: Any, ca: trustme.CA, tmp_path: Path) -> Options:
    """Options with TLS; the certificate is for localhost."""
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")

    def secure(url: str, **more: object) -> LDAPOptions:
        return options(**({"servers": [url], "start_tls": True, "ca_file": tmp_path / "ca.pem"} | more))

    return secure


async def test_tls_from_the_start_and_by_start_tls(slapd: Any, secure: Options) -> None:
    for url in (slapd.ldaps_url, f"ldap://localhost:{slapd.port}"):
        before = slapd.log().count("TLS established")
        async with opened(secure(url, password="root")) as backend:
            assert await backend.get_user("moshez") is not None
        assert slapd.log().count("TLS established") == before + 1


async def test_nothing_is_sent_to_a_server_that_cannot_be_verified(slapd: Any, secure: Options, tmp_path: Path) -> None:
    trustme.CA().cert_pem.write_to_path(tmp_path / "other.pem")
    before = slapd.log().count(" BIND ")
    for host, ca_file, words in [
        ("localhost", tmp_path / "other.pem", "certificate verify failed"),
        ("localhost", None, "certificate verify failed"),  # the system's authorities
        ("127.0.0.1", tmp_path / "ca.pem", "IP address mismatch"),
    ]:
        for url in (f"ldaps://{host}:{slapd.tls_port}", f"ldap://{host}:{slapd.port}"):
            async with opened(secure(url, ca_file=ca_file, password="root")) as backend:
                assert words in await reason(backend)
    assert slapd.log().count(" BIND ") == before


async def test_a_server_without_tls_gets_no_password(slapd: Any, secure: Options, tmp_path: Path) -> None:
    other = type(slapd)(tmp_path)
    other.start()
    try:
        async with opened(secure(f"ldap://localhost:{other.port}", password="root")) as backend:
            assert "startTLS failed" in await reason(backend)
        assert " BIND " not in other.log()
    finally:
        other.stop()


async def test_the_password_is_read_at_each_connection(slapd: Any, options: Options, tmp_path: Path) -> None:
    async with opened(options(password="wrong")) as backend:
        assert "invalidCredentials" in await reason(backend)
        (tmp_path / "password").write_text("root\n")
        await until_answered(backend)


async def test_an_empty_password_is_not_an_anonymous_bind(options: Options) -> None:
    with pytest.raises(ValueError, match="password is empty"):
        async with opened(options(password="")):
            pass


# ---- Statuses that are set


async def test_an_attribute_of_an_existing_entry_is_replaced(slapd: Any, options: Options) -> None:
    async with opened(options(password="root", write=True)) as backend:
        await backend.set_user("ada", "In the garden")
        assert slapd.show(f"uid=ada,{PEOPLE}", "description") == ["In the garden"]
        with pytest.raises(BackendError, match="No such user"):
            await backend.set_user("newcomer", "Hello")
        assert await backend.clear_user("ada") == UserInfo("ada", "", name="Ada")
        assert slapd.show(f"uid=ada,{PEOPLE}", "description") == []
        await backend.set_user("ada", "At the engine")


async def test_what_the_directory_refuses_is_an_error(slapd: Any, options: Options, tmp_path: Path) -> None:
    (tmp_path / "reads").write_text("reads")
    reader = {"bind_dn": f"cn=reader,{SUFFIX}", "password_file": tmp_path / "reads", "write": True}
    async with opened(options(**reader)) as backend:
        with pytest.raises(BackendError, match="Internal error") as caught:
            await backend.set_user("ada", "Not mine")
        assert "insufficientAccessRights" in str(caught.value.__cause__)
    async with opened(options(password="root", write=True, status="mail")) as backend:
        with pytest.raises(BackendError, match="does not accept this status"):
            await backend.set_user("ada", "Gr\u00fc\u00dfe")  # mail is ASCII


# ---- Outages


async def until_answered(backend: Any) -> None:
    """Ask again and again, as clients do while a backend fails."""
    with trio.fail_after(30):
        while True:
            try:
                assert await backend.get_user("moshez") is not None
            except BackendError:
                await trio.sleep(0.02)
            else:
                return


async def test_a_server_that_is_away_is_tried_at_growing_intervals(options: Options) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # bound but not listening: connections are refused
        url = f"ldap://127.0.0.1:{nobody.getsockname()[1]}"
        now = 0.0
        given = options(servers=[url])
        pool = Pool(given, clock=lambda: now)
        directory = Directory(given, pool)
        attempts = []
        for _ in range(600):
            with pytest.raises(Exception, match="refused") as caught:
                directory.search("(uid=ada)", ["uid"])
            if "next attempt" not in str(caught.value):
                attempts.append(now)
            now += 0.1
    assert 6 <= len(attempts) <= 14  # in a minute
    assert max(later - earlier for earlier, later in pairwise(attempts)) > 7


async def test_a_restart_is_not_noticed(slapd: Any, options: Options) -> None:
    """The connections that were kept have ended, and the first query after it is answered."""
    async with opened(options()) as backend:
        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(backend.get_user, "moshez")
        await trio.to_thread.run_sync(slapd.stop)
        assert "refused" in await reason(backend)
        await trio.to_thread.run_sync(slapd.start)
        await until_answered(backend)
        await trio.to_thread.run_sync(slapd.stop)
        await trio.to_thread.run_sync(slapd.start)
        assert await backend.get_user("moshez") is not None


async def test_the_next_server_is_tried(slapd: Any, options: Options) -> None:
    async with opened(options(servers=["ldap://127.0.0.1:1", slapd.url])) as backend:
        assert await backend.get_user("moshez") is not None


async def test_what_is_not_ldap_is_an_error(options: Options) -> None:
    async def serve(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"0\x0c\x02\x01\x01a\x07\x0a\x01\xff\x04\x00\x04\x00SSH-2.0-OpenSSH\r\n" * 3)

    async with trio.open_nursery() as nursery:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        url = f"ldap://127.0.0.1:{listener.socket.getsockname()[1]}"
        async with opened(options(servers=[url])) as backend:
            with pytest.raises(BackendError):
                await backend.get_user("moshez")
        nursery.cancel_scope.cancel()


async def test_a_query_has_a_deadline(slapd: Any, options: Options) -> None:
    async with opened(options(timeout=0.3)) as backend:
        slapd.freeze()
        try:
            assert re.search(r"no answer within 0\.3 seconds|timed out", await reason(backend))
        finally:
            slapd.thaw()
        await until_answered(backend)


def test_a_server_that_is_late_is_not_asked_twice(slapd: Any, options: Options) -> None:
    """A change waits for the outcome, so a second attempt would double the time."""
    pool = Pool(options(timeout=1.0))
    try:
        directory = Directory(options(), pool)
        assert directory.search("(uid=ada)", ["uid"])
        before = slapd.log().count(" ACCEPT ")
        pool._idle[0].socket.settimeout(0.1)
        slapd.freeze()
        try:
            with pytest.raises(DirectoryError, match="timed out"):
                directory.search("(uid=ada)", ["uid"])
        finally:
            slapd.thaw()
        assert directory.search("(uid=ada)", ["uid"])
        assert slapd.log().count(" ACCEPT ") == before + 1, "for the last search"
    finally:
        pool.close()


async def test_a_cancelled_query_returns_at_once_and_its_thread_keeps_its_place(slapd: Any, options: Options) -> None:
    async with opened(options()) as backend:
        await until_answered(backend)
        slapd.freeze()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(backend.get_user, "moshez")
                await trio.testing.wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()
            assert backend._limiter.borrowed_tokens == 1
        finally:
            slapd.thaw()
        with trio.fail_after(30):
            async with backend._limiter, trio.open_nursery() as nursery:
                for _ in range(3):  # with this task, as many as there are places
                    nursery.start_soon(backend.get_user, "moshez")


async def test_a_cancelled_change_is_waited_for(slapd: Any, options: Options, monkeypatch: pytest.MonkeyPatch) -> None:
    replace = Directory.replace

    def cancel_and_replace(*arguments: Any) -> None:
        trio.from_thread.run_sync(scope.cancel)
        replace(*arguments)

    async with opened(options(password="root", write=True)) as backend:
        with monkeypatch.context() as patch, trio.CancelScope() as scope:
            patch.setattr(Directory, "replace", cancel_and_replace)
            await backend.set_user("ada", "Cancelled")
        assert slapd.show(f"uid=ada,{PEOPLE}", "description") == ["Cancelled"]
        await backend.set_user("ada", "At the engine")


async def test_connections_are_kept_and_limited(slapd: Any, options: Options) -> None:
    def accepted() -> int:
        return len(re.findall(r"ACCEPT", slapd.log()))

    async with opened(options(connections=3)) as backend:
        before = accepted()
        async with trio.open_nursery() as nursery:
            for _ in range(30):
                nursery.start_soon(backend.get_user, "moshez")
        assert 1 <= accepted() - before <= 3
