"""The report of a small ledger, whose right values are written here by hand; on SQLite, PostgreSQL and MariaDB."""

import datetime as dt
import io
import json
import os
import re
import threading
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import OperationalError, connections
from django.test.utils import CaptureQueriesContext
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from cutover import clock
from cutover.errors import LedgerUnavailable
from cutover.ledger.pauses import SITE
from cutover.models import Cutover, Entry, Fence, Slot, Term, Transition
from cutover.observe import overview
from cutover.observe.conditions import Severity
from cutover.observe.report import compose, counting, document, scale, summing
from cutover.observe.report.compose import PeriodReport
from cutover.observe.report.expressions import Fate
from cutover.observe.report.figures import SHOWN, EntryFigures, Figures
from cutover.observe.report.verdict import Verdict
from cutover.phases.context import Context
from cutover.phases.evidence import tally
from cutover.phases.evidence.tally import Counting
from cutover.phases.wording import to_the_second
from cutover.schedules.fingerprint import fingerprint
from cutover.workers import processes
from tests.support.plans import plans

pytestmark = [pytest.mark.integration, pytest.mark.mariadb]

Surroundings = Callable[[], Context]
HOUR, MS = dt.timedelta(hours=1), dt.timedelta(milliseconds=1)
STRANGE = "<script>alert('&')</script>"
MISSED = {"state": "missed", "published_at": None, "run_started_at": None, "run_ended_at": None, "outcome": None}
WAITING = {"run_started_at": None, "run_ended_at": None, "outcome": None}


@pytest.fixture
def hours() -> dt.datetime:
    """The last full hour but one: all that was due by then is old enough to be judged."""
    return clock.now().replace(minute=0, second=0, microsecond=0) - HOUR


@pytest.fixture
def ledger(context: Surroundings, hours: dt.datetime) -> str:
    """Two days of leadership, and the alias."""
    alias, began = context().alias, hours - 48 * HOUR
    Fence.objects.using(alias).update(guarded_since=began)
    term = {"epoch": 1, "holder": "h:1:x", "side": "code", "host": "h", "pid": 1}
    Term.objects.using(alias).create(**term, started_at=began, seen_at=clock.now())
    for name in ("hourly", STRANGE, "yearly"):
        Entry.objects.using(alias).create(name=name, fingerprint="f", eligible_since=began)
    return alias


def slot(entry: str, due_at: dt.datetime, sent_ms: int = 4, started_ms: int = 15, **fields: Any) -> Slot:
    """A slot that was sent and run, and took two seconds; or with other ``fields``."""
    started_at = due_at + started_ms * MS
    whole = {
        "epoch": 1,
        "side": "code",
        "state": "published",
        "task_id": uuid.uuid4(),
        "claimed_at": due_at,
        "published_at": due_at + sent_ms * MS,
        "run_started_at": started_at,
        "run_ended_at": started_at + 2_000 * MS,
        "run_by": "1@s#1 h/b/s:7:9:abcd:5.7.0:celery@",
        "outcome": "succeeded",
        **fields,
    }
    return Slot(entry=entry, due_at=due_at, **whole)


def fill(alias: str, hours: dt.datetime) -> None:
    """24 slots of ``hourly``, of which 2 missed, 1 failed, 1 late, 1 waiting, 1 with 2 more messages; 2 of another."""
    rows = [slot("hourly", hours - n * HOUR) for n in range(24)]
    for n in (3, 4):
        rows[n] = slot("hourly", hours - n * HOUR, **MISSED, reason="older than the catch-up window")
    rows[5] = slot("hourly", hours - 5 * HOUR, outcome="failed", error="OSError: <no> such host")
    rows[6] = slot("hourly", hours - 6 * HOUR, sent_ms=42_000, started_ms=43_000)
    rows[7] = slot("hourly", hours - 7 * HOUR, **WAITING)
    rows[8] = slot("hourly", hours - 8 * HOUR, deduplicated=2)
    rows += [slot(STRANGE, hours - n * HOUR, started_ms=250, run_ended_at=None, outcome=None) for n in range(2)]
    rows += [slot("hourly", hours - 60 * HOUR, **MISSED)]  # before the period
    Slot.objects.using(alias).bulk_create(rows)


def of(report: PeriodReport, entry: str) -> EntryFigures:
    [found] = [one for one in report.content.figures.entries if one.entry == entry]
    return found


def test_everything_is_counted_and_listed_at_its_place(context: Surroundings, ledger: str, hours: dt.datetime) -> None:
    fill(ledger, hours)
    report = compose.run(context(), since=2 * 24 * HOUR)
    counted = report.content.figures
    assert [one.entry for one in counted.entries] == ["hourly", STRANGE, "yearly"], "the worst first"
    hourly, strange = of(report, "hourly"), of(report, STRANGE)
    assert {fate: count for fate, count in hourly.fates.items() if count} == {
        Fate.MISSED: 2,
        Fate.NOT_STARTED: 1,
        Fate.FAILED: 1,
        Fate.SUCCEEDED: 20,
    }
    assert (hourly.slots, hourly.late, hourly.deduplicated, hourly.published_longest_ms) == (24, 1, 2, 42_000)
    assert (hourly.started.slots, hourly.started.p50_ms, hourly.started.p95_ms) == (21, 20, 20), "at most 20 ms"
    assert (hourly.started.longest_ms, hourly.duration_mean_ms, hourly.duration_longest_ms) == (43_000, 2_000, 2_000)
    assert strange.fates[Fate.RUN] == 2
    assert (strange.started.p50_ms, strange.duration_mean_ms) == (250, None), "no longer than the longest"
    assert of(report, "yearly").slots == 0
    listed = {one.kind: (one.total, [hours - life.due_at for life in one.slots]) for one in counted.listed}
    assert listed == {
        "missed": (2, [3 * HOUR, 4 * HOUR]),
        "unsent": (1, [7 * HOUR]),
        "failed": (1, [5 * HOUR]),
        "lost": (0, []),
        "late": (1, [6 * HOUR]),
        "deduplicated": (2, [8 * HOUR]),
    }
    over = counted.period
    [failed] = [cell for cell in counted.cells if cell.fate is Fate.FAILED]
    begin = dt.datetime.fromtimestamp(over.begin + failed.bucket * over.bucket_s, dt.UTC)
    assert begin <= hours - 5 * HOUR < begin + dt.timedelta(seconds=over.bucket_s)
    assert (sum(counted.started), sum(counted.published)) == (23, 24)
    assert sum(cell.slots for cell in counted.cells) == counted.slots == 26
    assert max(one.published.longest_ms or 0 for one in counted.moments) == 42_000


def test_the_verdict_says_what_is_wrong_and_what_cannot_be_known(
    context: Surroundings, ledger: str, hours: dt.datetime
) -> None:
    fill(ledger, hours)
    said = compose.run(context()).content.verdict
    assert said.severity is Severity.PROBLEM
    assert said.sentence == (
        "Not every slot was sent and run once: of 27 slots 3 missed, 1 published and not started; 1 run failed, "
        "1 slot published late, 2 further messages deduplicated."
    )
    unknown = " ".join(said.reservations)
    for part in (
        "of the time before nothing is known",
        "the code side is active",
        "How 2 runs ended is not known",
    ):
        assert part in unknown


def test_what_was_passed_over_in_a_long_gap_is_counted_though_it_has_no_row(
    context: Surroundings, ledger: str, hours: dt.datetime
) -> None:
    gap = [slot("hourly", hours - n * HOUR, **MISSED, passed_over=1_000 if n == 3 else 0) for n in range(1, 4)]
    Slot.objects.using(ledger).bulk_create([slot("hourly", hours), *gap])
    report = compose.run(context())
    assert (of(report, "hourly").fates[Fate.MISSED], report.content.figures.slots) == (1_003, 1_004)
    assert report.content.verdict.sentence == "Not every slot was sent and run once: of 1,004 slots 1,003 missed."
    assert sum(cell.slots for cell in report.content.figures.cells) == 1_004
    assert "<h3>Missed: 1,003</h3>" in report.page()
    seen = overview.take(context())
    assert (seen.data["missed_total"], len(seen.data["missed"])) == (1_003, 3)
    [record] = [one for one in seen.entries or () if one.entry == "hourly"]
    assert "missed earlier: 1003 in the last day" in map(str, record.findings)


def test_what_is_rare_is_not_looked_for_among_all_slots(
    context: Surroundings, ledger: str, hours: dt.datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(ledger, hours)
    twins = [slot(name, hours - 9 * HOUR, outcome="failed") for name in ("a twin", "The other twin")]
    Slot.objects.using(ledger).bulk_create(twins)

    def listed() -> tuple[list[list[tuple[str, dt.datetime]]], list[str]]:
        with CaptureQueriesContext(connections[ledger]) as asked:
            found = compose.run(context()).content.figures.listed
        sorted_ = [query["sql"] for query in asked if re.search(rf" DESC.* LIMIT {SHOWN}$", query["sql"])]
        return [[(life.entry, life.due_at) for life in one.slots] for one in found], sorted_

    few, sorted_ = listed()
    assert sorted_ == [], "the latest first: where there are few of the kind, that is through all slots"
    monkeypatch.setattr(counting, "_FEW", 0)
    many, sorted_ = listed()
    assert len(sorted_) == 5
    assert [sorted(one) for one in few] == [sorted(one) for one in many]
    assert [[at for _, at in one] for one in few] == [[at for _, at in one] for one in many]


def test_postgres_counts_in_memory_and_with_all_its_workers(
    context: Surroundings, ledger: str, hours: dt.datetime
) -> None:
    if connections[ledger].vendor != "postgresql":
        pytest.skip("the others count with one")
    many = range(2_000)
    slots = (slot(f"e{n % 9}", hours - n * MS * 1_000, sent_ms=n, started_ms=2 * n) for n in many)
    Slot.objects.using(ledger).bulk_create(slots)
    free = {"min_parallel_table_scan_size": 0, "parallel_setup_cost": 0, "parallel_tuple_cost": 0}
    with connections[ledger].cursor() as cursor:
        cursor.execute("VACUUM ANALYZE cutover_slot")
        for name, value in free.items():
            cursor.execute(f"SET {name} = {value}")
    try:
        with plans(ledger) as found:
            assert compose.run(context()).content.figures.slots == len(many)
    finally:
        connections[ledger].close()
    counted = [plan for plan in found if "GROUP BY" in plan.sql and "IN (" not in plan.sql.partition("WHERE")[2]]
    assert len(counted) == 2
    for plan in counted:
        assert '"Partial Mode": "Partial"' in plan.lines, plan.lines
        assert plan.sql.count('"published_at", ') == 1, "computed once a slot"


def test_the_others_count_parts_of_the_time_at_once_and_come_to_the_same(
    context: Surroundings, ledger: str, hours: dt.datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(ledger, hours)
    since, until = hours - 30 * HOUR, hours + HOUR / 2
    counted_by: list[tuple[str, str]] = []
    rows = summing._rows

    def noted(alias: str, statement: str, params: Any) -> Any:
        counted_by.append((threading.current_thread().name, statement))
        return rows(alias, statement, params)

    def figures() -> tuple[Figures, Counting]:
        counted_by.clear()
        proof = Counting()
        return counting.read(context(), since, until, proof), proof

    monkeypatch.setattr(summing, "_rows", noted)
    one = figures()
    assert {name for name, _ in counted_by} == {"MainThread"}
    monkeypatch.setattr(summing, "_MANY", 1)
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    assert figures() == one
    assert one[0].slots == 26
    others = [statement for name, statement in counted_by if name != "MainThread"]
    assert len(others) == (0 if connections[ledger].vendor == "postgresql" else 6)
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    assert figures() == one


def test_parts_have_each_slot_once_and_none_of_before(
    context: Surroundings, ledger: str, hours: dt.datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MariaDB reads the whole table for some days of it, where keys do not say which."""
    monkeypatch.setattr(summing, "_MANY", 1)
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    every, since = Slot.objects.using(ledger), hours - 7 * HOUR
    every.bulk_create([slot("hourly", hours - n * HOUR) for n in range(20, -1, -1)])
    keys = sorted(every.values_list("pk", flat=True))
    if connections[ledger].vendor == "postgresql":
        assert summing.parts_of(every.filter(due_at__gt=since), since) == (), "it divides a statement itself"
        return
    for asked, beginning in ((every.filter(due_at__gt=since), since), (every, hours - 99 * HOUR)):
        wanted = keys[-asked.count() :]
        parts = summing.parts_of(asked, beginning)
        assert [key for part in parts for key in range(part.first, part.last + 1)] == wanted
        assert len(parts) == 3
    assert summing.parts_of(every.filter(due_at__gt=hours), hours) == (), "none there"


def test_of_parts_that_are_counted_at_once_a_failure_is_one_line(
    context: Surroundings, ledger: str, hours: dt.datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(ledger, hours)
    monkeypatch.setattr(summing, "_MANY", 1)
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    threads = threading.active_count()

    def fails(alias: str, statement: str, params: Any) -> Any:
        raise OperationalError("the server has gone away")

    monkeypatch.setattr(summing, "_rows", fails)
    with pytest.raises(LedgerUnavailable, match="gone away"):
        counting.read(context(), hours - 3 * HOUR, hours + HOUR)
    assert threading.active_count() == threads


def test_it_keeps_nobody_from_claiming_meanwhile(context: Surroundings, ledger: str, hours: dt.datetime) -> None:
    """SQLite has one lock for all that write, which a transaction may take though it only reads."""
    fill(ledger, hours)
    other, written = connections[ledger].copy(), list[str]()
    if other.vendor == "sqlite":
        options = {**other.settings_dict["OPTIONS"], "timeout": 0}
        assert options["transaction_mode"] == "IMMEDIATE", "as docs/support.md has it"
        other.settings_dict = {**other.settings_dict, "OPTIONS": options}

    def write(execute: Any, sql: str, params: Any, many: bool, seen: Any) -> Any:
        found = execute(sql, params, many, seen)
        if "packed" in sql:
            with other.cursor() as cursor:
                cursor.execute("UPDATE cutover_fence SET epoch = epoch + 1")
            written.append(sql)
        return found

    try:
        with connections[ledger].execute_wrapper(write):
            assert compose.run(context()).content.figures.slots == 27
    finally:
        other.close()
    assert len(written) == 4


@pytest.mark.mariadb(alone=True)
def test_mariadb_counts_in_memory_whatever_a_session_has_of_it(
    context: Surroundings, ledger: str, hours: dt.datetime
) -> None:
    if not getattr(connections[ledger], "mysql_is_mariadb", False):
        pytest.skip("MySQL has no such setting for a statement")
    fill(ledger, hours)
    slots = (slot(f"e{n % 9}", hours - n * MS * 1_000, started_ms=2 * n) for n in range(300))
    Slot.objects.using(ledger).bulk_create(slots)
    sizes, in_files = "SELECT @@tmp_table_size, @@max_heap_table_size", list[Any]()

    def look(execute: Any, sql: str, params: Any, many: bool, seen: Any) -> Any:
        found = execute(sql, params, many, seen)
        if "packed" in sql:
            with connections[ledger].connection.cursor() as beside:
                beside.execute("SHOW SESSION STATUS LIKE 'Created_tmp_disk_tables'")
                in_files.append(beside.fetchone())
        return found

    with connections[ledger].cursor() as cursor:
        cursor.execute("SET SESSION tmp_table_size = 16384, max_heap_table_size = 16384")
        cursor.execute("FLUSH STATUS")
    try:
        with connections[ledger].execute_wrapper(look):
            assert compose.run(context()).content.figures.slots == 327
        with connections[ledger].cursor() as cursor:
            cursor.execute(sizes)
            assert cursor.fetchone() == (16_384, 16_384), "as the project has them"
    finally:
        connections[ledger].close()
    assert in_files == [("Created_tmp_disk_tables", "0")] * 4


def test_a_run_whose_worker_is_gone_is_lost(context: Surroundings, ledger: str, hours: dt.datetime) -> None:
    process, _, began = processes.own_name().rpartition(":")
    running = {"outcome": "running", "run_ended_at": None}
    marks = [f"0@#1 {process}:{int(began) - ago}:abcd:5.7.0:celery@" for ago in (0, 1)]
    Slot.objects.using(ledger).bulk_create(
        slot("hourly", hours - n * HOUR, **running, run_by=mark) for n, mark in enumerate(marks)
    )
    made = compose.run(context()).content
    [lost] = [one for one in made.figures.listed if one.kind == "lost"]
    assert (lost.total, [life.due_at for life in lost.slots]) == (1, [hours - HOUR])
    host, number = process.partition("/")[0], process.rpartition(":")[2]
    assert [life.error for life in lost.slots] == [f"process {number} of celery@{host} has ended"], (
        "and why it is known"
    )
    assert "each of 2 slots of 1 entry; 1 run lost with the worker" in made.verdict.sentence


def test_without_the_guard_nothing_is_said_of_runs(context: Surroundings, ledger: str, hours: dt.datetime) -> None:
    Fence.objects.using(ledger).update(guarded_since=None)
    Slot.objects.using(ledger).bulk_create([slot("hourly", hours), slot("hourly", hours - HOUR, **WAITING)])
    said = compose.run(context()).content.verdict
    assert said.sentence.startswith("Inconclusive: 1 of 2 slots were sent and run once; 1 slot without a recorded run")
    assert any("had the run guard at any time" in line for line in said.reservations)


def test_without_the_guard_too_a_young_slot_is_under_way(
    context: Surroundings, ledger: str, hours: dt.datetime
) -> None:
    Fence.objects.using(ledger).update(guarded_since=None)
    young = slot("hourly", clock.now() - 20_000 * MS, **WAITING)
    Slot.objects.using(ledger).bulk_create([slot("hourly", hours), young])
    found = compose.run(context()).content
    assert {fate: count for fate, count in found.figures.entries[0].fates.items() if count} == {
        Fate.SUCCEEDED: 1,
        Fate.UNDER_WAY: 1,
    }
    assert found.verdict.sentence.startswith("Sent and run once, as far as can be known")


@pytest.mark.parametrize(
    ("options", "fate"),
    [
        ({"countdown": 86_400}, Fate.UNDER_WAY),
        ({"countdown": 60}, Fate.NOT_STARTED),
        ({"eta": dt.datetime(2100, 1, 1, tzinfo=dt.UTC), "countdown": 60}, Fate.UNDER_WAY),
    ],
)
def test_what_a_code_entry_is_to_start_later_is_under_way_for_so_long(
    context: Surroundings,
    ledger: str,
    hours: dt.datetime,
    schedule: dict[str, dict[str, Any]],
    options: dict[str, Any],
    fate: Fate,
) -> None:
    """Before phase 2 no overlay says so: the schedule of the code does."""
    schedule["hourly"]["options"] = options
    Slot.objects.using(ledger).bulk_create([slot("hourly", hours), slot("hourly", hours - HOUR, **WAITING)])
    [one] = [one for one in compose.run(context()).content.figures.entries if one.entry == "hourly"]
    assert {each: one.fates[each] for each in (Fate.NOT_STARTED, Fate.UNDER_WAY)} == {
        Fate.NOT_STARTED: int(fate is Fate.NOT_STARTED),
        Fate.UNDER_WAY: int(fate is Fate.UNDER_WAY),
    }


def test_an_empty_period_proves_nothing(context: Surroundings, ledger: str) -> None:
    said = compose.run(context()).content
    assert said.verdict.sentence == "Inconclusive: the ledger has no slot of this period."
    assert "<svg" not in compose.run(context()).page()


def test_a_period_is_no_longer_than_the_ledger_keeps_all_of_it_or_has_been_there(
    context: Surroundings, ledger: str, hours: dt.datetime
) -> None:
    day = 24 * HOUR
    slots = [slot("hourly", hours - n * HOUR) for n in range(24)]
    Slot.objects.using(ledger).bulk_create([*slots, slot("clocked", hours - 20 * day, claimed_at=hours)])
    begun = compose.run(context(), since=30 * day).content
    assert begun.figures.period.since == hours - 48 * HOUR, "a slot that is sent late was not sent before the ledger"
    Slot.objects.using(ledger).bulk_create([slot("yearly", hours - 200 * day)])
    kept = compose.run(context(), since=90 * day).content
    assert kept.figures.period.until - kept.figures.period.since == context().config.retention
    assert kept.verdict.reservations[0].startswith("The ledger begins at"), "of what it forgets nothing is known"


def test_where_nobody_leads_any_more_it_is_said_since_when(
    context: Surroundings, ledger: str, hours: dt.datetime
) -> None:
    Slot.objects.using(ledger).bulk_create([slot("hourly", hours - n * HOUR) for n in range(20, 24)])
    terms = Term.objects.using(ledger)
    well = compose.run(context(), since=48 * HOUR).content.verdict
    assert (well.severity, "nobody" in well.sentence) == (Severity.WELL, False)
    for silent in ({"seen_at": hours - 20 * HOUR}, {"ended_at": hours - 20 * HOUR}):
        terms.update(**{"seen_at": None, "ended_at": None, **silent})
        ill = compose.run(context(), since=48 * HOUR).content.verdict
        assert ill.severity is Severity.PROBLEM
        assert f"nobody has led since {to_the_second(hours - 20 * HOUR)}" in ill.sentence


def test_while_something_is_paused_it_is_said_that_what_is_kept_back_is_not_counted(
    context: Surroundings, ledger: str, hours: dt.datetime
) -> None:
    Slot.objects.using(ledger).bulk_create([slot("hourly", hours - n * HOUR) for n in range(24)])
    context().ledger.pauses.pause(SITE, None, "alice", "the mail server moves")
    verdict = compose.run(context(), since=24 * HOUR).content.verdict
    assert "everything is paused" in verdict.sentence
    assert any(one.startswith("Everything is paused: what has been kept back since") for one in verdict.reservations)
    context().ledger.pauses.resume(SITE, "alice")
    verdict = compose.run(context(), since=24 * HOUR).content.verdict
    assert "paused" not in " ".join([verdict.sentence, *verdict.reservations])


def test_the_database_side_is_judged_as_phase_4_does(context: Surroundings, ledger: str, hours: dt.datetime) -> None:
    began = hours - 4 * HOUR
    interval = IntervalSchedule.objects.using(ledger).create(every=1, period="hours")
    row = PeriodicTask.objects.using(ledger).create(name="hourly", task="demo.tasks.note", interval=interval)
    entries = Entry.objects.using(ledger).filter(name="hourly")
    entries.update(fingerprint=fingerprint(row.schedule), eligible_since=began)
    Cutover.objects.using(ledger).update(phase=3, switched_at=began)
    Fence.objects.using(ledger).update(side="database", switched_at=began)
    step = {
        "phase": "phase3",
        "step": "switch",
        "outcome": "done",
        "operator": "o",
        "begun_at": began,
        "ended_at": began,
    }
    Transition.objects.using(ledger).create(**step)
    sent = [slot("hourly", hours + n * HOUR, side="database") for n in (-3, -1, 0, 1)]
    Slot.objects.using(ledger).bulk_create(sent)
    made = compose.run(context()).content
    assert [(one.entry, one.due_at, one.reason) for one in made.basis.findings] == [
        ("hourly", hours - 2 * HOUR, "was never claimed")
    ]
    assert made.verdict.severity is Severity.PROBLEM
    assert "1 more that phase 4's proof names, such as hourly due" in made.verdict.sentence
    assert "2 entries of code without a row, never sent" in made.verdict.sentence
    assert [(step.at, step.is_switch) for step in made.course.steps] == [(began, True)]


def test_what_a_proof_counts_of_the_same_time_is_counted_with_the_figures(
    context: Surroundings, ledger: str, hours: dt.datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = hours - 4 * HOUR
    interval = IntervalSchedule.objects.using(ledger).create(every=1, period="hours")
    row = PeriodicTask.objects.using(ledger).create(name="hourly", task="demo.tasks.note", interval=interval)
    entries = Entry.objects.using(ledger).filter(name="hourly")
    entries.update(fingerprint=fingerprint(row.schedule), eligible_since=began)
    Cutover.objects.using(ledger).update(phase=3, switched_at=began)
    Fence.objects.using(ledger).update(side="database", switched_at=began)
    rows = [slot("hourly", hours + n * HOUR, side="database") for n in (-3, -1, 0, 1)]
    Slot.objects.using(ledger).bulk_create(rows)

    def found(since: dt.timedelta) -> tuple[int | None, list[dt.datetime]]:
        basis = compose.run(context(), since=since).content.basis
        return basis.found, [one.due_at for one in basis.findings]

    apart = found(48 * HOUR)
    asked = []
    count = tally.counted
    monkeypatch.setattr(tally, "counted", lambda *given: asked.append(given) or count(*given))
    assert found(clock.now() - began - HOUR / 2) == apart == (1, [hours - 2 * HOUR])
    assert not asked
    assert found(48 * HOUR) == apart
    assert len(asked) == 1


def test_the_page_needs_nothing_from_elsewhere_and_escapes_names(
    context: Surroundings, ledger: str, hours: dt.datetime
) -> None:
    fill(ledger, hours)
    page = compose.run(context()).page()
    assert page.isascii()
    assert "<script" not in page
    assert page.count("&lt;script&gt;alert(") >= 2, "in its lane and in its row"
    assert set(re.findall(r"""(?:src|href|action)\s*=\s*["']?([^"'\s>]+)""", page)) <= {"#others"}
    assert re.findall(r"(?i)@import|url\(|<link|<img|<iframe|\son\w+=", page) == []
    assert {*re.findall(r"""\bhttps?://[^"'\s]+""", page)} <= {"http://www.w3.org/2000/svg"}
    drawings = re.findall(r"<figure.*?</figure>", page, re.DOTALL)
    assert len(drawings) == 3
    for drawing in drawings:
        assert "<title" in drawing
        assert "<desc" in drawing
    for word in ("missed", "run failed", "OSError: &lt;no&gt; such host", "published late", "Passwords are left out"):
        assert word in page


def test_a_name_turns_no_sentence_of_the_page_round(context: Surroundings, ledger: str, hours: dt.datetime) -> None:
    fill(ledger, hours)
    Slot.objects.using(ledger).filter(entry="hourly").update(entry="ste \u202eyda")
    made = compose.run(context()).content
    said = Verdict("such as ste \u202eyda", made.verdict.severity, ["of ste \u202eyda"])
    page = document.page(replace(made, verdict=said))
    assert r"such as ste \u202eyda" in page
    assert r"<li>of ste \u202eyda" in page
    assert re.findall(r"<title>[^<]*&#8238;", page) == []
    assert r"<title>ste \u202eyda: " in page


def test_more_entries_than_fit_are_folded_and_all_counted(
    context: Surroundings, ledger: str, hours: dt.datetime
) -> None:
    names = [f"e{n:03}" for n in range(SHOWN + 10)]
    Slot.objects.using(ledger).bulk_create(slot(name, hours) for name in names)
    report = compose.run(context())
    assert report.content.figures.slots == len(names)
    started = [one.started for one in report.content.figures.entries if one.slots]
    assert [one.p95_ms for one in started] == [15] * SHOWN + [None] * 10, "percentiles are of those that have a row"
    assert {(one.slots, one.longest_ms) for one in started} == {(1, 15)}
    page = report.page()
    assert "<details" in page
    assert all(name in page for name in names), "none is cut off"
    assert "13 more entries with 10 slots, all well" in page, "three have no slot"


def test_files_standard_output_and_what_cannot_be_written(
    context: Surroundings, ledger: str, hours: dt.datetime, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(ledger, hours)

    def typed(**options: str) -> str:
        out = io.StringIO()
        call_command("cutover", "report", stdout=out, **options)
        return out.getvalue()

    html, document = tmp_path / "r.html", tmp_path / "r.json"
    said = typed(html=str(html), json=str(document))
    assert said.startswith("Not every slot")
    assert f"Written   {html}" in said
    assert html.read_text().startswith("<!DOCTYPE html>")
    assert json.loads(document.read_text())["fates"]["missed"] == 3
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith("r.")) == ["r.html", "r.json"]
    assert typed(html="-").startswith("<!DOCTYPE html>")
    assert json.loads(typed(json="-"))["run"] == 23
    with pytest.raises(SystemExit) as ended:
        typed(html=str(tmp_path / "no such folder" / "r.html"))
    assert ended.value.code == 1
    assert "r.html cannot be written: No such file or directory" in capsys.readouterr().err


def test_the_database_counts_magnitudes_as_python_does(context: Surroundings) -> None:
    connection = connections[context().alias]
    lengths = [-7, *range(120), *(length + more for length in scale.BOUNDS_MS for more in (-1, 0, 1)), 10**9]
    rows = " UNION ALL ".join(f"SELECT {length} AS ms" for length in lengths)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT ms, {scale.sql(connection.vendor, 'ms')} FROM ({rows}) AS lengths")
        assert dict(cursor.fetchall()) == {length: scale.magnitude(length) for length in lengths}
        cursor.execute(f"SELECT {scale.sql(connection.vendor, 'ms')} FROM (SELECT NULLIF(1, 1) AS ms) AS none")
        assert cursor.fetchone() == (None,)
