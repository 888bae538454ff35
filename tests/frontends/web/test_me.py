"""/-/me: set, schedule, clear, take back; what is wrong stands next to the field, and what was typed is never lost."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fingertrio.backend import BackendError, UserInfo
from fingertrio.backends.memory import MemoryBackend
from fingertrio.backends.sqlite.plugin import SQLiteOptions, open_sqlite
from fingertrio.frontends.web import last_change, me
from fingertrio.frontends.web.me_form import local_text, zone_of
from fingertrio.frontends.web.visits import Visit
from fingertrio.net.limits import RateLimiter
from fingertrio.testing import FakeReader
from tests.frontends.web.browsing import Browser, Page, a_site

PLAN = "Release notes\n\n\t/\\_/\\  <b>&amp;\n  ( o.o )  日本語 שלום"


async def test_a_status_is_set_and_shown():
    async with a_site() as site:
        browser = await site.signed_in()
        answer = await browser.act("set", status="Coffee")
        assert (answer.status, answer.headers["Location"]) == (303, "me")
        page = await browser.follow(answer)
        assert page.says("Your status is set.")
        assert page.form("me", "status")["status"] == "Coffee"
        assert await site.status() == "Coffee"
        site.observer.flush()
        [line] = [json.loads(line) for line in site.log.getvalue().splitlines() if '"event": "set"' in line]
        assert (line["by"], line["door"], line["proof"]) == ("ada", "web", f"token:{site.token.id}")


async def test_a_plan_comes_back_as_it_was_typed():
    async with a_site() as site:
        browser = await site.signed_in()
        page = await browser.follow(await browser.act("set", status=PLAN.replace("\n", "\r\n")))
        assert await site.status() == PLAN
        assert page.form("me", "status")["status"] == PLAN
        assert "<b>" not in page.text.partition('id="card"')[2].partition("</div>")[0]
        page = await browser.follow(await browser.act("set", status="\n\nfirst lines are empty"))
        assert page.form("me", "status")["status"] == await site.status() == "\n\nfirst lines are empty"


@pytest.mark.parametrize(
    ("until", "zone", "end"),
    [
        ("40m", "", timedelta(minutes=40)),
        ("1h30m", "Asia/Tokyo", timedelta(minutes=90)),
        (" 2H ", "UTC", timedelta(hours=2)),
        ("", "", None),
    ],
)
async def test_an_end_is_scheduled(until: str, zone: str, end: timedelta | None):
    async with a_site() as site:
        browser = await site.signed_in()
        assert (await browser.act("set", status="Out", until=until, zone=zone)).status == 303
        info = await site.service.get_user("ada")
        assert info is not None
        if end is None:
            assert info.until is None
        else:
            assert info.until is not None
            assert timedelta(0) <= datetime.now(UTC) + end - info.until < timedelta(seconds=30)


async def test_times_are_read_in_the_zone_of_the_form_and_shown_so_that_they_come_back():
    async with a_site() as site:
        browser = await site.signed_in()
        day = f"{datetime.now(UTC) + timedelta(days=40):%Y-%m-%d}"
        page = await browser.follow(await browser.act("set", status="Out", until=f"{day} 17:00", zone="Asia/Kolkata"))
        info = await site.service.get_user("ada")
        assert info is not None
        assert info.until == datetime.fromisoformat(f"{day}T17:00+05:30")
        form = page.form("me", "status")
        assert (form["until"], form["zone"]) == (f"{day} 11:30Z", "UTC")
        await browser.act("set", page, status="Still out", zone="America/New_York")
        again = await site.service.get_user("ada")
        assert again is not None
        assert again.until == info.until


@pytest.mark.parametrize(
    ("fields", "field", "message"),
    [
        ({"status": " \n "}, "status", "Write something. Clear takes back what is set."),
        ({"status": "x" * 16_385}, "status", "The status is longer than 16384 bytes."),
        ({"status": "x\n" * 501 + "x"}, "status", "The status has more than 500 lines."),
        ({"until": "25:00"}, "until", "25:00 is not a time of day; expected 00:00 to 23:59."),
        ({"until": "soon"}, "until", "is not a time; expected 40m, 1h30m, 17:00"),
        ({"until": "2020-01-01"}, "until", "2020-01-01 has passed already."),
        ({"until": "<b>"}, "until", "is not a time"),
        ({"zone": "Mars/Olympus"}, "zone", "This is not a time zone; expected a name such as Europe/Berlin."),
        ({"zone": "../../etc/passwd"}, "zone", "This is not a time zone"),
        ({"zone": "/etc/localtime"}, "zone", "This is not a time zone"),
        ({"zone": "\x00"}, "zone", "This is not a time zone"),
        ({"zone": "x" * 10_000}, "zone", "This is not a time zone"),
        ({"zone": "Europe"}, "zone", "This is not a time zone"),
    ],
)
async def test_what_is_wrong_stands_next_to_its_field(fields: dict[str, str], field: str, message: str):
    async with a_site() as site:
        browser = await site.signed_in()
        typed = {"status": "New", "until": "2h", "zone": "Europe/Berlin"} | fields
        page = await browser.act("set", None, **typed)
        assert page.status == 422
        place = page.text.partition(f'id="{field}-wrong"')[2].partition("</p>")[0]
        assert message in place
        assert "<b>" not in place
        kept = page.form("me", "status")
        assert {name: kept[name] for name in typed} == typed | {"zone": typed["zone"].strip()}
        assert await site.status() == "Weaving"


async def test_a_preset_is_one_press():
    async with a_site() as site:
        browser = await site.signed_in()
        page = await browser.follow(await browser.act("preset:lunch", status="half typed", until="nonsense"))
        assert page.says("Your status is set.")
        info = await site.service.get_user("ada")
        assert info is not None
        assert info.status == "Lunch"
        assert info.until is not None
        assert abs(info.until - datetime.now(UTC) - timedelta(hours=1)) < timedelta(seconds=30)
        for name in ("breakfast", "", "lunch:x"):
            page = await browser.act(f"preset:{name}", status="half typed")
            assert (page.status, page.form("me", "status")["status"]) == (422, "half typed")


async def test_a_status_is_cleared():
    async with a_site() as site:
        browser = await site.signed_in()
        page = await browser.follow(await browser.act("clear"))
        assert page.says("Your status is cleared.")
        assert page.says("No Plan.")
        assert await site.status() == ""
        assert not page.says("Clear")


async def test_a_user_without_a_status_sets_the_first():
    async with a_site() as site:
        secret, _ = await site.accounts.tokens.add("zoe")
        browser = await site.signed_in(secret)
        page = await browser.get("/-/me")
        assert page.says("Nothing yet")
        assert not page.says("see the page")  # there is none
        page = await browser.follow(await browser.act("set", page, status="Hello"))
        assert page.says("see the page")
        await take_back(browser, page)
        assert await site.status("zoe") == ""


async def take_back(browser: Browser, page: Page, **more: str) -> Page:
    return await browser.post("/-/me", page.form("me", "change") | {"do": "undo"}, **more)


async def test_the_last_change_is_taken_back_with_its_end():
    async with a_site() as site:
        browser = await site.signed_in()
        await browser.act("set", status=PLAN, until="3h")
        before = await site.service.get_user("ada")
        assert before is not None
        for do in ("set", "clear", "preset:lunch"):
            page = await browser.follow(await browser.act(do, status="oops"))
            assert await site.status() != PLAN
            page = await browser.follow(await take_back(browser, page))
            assert page.says("The change was taken back.")
            info = await site.service.get_user("ada")
            assert info is not None
            assert (info.status, info.until) == (PLAN, before.until)


@pytest.mark.parametrize("do", ["set", "clear", "preset:lunch"])
async def test_what_was_taken_back_does_not_return_when_the_status_of_before_ends(do: str, tmp_path: Path):
    """With history, the lasting status beneath is set again; without, an empty one."""
    async with open_sqlite(SQLiteOptions(path=tmp_path / "db")) as with_history:
        without_history = MemoryBackend({})
        for backend in (with_history, without_history):
            async with a_site(backend) as site:
                browser = await site.signed_in()
                await browser.act("set", status="Weaving")
                await browser.act("set", status="Short", until="1h")
                page = await browser.follow(await browser.act(do, status="Oops", until=""))
                assert (await take_back(browser, page)).status == 303
                assert await site.status() == "Short"
        earlier = await with_history.get_history("ada", 10)
        assert next(info.status for info in earlier if info.until is None) == "Weaving"
        # A preset has an end, so it did not touch what was beneath.
        assert without_history._lasting["ada"].status == ("Weaving" if do == "preset:lunch" else "")


async def test_a_change_is_not_taken_back_if_somebody_changed_it_meanwhile():
    async with a_site() as site:
        browser, other = await site.signed_in(), await site.signed_in()
        page = await browser.follow(await browser.act("set", status="one"))
        await other.act("set", status="two")
        answer = await take_back(browser, page)
        assert (answer.status, answer.says("changed again meanwhile")) == (409, True)
        assert await site.status() == "two"


async def test_taking_back_twice_takes_back_once():
    async with a_site() as site:
        browser = await site.signed_in()
        page = await browser.follow(await browser.act("set", status="one"))
        assert (await take_back(browser, page)).status == 303
        assert (await take_back(browser, page)).status == 409
        assert await site.status() == "Weaving"


async def test_after_some_seconds_it_is_too_late(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(last_change, "UNDO_LENGTH", timedelta(0))
    async with a_site() as site:
        browser = await site.signed_in()
        answer = await browser.act("set", status="one")
        assert not (await browser.follow(answer)).says("Take it back")
        page = await browser.get("/-/me")
        change = {"form": page.form("me")["form"], "change": browser.cookies["__Host-fingertrio-news"]}
        answer = await browser.post("/-/me", change | {"do": "undo"})
        assert (answer.status, answer.says("It is too late")) == (422, True)
        assert await site.status() == "one"


async def test_what_another_session_may_take_back_is_nothing_for_this_one():
    async with a_site() as site:
        ada, bob = await site.signed_in(), await site.signed_in(site.bob)
        page = await ada.follow(await ada.act("set", status="one"))
        form = (await bob.get("/-/me")).form("me") | {"change": page.form("me", "change")["change"], "do": "undo"}
        assert (await bob.post("/-/me", form)).status == 422
        bob.cookies["__Host-fingertrio-news"] = ada.cookies["__Host-fingertrio-news"]
        assert not (await bob.get("/-/me")).says("Take it back")
        assert await site.status() == "one"


async def test_a_change_too_large_for_a_cookie_is_reported_at_once():
    async with a_site() as site:
        browser = await site.signed_in()
        plan = "\n".join(f"{number:x} {number**9:x}" for number in range(490))
        await browser.act("set", status=plan)
        page = await browser.act("set", status="short")
        assert (page.status, page.says("Your status is set.")) == (200, True)
        await take_back(browser, page)
        assert await site.status() == plan


async def test_a_status_that_cannot_be_set_is_not_taken_back():
    """Backends may have others: here one that has the form of a preset."""
    async with a_site(MemoryBackend({"ada": ":wq"})) as site:
        browser = await site.signed_in()
        page = await browser.follow(await browser.act("set", status="one"))
        answer = await take_back(browser, page)
        assert (answer.status, answer.says("The status of before cannot be set again")) == (422, True)
        assert await site.status() == "one"


async def test_a_status_that_ended_meanwhile_does_not_come_back(monkeypatch: pytest.MonkeyPatch):
    async with a_site() as site:
        browser = await site.signed_in()
        await browser.act("set", status="short", until="1m")
        page = await browser.follow(await browser.act("set", status="next"))

        def ended(visit: Visit, sealed: str) -> last_change.LastChange | None:
            found = last_change.open_change(visit, sealed)
            return found and replace(found, until=datetime.now(UTC) - timedelta(seconds=1))

        monkeypatch.setattr(me, "open_change", ended)
        await take_back(browser, page)
        assert await site.status() == ""


async def test_a_session_that_ends_while_the_page_is_open_loses_nothing():
    async with a_site() as site:
        browser = await site.signed_in()
        page = await browser.get("/-/me")
        await site.accounts.tokens.revoke(site.token.id)
        answer = await browser.act("set", page, status=PLAN, until="2h", zone="Europe/Berlin")
        assert (answer.status, answer.says("Your session has ended, and nothing was changed.")) == (401, True)
        kept = answer.form("me", "status")
        assert (kept["status"], kept["until"], kept["zone"]) == (PLAN, "2h", "Europe/Berlin")
        assert await site.status() == "Weaving"
        # Signed in again, in another tab, the same form works once it is seen that it was another session.
        secret, _ = await site.accounts.tokens.add("ada")
        await browser.sign_in(secret)
        again = await browser.post("/-/me", kept | {"do": "set"})
        assert (again.status, again.says("in an earlier session")) == (403, True)
        assert await site.status() == "Weaving"
        assert (await browser.post("/-/me", again.form("me", "status") | {"do": "set"})).status == 303
        assert await site.status() == PLAN


async def test_the_script_of_an_open_page_learns_that_the_session_has_ended():
    async with a_site() as site:
        browser = await site.signed_in()
        page = await browser.get("/-/me/session")
        session = json.loads(page.text)
        assert (page.status, session["user"]) == (200, "ada")
        form = (await browser.get("/-/me")).form("me", "status") | {"form": session["form"], "status": "x"}
        assert (await browser.post("/-/me", form)).status == 303
        await site.accounts.tokens.revoke(site.token.id)
        page = await browser.get("/-/me/session")
        assert (page.status, json.loads(page.text)) == (401, None)


async def test_another_user_in_another_tab_does_not_write_with_the_text_of_the_first():
    async with a_site() as site:
        browser = await site.signed_in()
        page = await browser.get("/-/me")
        await browser.post("/-/sign-out", page.form("sign-out"))
        await browser.sign_in(site.bob)
        answer = await browser.act("set", page, status="of ada")
        assert (answer.status, answer.says("You are bob now.")) == (403, True)
        assert (await site.status("ada"), await site.status("bob")) == ("Weaving", "Out")


async def test_two_tabs_of_one_session_both_work():
    async with a_site() as site:
        browser = await site.signed_in()
        one, two = await browser.get("/-/me"), await browser.get("/-/me")
        assert (await browser.act("set", two, status="two")).status == 303
        assert (await browser.act("set", one, status="one")).status == 303
        assert await site.status() == "one"


async def test_a_user_may_not_choose_another_and_an_administrator_may():
    async with a_site() as site:
        browser = await site.signed_in()
        assert (await browser.get("/-/me?user=bob")).status == 403
        assert (await browser.act("set", status="x", user="bob")).status == 403
        assert await site.status("bob") == "Out"
        root = await site.signed_in(site.root)
        page = await root.get("/-/me?user=bob")
        assert '<option value="ada">' in page.text
        answer = await root.act("set", page, status="Set by root")
        assert answer.headers["Location"] == "me?user=bob"
        page = await root.follow(answer)
        assert await site.status("bob") == "Set by root"
        await root.post("/-/me", page.form("me", "change") | {"do": "undo"})
        assert await site.status("bob") == "Out"
        # Also when the session is another one by the time the form is sent.
        page = await root.get("/-/me?user=bob")
        await root.post("/-/sign-out", page.form("sign-out"))
        ended = await root.act("set", page, status="for bob")
        await root.sign_in(site.root)
        asked = await root.act("set", ended)
        assert (ended.status, asked.status) == (401, 403)
        await root.act("set", asked)
        assert (await site.status("bob"), await site.status("root")) == ("for bob", None)
        for name in ("-l", "a/b", "%0d%0aX: 1", "../x", "<b>"):
            assert (await root.get(f"/-/me?user={name}")).status == 404


async def test_writing_too_often_is_429_with_the_text_kept():
    async with a_site(writes=RateLimiter(rate=0.001, burst=2)) as site:
        browser = await site.signed_in()
        for number in range(2):
            assert (await browser.act("set", status=str(number))).status == 303
        page = await browser.act("set", status=PLAN)
        assert (page.status, page.form("me", "status")["status"]) == (429, PLAN)
        assert page.says(f"Try again in {page.headers['Retry-After']} seconds")


class _Failing(MemoryBackend):
    async def set_user(self, user: str, status: str, *, until: datetime | None = None) -> UserInfo:
        raise BackendError("The database is full")


async def test_a_backend_that_fails_is_503_with_the_text_kept():
    async with a_site(_Failing({"ada": "Weaving"})) as site:
        browser = await site.signed_in()
        page = await browser.act("set", status=PLAN)
        assert (page.status, page.headers["Retry-After"]) == (503, "5")
        assert page.says("The database is full.")
        assert page.form("me", "status")["status"] == PLAN


class _OnlySets(FakeReader):
    async def set_user(self, user: str, status: str, *, until: datetime | None = None) -> UserInfo:
        info = self.users[user] = UserInfo(user, status, until=until)
        return info


async def test_a_backend_that_cannot_clear_offers_no_clearing():
    async with a_site(_OnlySets({"ada": "Weaving"})) as site:
        browser = await site.signed_in()
        page = await browser.follow(await browser.act("set", status="New"))
        assert not site.service.can_clear
        assert not page.says("Name and details")
        assert page.says("Take it back")
        assert not page.says("Clear")
        assert (await browser.act("clear", page)).status == 503


async def test_the_preview_is_what_the_page_will_show():
    async with a_site() as site:
        browser = await site.signed_in()
        page = await browser.act("preview", status=PLAN)
        assert (page.status, page.says("As it would look")) == (200, True)
        assert page.form("me", "status")["status"] == PLAN
        assert await site.status() == "Weaving"
        part = await browser.post("/-/me/preview", {"status": PLAN})
        assert part.text.strip() in page.text
        assert (await site.browser().post("/-/me/preview", {"status": PLAN})).status == 403
        assert len((await browser.post("/-/me/preview", {"status": "x" * 200_000})).text) < 20_000


async def describe(browser: Browser, **fields: str) -> Page:
    """Fill in name and details, where `__` stands for a dot, and save."""
    form = (await browser.get("/-/me")).form("me", "name")
    return await browser.post(
        "/-/me", form | {name.replace("__", "."): fields[name] for name in fields} | {"do": "details"}
    )


async def test_name_and_details_are_edited():
    async with a_site() as site:
        browser = await site.signed_in()
        answer = await describe(
            browser,
            name="Ada <Lovelace>",
            known__pronouns="she/her",
            known__timezone="Europe/London",
            known__pubkey="ssh-ed25519 AAAA\r\nsecond line",
            label__0="Home",
            text__0="https://example.org/",
        )
        page = await browser.follow(answer)
        assert page.says("Your name and details are saved.")
        info = await site.service.get_user("ada")
        assert info is not None
        assert (info.name, info.status) == ("Ada <Lovelace>", "Weaving")
        assert dict(info.details) == {
            "pronouns": "she/her",
            "timezone": "Europe/London",
            "pubkey": "ssh-ed25519 AAAA\nsecond line",
            "Home": "https://example.org/",
        }
        form = page.form("me", "name")
        assert (form["name"], form["label.0"], form["text.2"]) == ("Ada <Lovelace>", "Home", "")
        assert page.form("me", "status")["zone"] == "Europe/London"
        assert (await describe(browser, known__pronouns="", text__0="")).status == 303
        info = await site.service.get_user("ada")
        assert info is not None
        assert list(info.details) == ["timezone", "pubkey"]


@pytest.mark.parametrize(
    ("fields", "place", "message"),
    [
        ({"name": "x" * 201}, "name", "The full name is longer than 200 characters."),
        ({"known__timezone": "Mars/Olympus"}, "timezone", "Not a time zone; expected a name such as Europe/Berlin."),
        ({"known__emoji": "<b>"}, "emoji", "Expected one emoji."),
        ({"known__webfinger": "me"}, "webfinger", "Each line has a relation, an address"),
        ({"text__0": "x"}, "0", "Give it a name, such as Home or Blog."),
        ({"label__1": "Evil", "text__1": "javascript:alert(1)"}, "1", "Not an address that can be a link"),
        ({"label__0": "emoji", "text__0": "x"}, "0", "emoji has a field of its own above."),
        ({"label__0": "A", "text__0": "x", "label__1": " A ", "text__1": "y"}, "1", "A is there twice."),
        ({"label__0": "x" * 41, "text__0": "y"}, "0", "The name of a detail must have 1 to 40 characters."),
    ],
)
async def test_what_is_wrong_with_a_detail_stands_next_to_it(fields: dict[str, str], place: str, message: str):
    async with a_site() as site:
        browser = await site.signed_in()
        page = await describe(browser, **({"known__project": "kept"} | fields))
        assert page.status == 422
        assert message in page.text.partition(f'id="d-{place}-wrong"')[2].partition("</p>")[0]
        kept = page.form("me", "name")
        assert {name: kept[name.replace("__", ".")] for name in fields} == fields
        assert kept["known.project"] == "kept"
        assert page.form("me", "status")["status"] == "Weaving"
        info = await site.service.get_user("ada")
        assert info is not None
        assert not info.details


async def test_details_that_were_typed_outlast_the_session():
    async with a_site() as site:
        browser = await site.signed_in()
        form = (await browser.get("/-/me")).form("me", "name") | {"known.project": "Engine", "do": "details"}
        await site.accounts.tokens.revoke(site.token.id)
        page = await browser.post("/-/me", form)
        assert (page.status, page.form("me", "name")["known.project"]) == (401, "Engine")


async def test_who_has_no_status_yet_sets_one_before_details():
    """What was saved without a status cannot be read, so the form would offer to remove it."""
    async with a_site() as site:
        secret, _ = await site.accounts.tokens.add("zoe")
        assert (await (await site.signed_in(secret)).get("/-/me")).says("Set a status first.")


@pytest.mark.parametrize(
    ("host", "url", "address"),
    [
        ("finger.example", None, "https://finger.example/api/users/ada/status?for=40m"),
        ("finger.example", "https://public.example/base/", "https://public.example/base/api/users/ada/status?for=40m"),
        ("x';reboot;'", None, "'https://x'\"'\"';reboot;'\"'\"'/api/users/ada/status?for=40m'"),
    ],
)
async def test_the_command_line_can_be_pasted(host: str, url: str | None, address: str):
    async with a_site(url=url) as site:
        page = await (await site.signed_in(host=host)).get("/-/me")
        assert page.says("curl -H &#34;Authorization: Bearer $TOKEN&#34; -d coffee")
        assert site.ada not in page.text
        assert '<img src="../ada/badge.svg?' in page.text
        assert 'href="../ada/feed.atom"' in page.text
        assert address.replace("'", "&#39;").replace('"', "&#34;") in page.text


FIELDS = ["form", "do", "status", "until", "zone", "user", "change", "name", "known.emoji", "label.0", "text.0", "x"]
ACTIONS = ["set", "clear", "undo", "preview", "details", "preset:lunch", "preset:"]


@settings(max_examples=15, deadline=None)
@given(st.dictionaries(st.sampled_from(FIELDS), st.text(max_size=40) | st.sampled_from([*ACTIONS, "2h", "9" * 30])))
@example({"do": "undo", "change": "."})
@example({"status": "\ud800", "until": "9999-12-31T23:59-23:59"})
@example({"until": "9999999m"})
@example({"zone": "Etc/GMT+3", "until": "0001-01-01"})
async def test_any_form_is_answered(fields: dict[str, str]):
    """By a page or a redirect to our own, and never with a failure of ours."""
    async with a_site() as site:
        browser = await site.signed_in()
        form = (await browser.get("/-/me")).form("me", "status")
        answer = await browser.post(
            "/-/me", {name: value.encode("utf-8", "replace").decode() for name, value in (form | fields).items()}
        )
        assert answer.status in {200, 303, 403, 404, 422}
        assert answer.headers.get("Location", "me") == "me"


async def test_a_session_is_renewed_once_a_day(monkeypatch: pytest.MonkeyPatch):
    async with a_site() as site:
        browser = await site.signed_in()
        cookie = dict(browser.cookies)
        await browser.get("/-/me")
        assert browser.cookies == cookie
        monkeypatch.setattr("fingertrio.accounts.sessions._RENEWED_AFTER", timedelta(0))
        await browser.get("/-/me")
        assert browser.cookies.keys() == cookie.keys()
        assert browser.cookies != cookie


def test_a_moment_is_written_so_that_it_can_be_read_again():
    moment = datetime(2026, 12, 24, 17, 0, 5, tzinfo=UTC)
    assert local_text(moment, "Europe/Berlin") == "2026-12-24 18:00+01:00"
    assert local_text(moment, "UTC") == "2026-12-24 17:00Z"
    assert zone_of("") == zone_of("UTC")
