"""The plan backend with real files in temporary homes, and with this machine's password database."""

import os
import pwd
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trio
from pydantic import ValidationError
from trio.testing import MockClock

from fingertrio.backend import Backend, BackendError, ListsUsers, SetsStatus, UserInfo
from fingertrio.backends.plan import PlanBackend, PlanOptions, SystemPasswords, open_plan
from fingertrio.backends.plan.homes import Home, calendar_time, open_home
from fingertrio.testing import check_backend

# The user who runs the tests owns the files, and may be root. Answers need not wait, except where the time is tested.
ANY_USER = {"min_uid": 0, "max_uid": 2**32, "unknown_delay": 0}

OTHER_UID = 65534  # effective user id instead of root, which may read everything


class Household:
    """A password database, and homes under one directory. `find` can be slow or blocked for some users."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.accounts: dict[str, pwd.struct_passwd] = {}
        self.found: list[str] = []
        self.listed: list[str] | None = None  # instead of the accounts
        self.work: dict[str, float] = {}  # by user: seconds that find takes
        self.doors: dict[str, threading.Event] = {}  # by user: find waits for it

    def add(self, user: str, *, gecos: str = "", uid: int | None = None, home: Path | str | None = None) -> Path:
        """A new account. Its home is created unless `home` is given."""
        if home is None:
            home = self.root / user
            home.mkdir()
        uid = os.getuid() if uid is None else uid
        self.accounts[user] = pwd.struct_passwd((user, "x", uid, uid, gecos, str(home), "/bin/sh"))
        return Path(home)

    def find(self, user: str) -> pwd.struct_passwd | None:
        self.found.append(user)
        time.sleep(self.work.get(user, 0))
        if user in self.doors:
            assert self.doors[user].wait(60)
        return self.accounts.get(user)

    def names(self) -> Iterable[str]:
        return list(self.accounts) if self.listed is None else self.listed

    def backend(self, **options: object) -> PlanBackend:
        return PlanBackend(PlanOptions.model_validate({**ANY_USER, **options}), self)

    async def ask(self, user: str, **options: object) -> UserInfo | None:
        return await self.backend(**options).get_user(user)


@pytest.fixture
def household() -> Iterator[Household]:
    """In a directory that every user may search, unlike those of pytest."""
    with tempfile.TemporaryDirectory(prefix="fingertrio-") as root:
        Path(root).chmod(0o755)
        yield Household(Path(root))


@pytest.fixture
def home(household: Household) -> Path:
    return household.add("moshez", gecos="Moshe Zadka,Room 7,555-1234")


@contextmanager
def guarded(path: Path, mode: int) -> Iterator[None]:
    """`path` has this mode, and the effective user id is one that the mode restricts; it does not restrict root."""
    before = path.stat().st_mode
    path.chmod(mode)
    if os.getuid() == 0:
        os.seteuid(OTHER_UID)
    try:
        yield
    finally:
        os.seteuid(os.getuid())
        path.chmod(before)


class Calls:
    """The calls to the file system, in order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen: list[tuple[str, str]] = []
        for name in ("open", "stat"):
            monkeypatch.setattr(os, name, self._recorder(name, getattr(os, name)))

    def _recorder(self, name: str, real: Callable[..., object]) -> Callable[..., object]:
        def record(path: object, *args: object, **kwargs: object) -> object:
            if threading.current_thread() is not threading.main_thread():
                self.seen.append((name, str(path)))
            return real(path, *args, **kwargs)

        return record


# Seconds without activity after which a thread is blocked, and not just slow on a busy machine.
_THREADS_ARE_IDLE = 0.2


async def until(happened: Callable[[], bool]) -> None:
    """Poll in real time: threads do not follow Trio's clock."""
    deadline = time.monotonic() + 10
    while not happened():
        assert time.monotonic() < deadline, "it never happened"
        await trio.to_thread.run_sync(time.sleep, 0.002)


class TestWhatIsShown:
    async def test_the_plan_is_the_status(self, household: Household, home: Path) -> None:
        (home / ".plan").write_text("In the garden\n\n  till six\n\n")
        os.utime(home / ".plan", (0, 1_000_000_000))
        (home / ".project").write_text("A server\n")
        (home / ".pubkey").write_text("ssh-ed25519 AAAA\n")
        info = await household.ask("moshez")
        assert info == UserInfo(
            "moshez",
            "In the garden\n\n  till six",
            name="Moshe Zadka",
            since=datetime(2001, 9, 9, 1, 46, 40, tzinfo=UTC),
            details={"project": "A server", "pubkey": "ssh-ed25519 AAAA"},
        )
        assert list(info.details) == ["project", "pubkey"]

    async def test_without_files(self, household: Household, home: Path) -> None:
        assert await household.ask("moshez") == UserInfo("moshez", "No Plan.", name="Moshe Zadka")

    @pytest.mark.parametrize("home", ["", "/nowhere/at/all", "/dev/null"])
    async def test_without_a_home(self, household: Household, home: str) -> None:
        household.add("moshez", home=home)
        assert await household.ask("moshez") == UserInfo("moshez", "No Plan.")

    async def test_a_blank_plan_is_none(self, household: Household, home: Path) -> None:
        (home / ".plan").write_text(" \n\n")
        assert await household.ask("moshez") == UserInfo("moshez", "No Plan.", name="Moshe Zadka")

    async def test_every_question_reads_anew(self, household: Household, home: Path) -> None:
        backend = household.backend()
        for status in ("one", "two"):
            (home / ".plan").write_text(status)
            info = await backend.get_user("moshez")
            assert info is not None
            assert info.status == status

    @pytest.mark.parametrize("file", ["plan", "project", "pubkey"])
    async def test_each_file_is_the_administrators_choice(
        self, household: Household, home: Path, file: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in (".plan", ".project", ".pubkey"):
            (home / name).write_text(f"text of {name}")
        calls = Calls(monkeypatch)
        info = await household.ask("moshez", **{file: False})
        assert info is not None
        told = {info.status, *info.details.values()} - {"No Plan."}
        assert told == {f"text of .{kind}" for kind in ("plan", "project", "pubkey") if kind != file}
        assert ("open", f".{file}") not in calls.seen

    @pytest.mark.parametrize(
        ("content", "status"),
        [
            (b"caf\xe9 \x80", "caf\u00e9 \u20ac"),
            ("\ufeffcaf\u00e9".encode(), "caf\u00e9"),
            ("caf\u00e9".encode("utf-16"), "caf\u00e9"),
            (b"page1\x0cpage2", "page1\npage2"),
            (b"\x1b[31mred\x07\r\nblue\r", "red\nblue"),
            (b"\x7fELF\x02\x01\x01\x00\x00", "ELF"),
            ("\u7720\u3044".encode(), "\u7720\u3044"),
        ],
        ids=["Windows-1252", "UTF-8 with its mark", "UTF-16", "form feed", "escapes", "binary", "Japanese"],
    )
    async def test_whatever_a_plan_holds_comes_as_text(
        self, household: Household, home: Path, content: bytes, status: str
    ) -> None:
        (home / ".plan").write_bytes(content)
        info = await household.ask("moshez")
        assert info is not None
        assert info.status == status

    @pytest.mark.parametrize("timestamp", [1e18, -1e18, 1e308])
    def test_a_date_that_no_calendar_knows_is_none(self, timestamp: float) -> None:
        assert calendar_time(timestamp) is None

    @pytest.mark.parametrize(
        ("gecos", "name"),
        [
            ("", None),
            (",,,", None),
            ("Moshe Zadka", "Moshe Zadka"),
            ("& Zadka,,,", "Moshez Zadka"),
            ("Bob & Alice &,&", "Bob Moshez Alice Moshez"),
            (" \tspaced\t\x1b[1m ", "spaced"),
            ("M\udcfcller", "M\u00fcller"),  # Latin-1, as pwd returns it under a UTF-8 locale
            ("\udcff\udcfeM\0", "M"),  # UTF-16
        ],
    )
    async def test_the_full_name_is_the_first_field_of_gecos(
        self, household: Household, gecos: str, name: str | None
    ) -> None:
        household.add("moshez", gecos=gecos)
        info = await household.ask("moshez")
        assert info is not None
        assert info.name == name


class TestFilesThatDoNotCount:
    """Each has the same result as a missing file."""

    async def check(self, household: Household) -> None:
        with trio.fail_after(5):
            assert await household.ask("moshez") == UserInfo("moshez", "No Plan.", name="Moshe Zadka")

    @pytest.mark.parametrize("target", ["/dev/zero", "/etc/passwd", "/nowhere", ".plan", "own", "/dev/stdin"])
    async def test_symbolic_links(self, household: Household, home: Path, target: str) -> None:
        (home / "own").write_text("mine, but elsewhere")
        for name in (".plan", ".project", ".pubkey"):
            (home / name).symlink_to(target)
        await self.check(household)

    async def test_fifos(self, household: Household, home: Path) -> None:
        for name in (".plan", ".project", ".pubkey"):
            os.mkfifo(home / name)
        await self.check(household)

    async def test_directories(self, household: Household, home: Path) -> None:
        for name in (".plan", ".project", ".pubkey"):
            (home / name).mkdir()
        await self.check(household)

    @pytest.mark.parametrize(("name", "limit"), [(".plan", 65536), (".project", 4096), (".pubkey", 16384)])
    async def test_a_long_file_is_cut_and_says_so(
        self, household: Household, home: Path, name: str, limit: int
    ) -> None:
        for content, rest in ((b"x" * limit, ""), (b"x" * (limit + 1), "\n[cut here: {} is longer than {} bytes]")):
            (home / name).write_bytes(content)
            info = await household.ask("moshez")
            assert info is not None
            assert "x" * limit + rest.format(name, limit) in (info.status, *info.details.values())

    @pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
    async def test_a_cut_leaves_no_half_character(self, household: Household, home: Path, encoding: str) -> None:
        text = "\U0001f600" * 40_000
        for shift in ("", "x", "xx", "xxx"):
            (home / ".plan").write_bytes((shift + text).encode(encoding))
            info = await household.ask("moshez")
            assert info is not None
            assert set(info.status.splitlines()[0]) == {*shift, "\U0001f600"}

    async def test_files_with_holes(self, household: Household, home: Path) -> None:
        with (home / ".plan").open("wb") as file:
            file.truncate(2**40)
        await self.check(household)

    async def test_other_peoples_files(self, household: Household) -> None:
        """For example, hard links to them."""
        home = household.add("moshez", gecos="Moshe Zadka", uid=os.getuid() + 1)
        (home / ".plan").write_text("not of moshez")
        await self.check(household)

    async def test_a_file_that_turns_into_a_fifo(
        self, household: Household, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (home / ".plan").write_text("a plan")

        def replace() -> None:
            (home / ".plan").unlink()
            os.mkfifo(home / ".plan")

        after_the_look(monkeypatch, replace)
        await self.check(household)

    async def test_a_file_that_turns_into_a_link(
        self, household: Household, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (home / ".plan").write_text("a plan")
        (home / "other").write_text("another file")

        def replace() -> None:
            (home / ".plan").unlink()
            (home / ".plan").symlink_to("other")

        after_the_look(monkeypatch, replace)
        await self.check(household)

    async def test_a_file_that_goes_away(
        self, household: Household, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (home / ".plan").write_text("a plan")
        after_the_look(monkeypatch, (home / ".plan").unlink)
        await self.check(household)

    async def test_what_was_opened_is_looked_at_again(
        self, household: Household, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (home / ".plan").write_text("a plan")
        monkeypatch.setattr(os, "fstat", lambda _fd: Path("/dev/null").stat())
        await self.check(household)


def after_the_look(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Call `act` after the backend has checked .plan and before it opens .plan."""
    real = os.stat

    def stat(path: str, *, dir_fd: int | None = None, follow_symlinks: bool = True) -> os.stat_result:
        about = real(path, dir_fd=dir_fd, follow_symlinks=follow_symlinks)
        if path == ".plan":
            act()
        return about

    monkeypatch.setattr(os, "stat", stat)


async def test_a_fifo_is_not_even_opened(household: Household, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening it would wake the process at the other end."""
    os.mkfifo(home / ".plan")
    calls = Calls(monkeypatch)
    await household.ask("moshez")
    assert ("stat", ".plan") in calls.seen
    assert ("open", ".plan") not in calls.seen


class TestClosedDoors:
    @pytest.fixture(autouse=True)
    def plan(self, home: Path) -> Path:
        (home / ".plan").write_text("a plan")
        return home / ".plan"

    async def test_a_plan_that_we_may_not_read_is_none(self, household: Household, plan: Path) -> None:
        with guarded(plan, 0):
            assert await household.ask("moshez") == UserInfo("moshez", "No Plan.", name="Moshe Zadka")

    async def test_a_home_need_not_be_readable(self, household: Household, home: Path) -> None:
        with guarded(home, 0o111):
            info = await household.ask("moshez")
        assert info is not None
        assert info.status == "a plan"

    @pytest.mark.parametrize("closed", ["moshez", "."], ids=["home", "above it"])
    async def test_a_home_that_we_may_not_search_hides_its_owner(self, household: Household, closed: str) -> None:
        with guarded(household.root / closed, 0):
            assert await household.ask("moshez") is None
            info = await household.ask("moshez", closed_homes=True)
        assert info == UserInfo("moshez", "No Plan.", name="Moshe Zadka")

    async def test_so_does_a_home_of_which_nothing_can_be_told(self, household: Household) -> None:
        (household.root / "loop").symlink_to("loop")
        household.add("moshez", home=household.root / "loop")
        assert await household.ask("moshez") is None

    async def test_a_home_may_be_reached_by_a_link(self, household: Household) -> None:
        """The administrator sets it; users cannot."""
        (household.root / "link").symlink_to("moshez")
        household.add("moshez", home=household.root / "link")
        info = await household.ask("moshez")
        assert info is not None
        assert info.status == "a plan"


class TestHidden:
    async def test_nofinger_hides(self, household: Household, home: Path) -> None:
        household.add("exarkun")
        backend = household.backend()
        assert await backend.get_users() == ("moshez", "exarkun")
        (home / ".nofinger").touch()
        assert await backend.get_user("moshez") is None
        assert await backend.get_users() == ("exarkun",)
        (home / ".nofinger").unlink()
        assert await backend.get_user("moshez") is not None

    async def test_whatever_kind_of_file_it_is(self, household: Household, home: Path) -> None:
        (home / ".nofinger").symlink_to("/nowhere")
        assert await household.ask("moshez") is None
        (home / ".nofinger").unlink()
        (home / ".nofinger").mkdir()
        assert await household.ask("moshez") is None

    async def test_the_work_is_that_for_a_missing_user(
        self, household: Household, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        home = household.add("hidden", uid=1000)
        (home / ".nofinger").touch()
        (home / ".plan").write_text("a plan")
        household.add("daemon", uid=5)
        backend = PlanBackend(PlanOptions(unknown_delay=0), household)
        work = []
        for user in ("hidden", "no-such-user", "daemon"):
            calls = Calls(monkeypatch)
            assert await backend.get_user(user) is None
            monkeypatch.undo()
            work.append(calls.seen)
        assert work == [
            [("open", str(home)), ("stat", ".nofinger")],
            [("open", "/"), ("stat", ".nofinger")],
            [("open", "/"), ("stat", ".nofinger")],
        ]


class TestAnswerTime:
    """A hidden user cannot be told from a missing one by the time of the answer."""

    @pytest.fixture(autouse=True)
    def hidden(self, household: Household) -> None:
        (household.add("hidden") / ".nofinger").touch()

    @pytest.mark.parametrize("user", ["hidden", "missing"])
    @pytest.mark.parametrize(("work", "answered"), [(0.0, 0.1), (0.05, 0.1), (0.12, 0.2), (0.2, 0.2), (0.21, 0.3)])
    async def test_the_answer_comes_at_a_multiple_of_the_delay(
        self, household: Household, mock_clock: MockClock, user: str, work: float, answered: float
    ) -> None:
        door = household.doors[user] = threading.Event()
        times: list[float] = []
        found = trio.Event()

        async def wait_until(moment: float) -> None:  # the usual one uses threads, which know no mock clock
            found.set()
            await trio.sleep_until(moment)

        async def ask() -> None:
            options = PlanOptions.model_validate({**ANY_USER, "unknown_delay": 0.1})
            backend = PlanBackend(options, household, wait_until=wait_until)
            assert await backend.get_user(user) is None
            times.append(trio.current_time())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await until(lambda: user in household.found)
            mock_clock.jump(work)
            door.set()
            await found.wait()
            mock_clock.autojump_threshold = 0.01
        assert times == [pytest.approx(answered)]

    async def test_known_users_do_not_wait(self, household: Household, home: Path, mock_clock: MockClock) -> None:
        with trio.fail_after(0.05):
            assert await household.ask("moshez", unknown_delay=0.1) is not None

    @pytest.mark.parametrize(("hidden", "missing"), [(0.001, 0.005), (0.0002, 0.0007)])
    async def test_statistics_of_answer_times_do_not_tell_which_it_is(
        self, household: Household, hidden: float, missing: float
    ) -> None:
        """The database finds "hidden" sooner than it misses "missing". With the real clock; samples alternate.

        Measured is the probability that a random answer for "missing" takes longer than a random one for "hidden": 1.0
        if answers do not wait, and nearly that if they wait with the millisecond timers of the event loop. Without a
        difference it is 0.5 with a standard deviation of 0.053 (Mann and Whitney, 60 samples each), so that chance
        leaves 0.23 to 0.77 less than once in a million runs.
        """
        household.work = {"hidden": hidden, "missing": missing}
        backend = household.backend(unknown_delay=0.02)
        times: dict[str, list[float]] = {"hidden": [], "missing": []}
        for _ in range(60):
            for user, taken in times.items():
                started = time.perf_counter()
                assert await backend.get_user(user) is None
                taken.append(time.perf_counter() - started)
        pairs = [(hidden, missing) for hidden in times["hidden"] for missing in times["missing"]]
        assert 0.23 < sum(missing > hidden for hidden, missing in pairs) / len(pairs) < 0.77


class TestWhoThereIs:
    @pytest.mark.parametrize(
        ("uid", "exists"),
        [(0, False), (999, False), (1000, True), (60_000, True), (60_001, False), (65_534, False), (2**32 - 2, False)],
    )
    async def test_user_ids_out_of_range_do_not_exist(self, household: Household, uid: int, exists: bool) -> None:
        household.add("moshez", uid=uid)
        backend = PlanBackend(PlanOptions(unknown_delay=0), household)
        assert (await backend.get_user("moshez") is not None) == exists
        assert await backend.get_users() == (("moshez",) if exists else ())

    async def test_nobody_is_never_there(self, household: Household) -> None:
        household.add("nobody", uid=65_534)
        assert await household.ask("nobody", min_uid=1000, max_uid=10**9) is None

    async def test_a_database_that_matches_loosely_finds_nobody(self, household: Household, home: Path) -> None:
        household.accounts["MosheZ"] = household.accounts["moshez"]
        assert await household.ask("MosheZ") is None
        assert await household.backend().get_users() == ("moshez",)

    async def test_every_user_is_listed_once_and_in_order(self, household: Household) -> None:
        for user in ("zoe", "adam", "moshez", "not a name"):
            household.add(user)
        names = ["zoe", "zoe", "no-account", "not a name", "-l", "adam", "moshez"]
        household.listed = names
        assert await household.backend().get_users() == ("zoe", "adam", "moshez")

    async def test_a_list_that_cannot_be_read_is_a_failure(self, tmp_path: Path) -> None:
        backend = PlanBackend(PlanOptions(), SystemPasswords(tmp_path / "missing"))
        with pytest.raises(BackendError) as failure:
            await backend.get_users()
        assert isinstance(failure.value.__cause__, FileNotFoundError)


class TestHangingHomes:
    async def test_cancellation_gives_a_hanging_look_up(self, household: Household, home: Path) -> None:
        door = household.doors["moshez"] = threading.Event()
        try:
            with trio.move_on_after(0.02) as scope:
                await household.ask("moshez")
            assert scope.cancelled_caught
        finally:
            door.set()

    async def test_one_hanging_home_takes_one_thread(self, household: Household, home: Path) -> None:
        household.add("exarkun")
        door = household.doors["moshez"] = threading.Event()
        backend = household.backend(threads=2)
        try:
            for _ in range(5):
                with trio.move_on_after(0.02):
                    await backend.get_user("moshez")
            with trio.fail_after(5):
                assert await backend.get_user("exarkun") is not None
            assert household.found.count("moshez") == 1
        finally:
            door.set()
        with trio.fail_after(5):
            assert await backend.get_user("moshez") is not None

    async def test_the_list_goes_without_it(
        self, household: Household, home: Path, mock_clock: MockClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        household.add("exarkun")
        household.add("glyph")
        door = household.doors["exarkun"] = threading.Event()
        mock_clock.autojump_threshold = _THREADS_ARE_IDLE
        try:
            assert await household.backend().get_users() == ("moshez", "glyph")
        finally:
            door.set()
        assert "the list of users lacks exarkun: no answer from their homes" in caplog.text

    async def test_four_dead_homes_do_not_stop_other_users(self, household: Household, home: Path) -> None:
        door = threading.Event()
        backend = household.backend()  # four threads
        try:
            for number in range(4):
                user = f"dead{number}"
                household.add(user)
                household.doors[user] = door
                with trio.move_on_after(0.01):
                    await backend.get_user(user)
            with trio.fail_after(5):
                assert await backend.get_user("moshez") is not None
        finally:
            door.set()

    async def test_a_home_that_does_not_answer_is_a_failure_with_its_name(
        self, household: Household, home: Path, mock_clock: MockClock
    ) -> None:
        door = household.doors["moshez"] = threading.Event()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.ask_and_fail, household)
                await until(lambda: "moshez" in household.found)
                mock_clock.jump(4)
        finally:
            door.set()

    async def ask_and_fail(self, household: Household) -> None:
        with pytest.raises(BackendError, match="Internal error in server") as failure:
            await household.ask("moshez")
        assert "the home of moshez does not answer" in str(failure.value.__cause__)

    async def test_many_dead_homes_do_not_stop_the_list(
        self,
        household: Household,
        mock_clock: MockClock,
        caplog: pytest.LogCaptureFixture,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Each on a file system of its own, as an automounter has them."""
        dead = [str(household.add(f"dead{number}")) for number in range(24)]
        household.add("moshez")
        revived = threading.Event()

        @contextmanager
        def block(path: str) -> Iterator[Home]:
            assert path not in dead or revived.wait(60)
            with open_home(path) as home:
                yield home

        monkeypatch.setattr("fingertrio.backends.plan.backend.open_home", block)
        monkeypatch.setattr("fingertrio.backends.plan.looks.mount_points", lambda: (*dead, "/"))
        mock_clock.autojump_threshold = _THREADS_ARE_IDLE
        try:
            assert await household.backend().get_users() == ("moshez",)
            assert trio.current_time() < 4.5
        finally:
            revived.set()
        assert "the list of users lacks dead0, dead1, dead2, dead3, dead4 and 19 more" in caplog.text


class TestSystemPasswords:
    async def test_the_current_user(self) -> None:
        me = pwd.getpwuid(os.getuid())
        backend = PlanBackend(PlanOptions.model_validate({**ANY_USER, "closed_homes": True}))
        info = await backend.get_user(me.pw_name)
        if (Path(me.pw_dir) / ".nofinger").exists():
            assert info is None
        else:
            assert info is not None
            assert info.user == me.pw_name

    async def test_system_accounts_do_not_exist_unless_asked_for(self) -> None:
        async with open_plan(PlanOptions()) as backend:
            assert await backend.get_user("daemon") is None
            assert "daemon" not in await backend.get_users()

    @pytest.mark.parametrize("name", ["no-such-user", "0", "a b", "../root", "žofie", "\u7720", "a" * 64])
    def test_who_is_not_there_is_none(self, name: str) -> None:
        assert SystemPasswords().find(name) is None

    def test_names_are_those_of_the_file(self, tmp_path: Path) -> None:
        assert "root" in SystemPasswords().names()
        (tmp_path / "passwd").write_bytes(b"zo\xc3\xab:x:1:1::/:\n\n# note\nadam:x:2:2::/:\nb\xff:x:3:3::/:\n+\n")
        assert list(SystemPasswords(tmp_path / "passwd").names()) == ["zo\u00eb", "adam", "b\ufffd"]


class TestOptions:
    @pytest.mark.parametrize(
        "mistake",
        [
            {"min_uid": -1},
            {"max_uid": -1},
            {"threads": 0},
            {"plan": "perhaps"},
            {"min_uid": 2, "max_uid": 1},
            {"path": "/"},
            {"unknown_delay": -1},
            {"unknown_delay": 3},
        ],
        ids=str,
    )
    def test_mistakes_are_refused(self, mistake: dict[str, object]) -> None:
        with pytest.raises(ValidationError):
            PlanOptions.model_validate(mistake)

    def test_each_is_described(self) -> None:
        assert all(field.description for field in PlanOptions.model_fields.values())


async def test_contract(household: Household, home: Path) -> None:
    (home / ".plan").write_text("Happy and well\n")
    household.add("exarkun")
    hidden = household.add("hidden")
    (hidden / ".nofinger").touch()

    @asynccontextmanager
    async def open_backend() -> AsyncIterator[Backend]:
        yield household.backend()

    checked = await check_backend(open_backend, known={"moshez": "Happy and well", "exarkun": "No Plan."})
    assert "the_list_is_of_the_users" in checked


async def test_it_lists_and_does_not_set() -> None:
    async with open_plan(PlanOptions()) as backend:
        assert isinstance(backend, Backend)
        assert isinstance(backend, ListsUsers)
        assert not isinstance(backend, SetsStatus)
