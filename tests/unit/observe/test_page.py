"""Where a timeline has everything, and what a slot's life says: pure, with the time passed in."""

import datetime as dt
from dataclasses import replace
from zoneinfo import ZoneInfo

import pytest

from cutover.ledger.fence import SUCCEEDED
from cutover.observe.course import Course, Step
from cutover.observe.entries import EntryRecord
from cutover.observe.lanes import Lane
from cutover.observe.page.drawing import EDGE, draw
from cutover.observe.page.words import EntryLine, Moment, TermLine, events_of, word_of
from cutover.observe.rows import history_row, row_of
from cutover.observe.slot import Claimant, Life
from cutover.types import EntryName, RunOutcome, Side, SlotState

NOW = dt.datetime(2026, 3, 29, 12, 0, tzinfo=dt.UTC)
MINUTE, MS = dt.timedelta(minutes=1), dt.timedelta(milliseconds=1)
NAME = EntryName("a/b & c")


def life(ago: int = 30, **told: object) -> Life:
    due_at = NOW - ago * MINUTE
    return Life(NAME, due_at, 2, Side.CODE, SlotState.PUBLISHED, "id", due_at, due_at + 40 * MS, **told)  # type: ignore[arg-type]


def ran(ago: int = 30, outcome: RunOutcome | None = RunOutcome.SUCCEEDED, **told: object) -> Life:
    begun = NOW - ago * MINUTE + 70 * MS
    return life(ago, started_at=begun, ended_at=begun + 90 * MS, outcome=outcome, run_by="w", **told)


def missed(ago: int = 30, **told: object) -> Life:
    due_at = NOW - ago * MINUTE
    return Life(NAME, due_at, 2, Side.CODE, SlotState.MISSED, "id", due_at, reason="too late", **told)  # type: ignore[arg-type]


def term(epoch: int, began: int, ended: int | None, reason: str = "", seen: int = 0) -> Claimant:
    ended_at = None if ended is None else NOW - ended * MINUTE
    return Claimant(epoch, Side.CODE, "h", 7, "v1", NOW - began * MINUTE, ended_at, reason, NOW - seen * MINUTE)


def test_marks_bands_and_phases_stand_where_their_instants_are() -> None:
    step = Step("phase3", "finish", "done", "", "me", NOW - 15 * MINUTE, NOW)
    course = Course([term(1, 300, 200), term(2, 45, None), term(3, 10, None)], [step])
    lane = Lane(NAME, NOW - 60 * MINUTE, [ran(60), ran(30, deduplicated=1), missed(0)])
    drawn = draw([lane], course, NOW - 60 * MINUTE, NOW)
    assert [(mark.x, mark.shape, mark.is_deduplicated) for mark in drawn.lanes[0].marks] == [
        ("1.00%", "ok", False),
        ("50.00%", "ok", True),
        ("99.00%", "missed", False),
    ]
    assert [(band.x, band.width) for band in drawn.bands] == [("82.67%", "16.33%"), ("25.50%", "57.17%")]
    assert [(line.x, line.label, line.anchor) for line in drawn.phases] == [("74.50%", "3", "end")]
    assert [tick.label for tick in drawn.ticks] == ["11:00", "11:15", "11:30", "11:45", "12:00 UTC"]
    assert drawn.lanes[0].drawn_from == ""
    assert drawn.lanes[0].told == "2 ok (code), 1 missed (code); further messages dropped of 1"


@pytest.mark.parametrize("ahead_min", [30, 75, 90, 150])
def test_a_timeline_is_as_long_as_is_asked_also_where_clocks_were_changed_within_it(ahead_min: int) -> None:
    for changed in (dt.datetime(2026, 3, 29, 1, tzinfo=dt.UTC), dt.datetime(2026, 10, 25, 1, tzinfo=dt.UTC)):
        now = (changed + ahead_min * MINUTE).astimezone(ZoneInfo("Europe/London"))
        since = (now.astimezone(dt.UTC) - 120 * MINUTE).astimezone(now.tzinfo)
        due = life()._replace(due_at=now.astimezone(dt.UTC) - 60 * MINUTE)
        [lane] = (drawn := draw([Lane(NAME, since, [due])], Course((), ()), since, now)).lanes
        assert [mark.x for mark in lane.marks] == ["50.00%"]
        assert [tick.label for tick in drawn.ticks][::2] == [
            f"{since:%H:%M}",
            f"{due.due_at.astimezone(now.tzinfo):%H:%M}",
            f"{now:%H:%M %Z}",
        ]


def test_a_side_is_told_by_its_place_too() -> None:
    slots = [ran(20), ran(10)._replace(side=Side.DATABASE)]
    terms = [term(1, 50, 30), replace(term(2, 30, None), side=Side.DATABASE)]
    drawn = draw([Lane(NAME, NOW - 60 * MINUTE, slots)], Course(terms, []), NOW - 60 * MINUTE, NOW)
    [lane] = drawn.lanes
    assert [(mark.side, mark.y < lane.y) for mark in lane.marks] == [("code", True), ("database", False)]
    assert {band.side: band.edge_y for band in drawn.bands} == {"code": 0, "database": drawn.foot - EDGE}


def test_phases_that_end_close_together_have_one_label_and_each_its_own_title() -> None:
    ends = (("phase1", 40), ("phase2", 39), ("phase3", 38), ("rollback", 20))
    steps = [Step(name, "finish", "done", "", "me", NOW - ago * MINUTE, NOW) for name, ago in ends]
    drawn = draw([], Course([], steps), NOW - 60 * MINUTE, NOW)
    assert [line.label for line in drawn.phases] == ["1, 2, 3", "", "", "rollback"]
    assert [line.title for line in drawn.phases] == ["1", "2", "3", "rollback"]


def test_the_band_of_a_leader_that_was_killed_ends_with_its_last_sign_of_life() -> None:
    course = Course([term(1, 200, 100), term(2, 90, None, seen=70), term(3, 45, None, seen=30)], [])
    [band] = draw([], course, NOW - 60 * MINUTE, NOW).bands
    assert (band.x, band.width) == ("25.50%", "24.50%")
    assert band.title.endswith("; its last sign of life is of 11:30, and no end is recorded")
    line = TermLine.of(course.terms[-1], NOW, leads=False)
    assert line.is_seen_last
    assert line.ended is not None
    assert line.ended.shown == "11:30:00 UTC"


def test_the_term_of_a_leader_that_was_killed_lasts_no_longer_for_having_a_successor() -> None:
    course = Course([term(1, 45, 10, SUCCEEDED, seen=30), term(2, 10, None)], [])
    _, band = draw([], course, NOW - 60 * MINUTE, NOW).bands
    assert (band.x, band.width) == ("25.50%", "24.50%")
    assert band.title.endswith("; its last sign of life is of 11:30, and no end is recorded")
    line = TermLine.of(course.terms[0], NOW, leads=False)
    assert (line.is_seen_last, line.ended and line.ended.shown) == (True, "11:30:00 UTC")
    assert line.end == "did not say, and another took over"


def test_a_lane_says_from_when_on_it_is_drawn() -> None:
    drawn = draw([Lane(NAME, NOW - 15 * MINUTE, [ran(15)])], Course((), ()), NOW - 60 * MINUTE, NOW)
    assert drawn.lanes[0].drawn_from == "74.50%"
    assert drawn.lanes[0].told == "the latest 1: 1 ok (code)"


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("every-minute", "every-minute"),
        ("x" * 44, "x" * 44),
        ("x" * 45, "x" * 44 + "\N{HORIZONTAL ELLIPSIS}"),
        ("\N{HIRAGANA LETTER A}" * 30, "\N{HIRAGANA LETTER A}" * 22 + "\N{HORIZONTAL ELLIPSIS}"),
        ("e" + "\N{COMBINING ACUTE ACCENT}" * 60, "e" + "\N{COMBINING ACUTE ACCENT}" * 60),
    ],
)
def test_a_long_name_is_cut_where_a_narrow_screen_ends_and_is_said_to_be(name: str, short: str) -> None:
    [lane] = draw([Lane(EntryName(name), NOW, [])], Course((), ()), NOW - 60 * MINUTE, NOW).lanes
    assert (lane.name, lane.short) == (name, short)


@pytest.mark.parametrize(
    ("one", "names", "last", "word"),
    [
        (ran(), "Due Claimed Published Started Ended", "succeeded, took 90 ms", "well"),
        (
            ran(outcome=RunOutcome.FAILED, error="OSError: x"),
            "Due Claimed Published Started Ended",
            "failed, took 90 ms",
            "problem",
        ),
        (
            ran(deduplicated=2, resent=1),
            "Due Claimed Published Resent Started Deduplicated Ended",
            "succeeded, took 90 ms",
            "notice",
        ),
        (ran(outcome=None), "Due Claimed Published Started Ended", "nobody recorded it, took 90 ms", "well"),
        (life(), "Due Claimed Published Started", "by no worker so far", "well"),
        (missed(), "Due Missed", "too late; recorded by h:7 (code side), release v1, under epoch 2", "problem"),
    ],
)
def test_a_life_is_told_in_its_order(one: Life, names: str, last: str, word: str) -> None:
    events = events_of(one, term(2, 45, None), NOW)
    assert [event.name for event in events] == names.split()
    assert (events[-1].said, events[-1].error, word_of(one)) == (last, one.error, word)


def test_what_is_not_known_is_said() -> None:
    told = {event.name: event.said for event in events_of(ran(), None, NOW)}
    assert told["Claimed"] == "its term is forgotten, under epoch 2"
    assert TermLine.of(term(2, 9, None), NOW, leads=False).end == "did not say: killed or cut off"
    assert TermLine.of(term(2, 9, None), NOW, leads=True).end == "leads"
    assert TermLine.of(term(2, 9, 1, "fenced"), NOW, leads=False).end == "fenced"


def test_an_instant_has_the_zone_of_the_site_and_a_date_unless_it_is_todays() -> None:
    now = NOW.astimezone(ZoneInfo("Europe/London"))
    early, late = (Moment.of(NOW - dt.timedelta(hours=hours), now) for hours in (14, 11.5))
    assert early is not None and late is not None
    assert (early.shown, early.away) == ("2026-03-28 22:00:00 GMT", "14 h ago")
    assert (late.shown, late.full, late.iso) == (
        "00:30:00 GMT",
        "2026-03-29 00:30:00 GMT",
        "2026-03-29T00:30:00+00:00",
    )


def test_an_entry_that_was_never_sent_has_a_line_and_an_address() -> None:
    line = EntryLine.of(EntryRecord(NAME, Side.CODE), NOW)
    assert (line.word, line.last, line.run, line.next) == ("well", None, "", None)
    assert line.query == "name=a%2Fb+%26+c"


def test_what_came_before_its_time_is_said_to_have() -> None:
    early = ran(30)._replace(published_at=NOW - 31 * MINUTE, started_at=NOW - 31 * MINUTE + 10_000 * MS)
    said = {event.name: event.said for event in events_of(early, None, NOW)}
    assert said["Published"] == "60 s before it was due"
    assert said["Started"] == "on w, 50 s before it was due"
    record = EntryRecord(NAME, Side.CODE, early)
    assert row_of(record, NOW).cells[-1].endswith("started -50 s")
    assert history_row(early, dt.UTC).cells[2:4] == ("-60 s", "-50 s")
