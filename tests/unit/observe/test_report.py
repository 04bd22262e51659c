"""The pure parts of the report: bounds of lateness, the places of instants, what is masked, what the verdict says."""

import datetime as dt
from itertools import pairwise
from xml.etree import ElementTree
from zoneinfo import ZoneInfo

import pytest

from cutover.ledger.fence import SUCCEEDED, FenceView
from cutover.ledger.pauses import SITE, Pause
from cutover.observe.conditions import Severity
from cutover.observe.course import Course, Step
from cutover.observe.report import timeline
from cutover.observe.report.axes import LEFT, WIDTH, Times
from cutover.observe.report.delays import STEPS_MS, Delays, delays, histogram
from cutover.observe.report.environment import place
from cutover.observe.report.expressions import Fate
from cutover.observe.report.figures import EntryFigures, Figures, Listed, period
from cutover.observe.report.scale import BOUNDS_MS, magnitude
from cutover.observe.report.svg import drawing, element
from cutover.observe.report.verdict import Basis, judge
from cutover.observe.slot import Claimant
from cutover.phases.evidence.findings import Finding, Why
from cutover.phases.facts import State
from cutover.phases.report import Check
from cutover.types import EntryName, Epoch, Side

NOON = dt.datetime(2026, 10, 24, 12, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)


@pytest.mark.parametrize(
    ("length_ms", "at_most"), [(-5, 1), (0, 1), (1, 2), (9, 10), (10, 20), (99, 100), (100, 200), (4_999, 5_000)]
)
def test_a_magnitude_is_bounded_by_its_first_digit(length_ms: int, at_most: int) -> None:
    assert BOUNDS_MS[magnitude(length_ms)] == at_most


def test_percentiles_are_bounds_that_are_not_exceeded() -> None:
    counts = {magnitude(length): count for length, count in {12: 94, 450: 5, 7_000: 1}.items()}
    assert delays(counts, 7_400) == Delays(100, 20, 500, 7_400)
    assert delays({magnitude(720): 1}, 750) == Delays(1, 750, 750, 750), "nor is the longest"
    assert delays({len(BOUNDS_MS): 1}, 10**9) == Delays(1, 10**9, 10**9, 10**9)
    assert delays({}, None) == Delays()


def test_a_histogram_has_every_slot_once() -> None:
    lengths = [0, 1, 4, 999, 1_000, 59_000, 10**8]
    assert set(STEPS_MS) < set(BOUNDS_MS), "none is between two counts"
    found = histogram({magnitude(one): 1 for one in lengths})
    steps = [*STEPS_MS, "longer"]
    assert [step for step, count in zip(steps, found, strict=True) if count] == [
        1,
        2,
        5,
        1_000,
        2_000,
        60_000,
        "longer",
    ]


@pytest.mark.parametrize(("days", "bucket_s"), [(0.001, 1), (0.1, 60), (1, 600), (7, 3_600), (366, 131_760)])
def test_buckets_are_few_and_begin_before_the_period(days: float, bucket_s: int) -> None:
    over = period(NOON - 400 * DAY, NOON - days * DAY, NOON)
    assert over.bucket_s == bucket_s
    assert over.buckets <= 241
    assert 0 <= over.place(over.since) < 1
    assert over.place(over.until) <= over.buckets


def test_ticks_are_round_in_the_sites_zone_also_where_the_clocks_are_changed() -> None:
    times = Times(period(NOON, NOON, NOON + 2 * DAY), ZoneInfo("Asia/Kolkata"))
    assert [text for _, text in times.ticks()][:3] == ["24 Oct 18:00", "25 Oct 00:00", "06:00"]
    assert len([*Times(period(NOON, NOON, NOON + 2 * DAY), ZoneInfo("Europe/London")).ticks()]) == 8


@pytest.mark.parametrize("noon", [NOON, NOON.replace(month=3, day=28)])
def test_a_day_begins_at_midnight_also_after_the_clocks_were_changed(noon: dt.datetime) -> None:
    london = ZoneInfo("Europe/London")
    times = Times(period(noon - 3 * DAY, noon - 3 * DAY, noon + 4 * DAY), london)
    days = [(noon + day * DAY).replace(hour=0, tzinfo=london) for day in range(-2, 5)]
    assert [*times.ticks()] == [(times.x(day), f"{day:%d %b}") for day in days]
    hours = Times(period(noon + DAY / 2, noon + DAY / 2, noon + DAY / 2 + DAY / 8), london)
    assert [text[-5:] for _, text in hours.ticks()][1:5] == (
        ["01:30", "01:00", "01:30", "02:00"] if noon is NOON else ["00:30", "02:00", "02:30", "03:00"]
    )


@pytest.mark.parametrize("length_s", [20, 42, 600, 7_000, 86_400, 2 * 86_400, 7 * 86_400, 300 * 86_400])
def test_labels_of_times_do_not_lie_on_each_other(length_s: int) -> None:
    for offset_s in range(12):
        since = NOON + dt.timedelta(seconds=offset_s)
        drawn = Times(period(since, since, since + dt.timedelta(seconds=length_s)), dt.UTC).drawn(0, 9)
        labels = [(float(one.attrib["x"]), one.attrib["text-anchor"], one.text or "") for one in drawn if one.text]
        ends = [(x - 6 * len(text), x) if anchor == "end" else (x, x + 6 * len(text)) for x, anchor, text in labels]
        assert len(ends) >= 2
        assert [pair for pair in pairwise(ends) if pair[0][1] >= pair[1][0]] == []


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://:secret@cache:6379/0?password=secret", "redis://cache:6379/0"),
        ("amqp://user:se/cr@et#@mq/vhost", "amqp://mq/vhost"),
        ("sqs://KEY:sec/ret+@", "sqs://"),
        ("redis://cache:6379/0", "redis://cache:6379/0"),
        ("secret without a scheme", ""),
        ("", ""),
    ],
)
def test_of_a_url_its_place_alone_is_shown(url: str, shown: str) -> None:
    assert place(url) == shown


@pytest.mark.parametrize("end", [(None, ""), (NOON - DAY / 8, SUCCEEDED)], ids=["nobody yet", "its successor"])
def test_the_band_of_a_leader_that_was_killed_ends_with_its_last_sign_of_life(end: tuple[dt.datetime, str]) -> None:
    over = counted().period
    killed = Claimant(7, Side.CODE, "h", 7, "v1", NOON - DAY / 2, *end, NOON - DAY / 4)
    alive = Claimant(8, Side.CODE, "h", 8, "v1", NOON - DAY / 8, None, "", NOON - dt.timedelta(seconds=9))
    drawn = ElementTree.fromstring(timeline.draw(counted(), Course([killed, alive], []), dt.UTC).replace("xmlns", "x"))
    times = Times(over, dt.UTC)
    bands = {
        "".join(one.itertext()).partition(":")[0]: (float(one.get("x", 0)), float(one.get("width", 0)))
        for one in drawn.iter("rect")
        if "term" in one.get("class", "")
    }
    ends = {epoch: left + width for epoch, (left, width) in bands.items()}
    assert ends["epoch 7"] == pytest.approx(times.x(NOON - DAY / 4), abs=0.2)
    assert ends["epoch 8"] == pytest.approx(times.x(NOON), abs=0.2)
    assert ends["epoch 8"] <= WIDTH


def test_slots_of_a_time_in_which_nobody_led_are_drawn_too() -> None:
    drawn = ElementTree.fromstring(timeline.draw(counted(), Course([], []), dt.UTC).replace("xmlns", "x"))
    assert not [one for one in drawn.iter("rect") if "term" in one.get("class", "")]


@pytest.mark.parametrize(
    ("name", "shown"),
    [("short", "short"), ("x" * 99, "x" * 27 + "…"), ("漢" * 99, "漢" * 13 + "…"), ("e\u0301" * 27, "e\u0301" * 27)],
)
def test_a_name_is_as_wide_as_its_column_at_most(name: str, shown: str) -> None:
    times = Times(period(NOON - 7 * DAY, NOON - 7 * DAY, NOON), dt.UTC)
    [clip] = [one for one in timeline._lane(EntryName(name), [], times, 0.0) if one.tag == "svg"]
    assert [text.text for text in clip.iter("text")] == [shown]
    assert float(clip.attrib["width"]) < LEFT


def test_steps_that_are_close_share_a_label_that_names_each_phase() -> None:
    times = Times(period(NOON - 7 * DAY, NOON - 7 * DAY, NOON), dt.UTC)
    done = [("phase1", "finish", 0), ("phase2", "finish", 1), ("phase3", "switch", 2), ("phase3", "finish", 2)]
    late = [("phase4", "finish", 60 * 24 * 3), ("rollback", "switch", 60 * 24 * 6 + 60 * 23)]
    began = NOON - 7 * DAY
    ats = [(phase, step, began + dt.timedelta(minutes=minutes)) for phase, step, minutes in [*done, *late]]
    course = Course([], [Step(phase, step, "done", "", "alice", at, at) for phase, step, at in ats])
    made = timeline._steps(course, times, 100.0)
    texts = [one for one in made if one.tag == "text"]
    assert [one.text for one in texts] == ["phase1, 2, 3", "phase4", "rollback"]
    assert [one.attrib["text-anchor"] for one in texts] == ["middle", "middle", "end"]
    assert len(made) - len(texts) == len(course.steps), "each has a line of its own"


def test_a_drawing_escapes_and_names_itself() -> None:
    drawn = drawing(10, 10, "d", "A & B", "<desc>", [element("text", text="<script>", class_='"x"', x=1.25)])
    whole = ElementTree.fromstring(drawn)
    assert [one.text for one in whole] == ["A & B", "<desc>", "<script>"]
    assert whole.attrib["aria-labelledby"] == "d-title d-desc"


FENCE = FenceView(Epoch(3), Side.DATABASE, NOON - 9 * DAY, NOON - 9 * DAY, 0, NOON)
STATE = State(3, FENCE, NOON - 9 * DAY, 3, 0, "", "")
WELL = Basis(STATE, 30 * DAY, Check("unmanaged beats", True, "none is heard"), NOON - 7 * DAY, 0)


def counted(late: int = 0, deduplicated: int = 0, lost: int = 0, **fates: int) -> Figures:
    over = period(NOON - 7 * DAY, NOON - 7 * DAY, NOON)
    entry = EntryFigures(
        EntryName("e"), fates={Fate(k): n for k, n in fates.items()}, late=late, deduplicated=deduplicated
    )
    return Figures(over, [entry], (), (), (), (), [Listed("lost", lost, ())])


def basis(**changed: object) -> Basis:
    return Basis(**{name: getattr(WELL, name) for name in WELL.__slots__} | changed)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("figures_", "basis_", "sentence", "severity"),
    [
        (counted(succeeded=2), WELL, "Sent and run once: each of 2 slots of 1 entry.", Severity.WELL),
        (
            counted(succeeded=1, failed=1, deduplicated=3),
            WELL,
            "Sent and run once: each of 2 slots of 1 entry; 1 run failed, 3 further messages deduplicated.",
            Severity.PROBLEM,
        ),
        (
            counted(succeeded=2, late=1),
            WELL,
            "Sent and run once: each of 2 slots of 1 entry; 1 slot published late.",
            Severity.NOTICE,
        ),
        (
            counted(running=1, succeeded=1, lost=1),
            WELL,
            "Sent and run once, as far as can be known (see the reservations): each of 2 slots of 1 entry; "
            "1 run lost with the worker.",
            Severity.PROBLEM,
        ),
        (
            counted(succeeded=2),
            basis(found=1, findings=[Finding(EntryName("e"), NOON, "was never claimed")]),
            "Not every slot was sent and run once: of 2 slots 1 more that phase 4's proof names, such as e due "
            "2026-10-24 12:00:00 UTC: was never claimed.",
            Severity.PROBLEM,
        ),
        (
            counted(succeeded=2),
            basis(unmanaged=Check("unmanaged beats", False, "7@old")),
            "Inconclusive: a beat without the lease may have sent besides the 2 slots that were run.",
            Severity.PROBLEM,
        ),
        (
            counted(succeeded=2),
            basis(not_proved=[(EntryName("f"), Why.NO_ROW)]),
            "Sent and run once, as far as can be known (see the reservations): each of 2 slots of 1 entry; 1 entry of "
            "code without a row, never sent.",
            Severity.PROBLEM,
        ),
        (counted(), WELL, "Inconclusive: the ledger has no slot of this period.", Severity.NOTICE),
        (
            counted(succeeded=2),
            basis(led_until=NOON - DAY),
            "Sent and run once, as far as can be known (see the reservations): each of 2 slots of 1 entry; nobody has "
            "led since 2026-10-23 12:00:00 UTC.",
            Severity.PROBLEM,
        ),
        (
            counted(succeeded=2),
            basis(pauses=[Pause(SITE, NOON - DAY, None, "alice", "")]),
            "Sent and run once, as far as can be known (see the reservations): each of 2 slots of 1 entry; everything "
            "is paused.",
            Severity.NOTICE,
        ),
        (
            counted(succeeded=2, failed=1),
            basis(pauses=[Pause(EntryName("e"), NOON - DAY, None, "alice", "")]),
            "Sent and run once, as far as can be known (see the reservations): each of 3 slots of 1 entry; 1 run "
            "failed, 1 entry is paused.",
            Severity.PROBLEM,
        ),
        (
            counted(),
            basis(not_proved=[(EntryName("f"), Why.NO_ROW)]),
            "Inconclusive: the ledger has no slot of this period; 1 entry of code without a row, never sent.",
            Severity.PROBLEM,
        ),
        (
            counted(succeeded=2, failed=3, not_recorded=1),
            WELL,
            "Inconclusive: 5 of 6 slots were sent and run once; 3 runs failed, 1 slot without a recorded run.",
            Severity.PROBLEM,
        ),
        (
            counted(succeeded=2, not_recorded=1),
            WELL,
            "Inconclusive: 2 of 3 slots were sent and run once; 1 slot without a recorded run.",
            Severity.NOTICE,
        ),
        (
            counted(under_way=2),
            WELL,
            "Inconclusive: no slot of this period was run; 2 slots under way.",
            Severity.NOTICE,
        ),
    ],
)
def test_the_verdict(figures_: Figures, basis_: Basis, sentence: str, severity: Severity) -> None:
    said = judge(figures_, basis_)
    assert (said.sentence, said.severity) == (sentence, severity)
