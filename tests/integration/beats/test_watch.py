"""Edits that nobody announces, each as one makes it, on each database: noticed by little reading, and read alone."""

import datetime as dt
import gc
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery
from django.db import connections, router
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django_celery_beat.models import (
    ClockedSchedule,
    CrontabSchedule,
    IntervalSchedule,
    PeriodicTask,
    PeriodicTasks,
    SolarSchedule,
)

from cutover import clock
from cutover.beats.agenda import Agenda
from cutover.beats.candidate import Candidate
from cutover.beats.dispatcher import Sent
from cutover.beats.pruning import Pruning
from cutover.beats.resend import Resend
from cutover.beats.schedule import Schedule
from cutover.beats.shadow import Shadow
from cutover.beats.sources import Change, Loaded, rows, watch
from cutover.beats.sources.rows import RowSource
from cutover.beats.sources.shown import digest_of_rows
from cutover.clock import Clock
from cutover.election.elector import News
from cutover.ledger import Ledger
from cutover.models import Fence, ImportedEntry
from cutover.schedules.rows import record, values_of
from cutover.types import HolderId, Side
from tests.support.rooms import in_threads

pytestmark = [pytest.mark.integration, pytest.mark.mariadb]

NOW = dt.datetime(2026, 5, 5, 12, tzinfo=dt.UTC)


class At:
    """A router that has django-celery-beat's tables in one database."""

    def __init__(self, alias: str) -> None:
        self._alias = alias

    def db_for_read(self, model: Any, **_: Any) -> str | None:
        return self._alias if model._meta.app_label == "django_celery_beat" else None

    db_for_write = db_for_read


@pytest.fixture
def tick(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Passes time, as the watch has it."""
    at = [1_000.0]
    monkeypatch.setattr(clock, "monotonic_s", lambda: at[0])

    def passes(seconds: float) -> None:
        at[0] += seconds

    return passes


def fill() -> None:
    """Two rows on a schedule of each kind, and one that is disabled; nothing else."""
    for model in (PeriodicTask, CrontabSchedule, IntervalSchedule, SolarSchedule, ClockedSchedule):
        model.objects.all().delete()
    schedules = {
        "crontab": CrontabSchedule.objects.create(minute="5"),
        "interval": IntervalSchedule.objects.create(every=60, period="seconds"),
        "solar": SolarSchedule.objects.create(event="sunset", latitude="51.500000", longitude="0.100000"),
        "clocked": ClockedSchedule.objects.create(clocked_time=timezone.now() + dt.timedelta(days=1)),
    }
    for kind, schedule in schedules.items():
        of_kind = {kind: schedule, "one_off": kind == "clocked"}
        PeriodicTask.objects.create(name=kind, task="a.task", queue="q", **of_kind)
        PeriodicTask.objects.create(name=f"{kind} too", task="a.task", **of_kind)
    PeriodicTask.objects.create(name="off", task="a.task", interval=schedules["interval"], enabled=False)
    PeriodicTasks.update_changed()


@pytest.fixture
def source(
    ledger: Ledger, alias: str, tick: Callable[[float], None], monkeypatch: pytest.MonkeyPatch, settings: Any
) -> Iterator[RowSource]:
    """The rows of that database, a few on each kind of schedule, as a beat has read them."""
    monkeypatch.setattr(router, "routers", [At(alias)])
    settings.CUTOVER = {**settings.CUTOVER, "DATABASE": alias}
    fill()
    app = Celery("of-rows", set_as_current=False)
    made = RowSource(app, ledger)
    assert len(loaded(made).entries) == 8
    yield made
    app.close()


def loaded(source: RowSource) -> Loaded:
    found = source.load()
    assert found is not None
    return found


def change(source: RowSource) -> Change:
    """What differs, as it was given; what is kept is the whole."""
    found = loaded(source)
    assert found.change is not None
    assert source.schedule == {name: each.entry for name, each in found.entries.items()}
    return found.change


def sql(alias: str, statement: str) -> None:
    with connections[alias].cursor() as cursor:
        cursor.execute(statement)


TASKS, CRONTABS = "django_celery_beat_periodictask", "django_celery_beat_crontabschedule"
named = PeriodicTask.objects.filter
EDITS: dict[str, tuple[Callable[[str], object], set[str], set[str]]] = {
    "a column": (lambda _: named(name="crontab").update(queue="r"), {"crontab"}, set()),
    "none for empty": (lambda _: named(name="crontab too").update(queue=""), {"crontab too"}, set()),
    "from one column to the next": (
        lambda _: named(name="crontab").update(queue=None, exchange="q"),
        {"crontab"},
        set(),
    ),
    "a letter of two rows alike": (
        lambda _: named(name__startswith="solar").update(one_off=True),
        {"solar", "solar too"},
        set(),
    ),
    "enabled": (lambda _: named(name="off").update(enabled=True), {"off"}, set()),
    "disabled": (lambda _: named(name="solar").update(enabled=False), set(), {"solar"}),
    "one for another": (
        lambda _: (named(name="off").update(enabled=True), named(name="solar").update(enabled=False)),
        {"off"},
        {"solar"},
    ),
    "renamed": (lambda _: named(name="solar").update(name="moon"), {"moon"}, {"solar"}),
    "deleted": (lambda _: named(name="solar").delete(), set(), {"solar"}),
    "deleted past Django": (lambda alias: sql(alias, f"DELETE FROM {TASKS} WHERE name = 'solar'"), set(), {"solar"}),
    "made in bulk": (
        lambda _: PeriodicTask.objects.bulk_create(
            [PeriodicTask(name=f"b{n}", task="t", interval=IntervalSchedule.objects.get()) for n in (1, 2)]
        ),
        {"b1", "b2"},
        set(),
    ),
    "past Django": (
        lambda alias: sql(alias, f"UPDATE {TASKS} SET args = '[1]' WHERE name = 'clocked'"),
        {"clocked"},
        set(),
    ),
    "another schedule": (
        lambda _: named(name="crontab").update(crontab=None, interval=IntervalSchedule.objects.get()),
        {"crontab"},
        set(),
    ),
    "made unreadable": (lambda _: named(name="crontab").update(crontab=None), set(), {"crontab"}),
    "a crontab": (lambda _: CrontabSchedule.objects.update(hour="7"), {"crontab", "crontab too"}, set()),
    "a crontab past Django": (
        lambda alias: sql(alias, f"UPDATE {CRONTABS} SET minute = '6'"),
        {"crontab", "crontab too"},
        set(),
    ),
    "a crontab unreadable": (lambda _: CrontabSchedule.objects.update(hour="99"), set(), {"crontab", "crontab too"}),
    "an interval": (lambda _: IntervalSchedule.objects.update(every=7), {"interval", "interval too"}, set()),
    "a solar": (lambda _: SolarSchedule.objects.update(latitude="1.000000"), {"solar", "solar too"}, set()),
    "a clocked": (
        lambda _: ClockedSchedule.objects.update(clocked_time=timezone.now()),
        {"clocked", "clocked too"},
        set(),
    ),
}


@pytest.mark.parametrize("by", [lambda edit: edit(), in_threads], ids=["the beat's connection", "another"])
def test_what_goes_past_save_is_noticed_within_four_seconds_and_nothing_else_is_given(source, alias, tick, by):
    for edit, (make, changed, gone) in EDITS.items():
        fill()
        loaded(source)
        tick(4)
        assert source.load() is None
        by(partial(make, alias))
        tick(4)
        found = change(source)
        assert (set(found.changed), set(found.gone), found.is_last) == (changed, gone, True), edit
        tick(4)
        assert source.load() is None, edit


def test_an_announced_edit_is_noticed_at_the_next_poll_with_its_version(source, tick):
    tick(2)
    named(name="solar").get().save()
    tick(0.1)
    found = loaded(source)
    assert found.version == PeriodicTasks.last_change().isoformat()
    assert found.change == Change({"solar": found.entries["solar"]}, set())


def test_an_announcement_without_an_edit_has_nothing_but_its_version(source, tick):
    before = source.schedule["solar"]
    PeriodicTasks.update_changed()
    found = loaded(source)
    assert (found.version, found.change) == (PeriodicTasks.last_change().isoformat(), Change({}, set()))
    assert source.schedule["solar"] is before


def test_a_row_that_was_unreadable_comes_back_once_its_schedule_is_right(source, tick):
    CrontabSchedule.objects.update(minute="99")
    tick(4)
    assert set(change(source).gone) == {"crontab", "crontab too"}
    CrontabSchedule.objects.update(minute="9")
    tick(4)
    assert set(change(source).changed) == {"crontab", "crontab too"}


def test_a_row_that_this_beat_has_disabled_and_somebody_enables_at_once_is_given_again(source, tick):
    ClockedSchedule.objects.update(clocked_time=timezone.now())
    tick(4)
    change(source)
    source.end(["clocked"])
    assert not named(name="clocked").get().enabled
    named(name="clocked").update(enabled=True)
    tick(2)
    assert set(change(source).changed) == {"clocked"}


def test_another_overlay_is_taken_over_with_the_next_change(source, alias, tick):
    row = record(values_of(named(name="interval").get()))
    ImportedEntry.objects.using(alias).create(
        name="interval", fingerprint="every 60s", created=True, options={"time_limit": 9}, row=row
    )
    PeriodicTasks.update_changed()
    assert loaded(source).change is None
    assert source.schedule["interval"].options["time_limit"] == 9


def many(source: RowSource, tick: Callable[[float], None], count: int) -> None:
    interval = IntervalSchedule.objects.get()
    PeriodicTask.objects.bulk_create([PeriodicTask(name=f"m{n}", task="t", interval=interval) for n in range(count)])
    tick(4)
    assert len(change(source).changed) == count


def test_one_edit_among_many_makes_one_entry_anew_and_reads_its_block_alone(source, alias, tick, monkeypatch):
    many(source, tick, 700)
    made: list[list[str]] = []
    build = rows.entries
    monkeypatch.setattr(
        rows, "entries", lambda app, found, *rest: made.append([r.name for r in found]) or build(app, found, *rest)
    )
    read: list[int] = []
    with_schedules = rows.with_schedules
    monkeypatch.setattr(rows, "with_schedules", lambda q: read.append(len(q)) or with_schedules(q))
    before = dict(source.schedule)
    named(name="m300").update(queue="r")
    tick(4)
    assert set(change(source).changed) == {"m300"}
    assert made == [["m300"]]
    assert len(read) == 1 and read[0] <= 256
    assert {name for name, entry in source.schedule.items() if entry is not before[name]} == {"m300"}


def test_where_all_rows_have_changed_they_come_in_pieces_the_version_last(source, tick, monkeypatch):
    monkeypatch.setattr(rows, "PIECE", 1)
    many_of = 600
    interval = IntervalSchedule.objects.get()
    PeriodicTask.objects.bulk_create([PeriodicTask(name=f"m{n}", task="t", interval=interval) for n in range(many_of)])
    PeriodicTasks.update_changed()
    version, found, seen = PeriodicTasks.last_change().isoformat(), loaded(source), set()
    while not found.change.is_last:
        assert found.version != version
        seen |= set(found.change.changed)
        found = loaded(source)
    assert found.version == version
    assert seen | set(found.change.changed) == {f"m{n}" for n in range(many_of)}
    assert len(found.entries) == many_of + 8
    assert source.load() is None


def test_of_very_many_rows_a_part_is_looked_at_at_a_time_and_all_have_their_turn(source, tick, monkeypatch):
    monkeypatch.setattr(watch, "ROWS_A_LOOK", 400)
    many(source, tick, 1_000)
    tick(4)
    assert source.load() is None
    names = [f"m{n}" for n in (1, 300, 600, 900)]
    named(name__in=names).update(queue="r")
    noticed: set[str] = set()
    for _ in range(3):
        tick(4)
        if (found := source.load()) is not None:
            assert found.change is not None
            noticed |= set(found.change.changed)
    assert noticed == set(names)


on_sqlite = pytest.mark.parametrize("alias", ["default"], indirect=True)


@on_sqlite
@pytest.mark.django_db(transaction=True)
def test_keys_that_are_far_apart_up_to_the_last_there_can_be_are_watched_alike(source, alias, tick, monkeypatch):
    """SQLite finds the blocks one after the other."""
    many(source, tick, 6)
    monkeypatch.setattr(watch, "ROWS_A_LOOK", 5)
    keys = [1_000_000, 1_000_255, 1_000_256, 70_000_000, 2**63 - 256, 2**63 - 1]
    for n, key in enumerate(keys):  # by an update, after which the next row's key is no larger than before
        sql(alias, f"UPDATE {TASKS} SET id = {key}, name = 'k{key}' WHERE name = 'm{n}'")
    PeriodicTasks.update_changed()
    assert set(change(source).changed) == {f"k{key}" for key in keys}
    for edit in ({"queue": "r"}, {"enabled": False}, {"enabled": True}):
        for key in keys:
            named(pk=key).update(**edit)
            noticed: set[str] = set()
            for _ in range(4):
                tick(4)
                if (found := source.load()) is not None:
                    assert found.change is not None
                    noticed |= {*found.change.changed, *found.change.gone}
            assert noticed == {f"k{key}"}, edit


@on_sqlite
@pytest.mark.django_db(transaction=True)
def test_sqlite_sorts_no_rows_to_tell_which_have_changed(source, alias, tick):
    """With all their columns: that takes a third as long again, in each beat, whenever anybody has written anything."""
    named(name="solar").update(queue="r")
    tick(4)
    with CaptureQueriesContext(connections[alias]) as asked:
        change(source)
    plans = []
    with connections[alias].cursor() as cursor:
        for query in asked.captured_queries:
            if "JSON_ARRAY" in query["sql"]:
                cursor.execute(f"EXPLAIN QUERY PLAN {query['sql']}")
                plans.append(str(cursor.fetchall()))
    assert plans
    assert not [plan for plan in plans if "TEMP B-TREE" in plan]


class Electing:
    """An elector whose candidate leads, or does not."""

    def __init__(self, is_leading: bool) -> None:
        self.is_leading = is_leading

    def heartbeat(self) -> None: ...

    def campaign(self) -> None: ...

    def describe(self, _: object) -> None: ...

    def wait(self, timeout_s: float) -> frozenset[News]:
        return frozenset()


@pytest.mark.parametrize("is_leading", [True, False])
def test_an_idle_beat_makes_one_statement_a_second_at_most(
    source, ledger, alias, tick, identity, is_leading, monkeypatch
):
    """A poll with all that it asks, a look at every other one, and a leader's sign of life; no pass over entries."""
    PeriodicTask.objects.filter(clocked__isnull=False).delete()  # nothing falls due
    Fence.objects.using(alias).update(side="database")
    resend = Resend(ledger, SimpleNamespace(), dt.timedelta(minutes=5))
    dispatcher = SimpleNamespace(sweep_first=lambda: None, sweep_in_s=lambda: None, may_claim=True)
    dispatcher.send = lambda *_: Sent()
    time = Clock(clock.now, clock.monotonic_s, lambda s: None, lambda: 1.0)
    source._seen = None  # the beat reads it itself
    schedule = Schedule(Side.DATABASE, source, ledger)
    shadow = Shadow(alias, HolderId("me"), dict)
    beat = Candidate(
        identity(),
        Side.DATABASE,
        Electing(is_leading),
        ledger,
        dispatcher,
        schedule,
        [Pruning(ledger), resend],
        shadow,
        time,
    )
    for _ in range(4):  # it is elected, settles, declares and begins to follow
        beat.turn()
        tick(2.01)
    statements: list[str] = []

    def note(execute: Any, sql: str, *rest: Any) -> Any:
        statements.append(sql)
        return execute(sql, *rest)

    def passes(_: Agenda) -> Any:
        pytest.fail("all entries were gone through, and nothing has changed")

    monkeypatch.setattr(Agenda, "scheduled", property(passes))
    monkeypatch.setattr(Agenda, "last_slots", property(passes))
    polls = 60
    with connections[alias].execute_wrapper(note):
        for _ in range(polls):
            beat.turn()
            tick(2.01)
    assert polls <= len(statements) <= 2 * polls, statements[:8]


def test_a_new_leader_looks_through_no_rows_for_those_that_are_sent_once(source, alias, monkeypatch):
    """Its first message waits for that, and there may be ten thousand."""

    class Unread(dict[str, Any]):
        def values(self) -> Any:
            pytest.fail("all entries were gone through")

    once = PeriodicTask.objects.filter(one_off=True)
    source.schedule = Unread(source.schedule)
    with CaptureQueriesContext(connections[alias]) as asked:
        source.recover()
    assert asked.captured_queries, "there are some that are sent once"
    once.update(one_off=False)
    PeriodicTasks.update_changed()
    change(source)
    with CaptureQueriesContext(connections[alias]) as asked:
        assert not source.recover()
    assert not asked.captured_queries


class Replicated(At):
    """A router that has what is read asked of a replica, which is not even there."""

    def db_for_read(self, model: Any, **_: Any) -> str | None:
        return "replica"

    db_for_write = At.db_for_read


def test_no_replica_is_asked_that_a_router_reads_from(source, alias, monkeypatch):
    """It is behind: what was just disabled would be sent from it."""
    monkeypatch.setattr(router, "routers", [Replicated(alias)])
    read = RowSource(source._app, source._ledger).load()
    assert read is not None
    assert len(read.entries) == 8
    rows = PeriodicTask.objects.using(alias)
    rows.filter(name="clocked").update(total_run_count=1, date_changed=timezone.now() - dt.timedelta(days=1))
    IntervalSchedule.objects.using(alias).update(every=50)
    rows.filter(name="crontab").update(enabled=False)
    PeriodicTasks.objects.using(alias).update(last_update=timezone.now() + dt.timedelta(seconds=1))
    found = change(source)
    assert (set(found.changed), set(found.gone)) == ({"interval", "interval too", "clocked"}, {"crontab"})
    two = [found.changed[name].entry for name in ("interval", "interval too")]
    assert source.published(two[:1], [(two[1], timezone.now())]) == []
    assert source.recover() == ["clocked"]
    assert digest_of_rows()


def test_what_is_replaced_is_freed_without_a_collection(source: RowSource, tick: Callable[[float], None]) -> None:
    """Entries are kept from the garbage collector for as long as the beat lives: in a circle they would stay."""
    agenda, seen = Agenda(), source._seen
    assert seen is not None
    agenda.load(seen.entries, NOW)
    before = [weakref.ref(thing) for entry in source.schedule.values() for thing in (entry, entry.model)]
    del seen
    PeriodicTask.objects.update(task="another.task")
    tick(60)
    gc.disable()
    try:
        found = change(source)
        agenda.change(found.changed, found.gone, NOW)
        assert len(found.changed) == len(before) / 2
        assert [ref() for ref in before] == [None] * len(before)
    finally:
        gc.enable()
