"""Announcements of changes: few, merged, never outdated."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fingertrio.wire.irc_announcer import AnnouncePlan, Announcer
from fingertrio.wire.irc_outbox import Outbox, Reply


def always(_channel: str) -> bool:
    return True


def never(_channel: str) -> bool:
    return False


def make(*patterns: str, **options) -> Announcer:
    return Announcer([AnnouncePlan("#a", patterns or ("*",))], quiet_names=False, **options)


def lines(announcer: Announcer, until: float) -> list[tuple[float, str]]:
    found = []
    while announcer.deadline <= until:
        now = announcer.deadline
        if (line := announcer.take(now, always)) is not None:
            found.append((now, line.text))
    return found


def test_corrections_merge_for_five_seconds():
    announcer = make()
    announcer.changed("ann", "", "luch", 0, always)
    announcer.changed("ann", "luch", "lunch", 2, always)
    assert lines(announcer, 100) == [(5, "ann is now: lunch")]
    assert announcer.counts["merged"] == 1


def test_a_status_that_is_back_is_not_mentioned():
    announcer = make()
    announcer.changed("ann", "here", "away", 0, always)
    announcer.changed("ann", "away", "here", 3, always)
    assert lines(announcer, 100) == []


def test_a_status_that_was_taken_back():
    announcer = make()
    announcer.changed("ann", "here", "", 0, always)
    assert lines(announcer, 100) == [(5, "ann has no status now")]


def test_three_lines_then_one_each_ten_seconds():
    announcer = make()
    for number in range(5):
        announcer.changed(f"u{number}", "", "x", 0, always)
    assert [time for time, _ in lines(announcer, 100)] == [5, 5, 5, 15, 25]


def test_many_share_a_line():
    announcer = make()
    for name in ("ann", "bob", "cy", "dee", "eve", "fay", "guy"):
        announcer.changed(name, "", "x", 0, always)
    assert lines(announcer, 100) == [(5, "7 changed: ann, bob, cy, dee, eve and 2 more")]


def test_names_highlight_nobody():
    announcer = Announcer([AnnouncePlan("#a", ["*"], notice=True)])
    announcer.changed("ann", "", "x", 0, always)
    line = announcer.take(5, always)
    assert line is not None
    assert (line.command, line.text) == ("NOTICE", "a\u2060nn is now: x")


def test_only_the_users_of_the_channel():
    announcer = make("a*", "bob")
    for name in ("ann", "bob", "cy"):
        announcer.changed(name, "", "x", 0, always)
    assert [text.split()[0] for _, text in lines(announcer, 100)] == ["ann", "bob"]


def test_a_channel_that_does_not_hear_us_hears_nothing_of_the_past():
    announcer = make()
    announcer.changed("ann", "", "x", 0, always)
    assert announcer.take(5, never) is None
    announcer.changed("bob", "", "x", 6, never)
    assert lines(announcer, 1000) == []
    announcer = make(catch_up=True)
    announcer.changed("ann", "", "x", 0, never)
    announcer.changed("bob", "", "x", 10, always)
    assert [text for _, text in lines(announcer, 100)] == ["missed 1 changes", "bob is now: x"]


def test_a_thousand_changes_of_fifty_users_in_ten_seconds_are_at_most_four_lines_in_twenty():
    announcer, said, now = make(), [], 0.0
    statuses = dict.fromkeys((f"user{number}" for number in range(50)), "")
    for number in range(1000):
        now = number / 100
        user = f"user{number % 50}"
        before, statuses[user] = statuses[user], f"status {number}"
        announcer.changed(user, before, statuses[user], now, always)
        said += lines(announcer, now)
    said += lines(announcer, 20)
    assert 1 <= len(said) <= 4
    assert all("50 changed" in text or "changed" in text for _, text in said)


class Sender:
    """Sends as a session does, on a simulated clock."""

    def __init__(self) -> None:
        self.outbox: Outbox[Reply] = Outbox(seconds=2.0, burst=5)
        self.announcer = make(every=1.0)
        self.now = 0.0
        self.times: list[float] = []
        self.expected: dict[Reply, list[str]] = {}
        self.received: dict[Reply, list[str]] = {}

    def ask(self, number: int, lines: list[str]) -> None:
        reply = Reply(f"asker{number}", "nick", self.now)
        if self.outbox.admit(reply) is None:
            self.expected[reply], self.received[reply] = lines, []
            self.outbox.put(reply, lines)

    def send(self) -> None:
        while taken := self.outbox.take(self.now):
            reply, text = taken
            self.received[reply].append(text)
            self.times.append(self.now)
            if not reply.lines:
                self.outbox.close(reply)
        if self.now >= max(self.announcer.deadline, self.outbox.spare_at):
            assert self.outbox.waiting == 0, "an announcement never passes an answer"
            if self.outbox.take_spare(self.now) and self.announcer.take(self.now, always) is not None:
                self.times.append(self.now)


@given(st.lists(st.tuples(st.floats(0, 5), st.sampled_from(["ask", "change", "wait"]), st.integers(0, 9)), max_size=80))
def test_the_sender_keeps_the_flood_rule_and_answers_come_first(steps: list[tuple[float, str, int]]):
    """On a simulated clock: at most burst + t / seconds lines in any period, answers before announcements, in order."""
    sender = Sender()
    for step, (pause, what, number) in enumerate(steps):
        sender.now += pause
        if what == "ask":
            sender.ask(number, [f"{step}.{line}" for line in range(1 + number % 5)])
        elif what == "change":
            sender.announcer.changed(f"user{number}", "", f"status {step}", sender.now, always)
        sender.send()
    for reply, sent in sender.received.items():
        assert sent == sender.expected[reply][: len(sent)], "the lines of one answer keep their order"
    times = sender.times
    for first in range(len(times)):
        for last in range(first, len(times)):
            assert last - first + 1 <= 5 + (times[last] - times[first]) / 2.0 + 1e-6
