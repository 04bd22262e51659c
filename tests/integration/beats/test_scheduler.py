"""Both schedulers as beat runs them: real processes, and a real thread where the rows are what is asked about."""

import datetime as dt
import json
import shelve
import signal
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

import pytest
import redis
from celery import Celery
from celery.beat import PersistentScheduler
from celery.schedules import crontab
from django.db import connections, transaction
from django_celery_beat.models import ClockedSchedule, CrontabSchedule, IntervalSchedule, PeriodicTask, PeriodicTasks
from pytest_django import Settings

from cutover import clock
from cutover.beats import schedule_file
from cutover.beats.item import MISFIRE_GRACE
from cutover.beats.schedule import Schedule
from cutover.beats.sources.rows import RowSource
from cutover.election.elector import News
from cutover.election.lease import Lease
from cutover.ledger import Ledger
from cutover.models import Cutover, Entry, Fence, Slot
from cutover.schedulers import CodeScheduler, DatabaseScheduler
from cutover.schedules.fingerprint import fingerprint
from cutover.types import CatchUp, EntryName, HolderId, Identity, Side
from cutover.types import Slot as SlotId
from demo.census import read_runs
from demo.processes import Process
from demo.services import HOST, Valkey, free_port
from demo.waiting import wait_until
from prayer_room_api.celery import app as celery_app
from tests.support.rooms import give_time, timed, wait_for_rest
from tests.support.site import Site

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("nothing_left")]

SECOND = dt.timedelta(seconds=1)
HOUR = dt.timedelta(hours=1)
DAY = dt.timedelta(days=1)
LEASE, BEATS = "{cutover:cutover}:lease", "{cutover:cutover}:beats"
SCHEDULERS = {Side.CODE: "cutover.schedulers:CodeScheduler", Side.DATABASE: "cutover.schedulers:DatabaseScheduler"}


# --- processes --------------------------------------------------------------------------------------------------------


@pytest.fixture
def ask(room: Site) -> Callable[[str], list[tuple[Any, ...]]]:
    """Ask the site's database, from outside."""

    def ask(statement: str) -> list[tuple[Any, ...]]:
        path = room.env["DATABASE_URL"].removeprefix("sqlite:///")
        with closing(sqlite3.connect(path, timeout=20)) as connection:
            found = connection.execute(statement).fetchall()
            connection.commit()
        return found

    return ask


@pytest.fixture
def beat(room: Site) -> Callable[..., Process]:
    """Starts ``celery beat`` with one of the schedulers, the old way."""

    def start(side: Side = Side.CODE, **env: str) -> Process:
        return room.start("beat", f"celery -A prayer_room_api beat -l INFO -S {SCHEDULERS[side]}", **env)

    return start


def leads(client: redis.Redis, process: Process) -> bool:
    holder = client.hget(LEASE, "holder")
    return holder is not None and f":{process.pid}:" in holder


def ticks(ask: Callable[[str], list[tuple[Any, ...]]]) -> int:
    return len(ask("SELECT 1 FROM cutover_term WHERE first_tick_at IS NOT NULL"))


@pytest.mark.parametrize("side", list(Side))
def test_a_terminated_beat_exits_with_zero_and_leaves_nothing(room, beat, ask, redis_client, side):
    ask(f"UPDATE cutover_fence SET side = '{side}'")
    process = beat(side)
    wait_until(lambda: ticks(ask) == 1, "it leads")
    assert process.stop(timeout_s=5) == 0, process.output
    assert redis_client.exists(LEASE, BEATS) == 0
    assert ask("SELECT side, end_reason FROM cutover_term") == [(side, "stopped")]
    assert "Traceback" not in process.output


@pytest.mark.parametrize("side", list(Side))
def test_a_beat_of_the_side_that_is_not_active_stands_by_and_exits_with_zero(room, beat, ask, redis_client, side):
    ask(f"UPDATE cutover_fence SET side = '{side.other}'")
    process = beat(side)
    wait_until(lambda: "cutover.standby.started" in process.output, "it stands by")
    assert f"the active side is {side.other}" in process.output
    assert process.stop(timeout_s=5) == 0, process.output
    assert ask("SELECT 1 FROM cutover_term UNION SELECT 1 FROM cutover_slot") == []
    assert redis_client.exists(LEASE, BEATS) == 0


def test_a_beat_that_loses_the_lease_stands_by_and_leads_again_later(room, beat, ask, redis_client):
    process = beat()
    wait_until(lambda: ticks(ask) == 1, "it leads")
    lease = Lease(redis_client, "cutover", 30 * SECOND)
    usurper = Identity(HolderId("usurper"), "h", 1, "")
    redis_client.delete(LEASE)
    assert lease.acquire(usurper, Side.CODE, int(redis_client.client_id())) is None
    wait_until(lambda: "cutover.lease.lost" in process.output, "it has noticed")
    wait_until(lambda: ask("SELECT ended_at FROM cutover_term")[0][0], "its term has ended")
    assert process.exit_code is None
    lease.release(usurper.holder)
    wait_until(lambda: ticks(ask) == 2, "it leads again")
    assert process.stop(timeout_s=5) == 0, process.output


def test_two_beats_that_share_one_schedule_file_send_every_slot_once_and_spoil_nothing(room, beat, ask, redis_client):
    file = room.env["CELERY_BEAT_SCHEDULE_FILENAME"]
    with room.monitor() as monitor:
        processes = [beat(), beat()]
        wait_until(lambda: redis_client.hlen(BEATS) == 2 and ticks(ask), "both are there")
        wait_until(lambda: len(monitor.published) >= 10, "they send")
        first = next(process for process in processes if leads(redis_client, process))
        (other,) = [process for process in processes if process is not first]
        assert first.stop(timeout_s=5) == 0, first.output
        wait_until(lambda: leads(redis_client, other), "the other one leads")
        assert schedule_file.read(file), "the file was written when the first one stopped"
        seen = len(monitor.published)
        wait_until(lambda: len(monitor.published) >= seen + 10, "the other one sends")
        assert other.stop(timeout_s=5) == 0, other.output
    slots = Counter(message.slot for message in monitor.published)
    assert {slot for slot, count in slots.items() if count > 1} == set()
    assert ask("SELECT COUNT(*) FROM cutover_slot WHERE state <> 'published'") == [(0,)]
    for process in processes:
        assert "Traceback" not in process.output


def test_a_code_beat_goes_on_from_the_last_runs_of_the_stock_one(room, beat, ask):
    last = clock.now() - 2.5 * SECOND
    old = PersistentScheduler(celery_app, schedule_filename=room.env["CELERY_BEAT_SCHEDULE_FILENAME"], lazy=True)
    old.setup_schedule()
    entries = {"every-second-a": SECOND, "every-two-seconds-a": 2 * SECOND}
    for name, every in entries.items():
        old.add(name=name, task="demo.tasks.note", schedule=every, last_run_at=last)
    old.close()
    process = beat()
    wait_until(lambda: len(ask("SELECT DISTINCT entry FROM cutover_slot")) >= 6, "it sends")
    for name, every in entries.items():
        found = ask(f"SELECT due_at FROM cutover_slot WHERE entry = '{name}' ORDER BY due_at")
        first = dt.datetime.fromisoformat(found[0][0]).replace(tzinfo=dt.UTC)
        assert first == last + every, "the cadence keeps its phase, and what was owed is accounted for"
    assert process.stop(timeout_s=5) == 0, process.output


def put_daily_slot(ask: Callable[[str], list[tuple[Any, ...]]], due_at: dt.datetime) -> None:
    """As another beat of ours that sent the daily entry."""
    columns = (
        "entry, due_at, epoch, side, state, task_id, claimed_at, run_by, deduplicated, resent, passed_over, reason"
    )
    at = f"{due_at:%Y-%m-%d %H:%M:%S}"
    values = f"'user-digest-daily', '{at}', 1, 'code', 'published', '{'0' * 32}', '{at}', '', 0, 0, 0, ''"
    ask(f"INSERT INTO cutover_slot ({columns}) VALUES ({values})")


def put_daily_run(room: Site, at: dt.datetime, runs: int) -> None:
    """As a stock beat that sent the daily entry: it says so in the schedule file alone."""
    with shelve.open(room.env["CELERY_BEAT_SCHEDULE_FILENAME"]) as store:
        entries = store["entries"]
        entries["user-digest-daily"].last_run_at, entries["user-digest-daily"].total_run_count = at, runs
        store["entries"] = entries


def test_a_stopped_code_beat_leaves_a_file_that_tells_of_slots_that_another_one_sent(room, beat, ask, redis_client):
    file = room.env["CELERY_BEAT_SCHEDULE_FILENAME"]
    first = beat()
    wait_until(lambda: ticks(ask) == 1, "the first leads")
    second = beat()
    wait_until(lambda: redis_client.hlen(BEATS) == 2, "the second stands by")
    # A daily entry that the first one sends while the second stands by.
    sent = clock.now() + DAY / 2
    put_daily_slot(ask, sent)
    assert first.stop(timeout_s=5) == 0, first.output
    wait_until(lambda: ticks(ask) == 2, "the second leads")
    wait_until(lambda: len(ask("SELECT 1 FROM cutover_slot WHERE epoch = 2")) >= 3, "the second sends")
    assert second.stop(timeout_s=5) == 0, second.output
    assert schedule_file.read(file)["user-digest-daily"].at >= sent.replace(microsecond=0)


def test_the_stock_beat_takes_the_file_over_as_its_own(room, beat, ask):
    ours = beat()
    wait_until(lambda: ask("SELECT 1 FROM cutover_slot WHERE entry = 'every-second-a'"), "ours sends")
    assert ours.stop(timeout_s=5) == 0, ours.output
    last = schedule_file.read(room.env["CELERY_BEAT_SCHEDULE_FILENAME"])["every-second-a"].at
    stock = PersistentScheduler(celery_app, schedule_filename=room.env["CELERY_BEAT_SCHEDULE_FILENAME"], lazy=True)
    stock._store = stock._open_schedule()
    entry = stock._store["entries"]["every-second-a"]
    assert (entry.last_run_at, entry.task, entry.args) == (last, "demo.tasks.note", ("every-second-a",))
    assert entry.total_run_count >= 1
    stock.close()


def test_a_run_of_a_stock_beat_between_two_of_ours_stays_in_the_file(room, beat, ask):
    """Else the stock beat that comes after ours would send it again."""
    first = beat()
    wait_until(lambda: ask("SELECT 1 FROM cutover_slot WHERE entry = 'every-second-a'"), "ours sends")
    assert first.stop(timeout_s=5) == 0, first.output
    put_daily_slot(ask, clock.now() - DAY)
    run_at = clock.now()
    put_daily_run(room, run_at, runs=1)
    second = beat()
    wait_until(lambda: ask("SELECT 1 FROM cutover_slot WHERE epoch = 2"), "ours sends again")
    assert second.stop(timeout_s=5) == 0, second.output
    assert schedule_file.read(room.env["CELERY_BEAT_SCHEDULE_FILENAME"])["user-digest-daily"].at == run_at


@pytest.mark.parametrize(("runs", "owed"), [(1, False), (0, True)], ids=["it has run", "it never ran"])
def test_what_a_stock_beat_has_run_between_two_of_ours_is_not_owed(room, beat, ask, runs, owed):
    """The way from release B back to A, and to B again."""
    first = beat()
    wait_until(lambda: ask("SELECT 1 FROM cutover_slot WHERE entry = 'every-second-a'"), "ours sends")
    assert first.stop(timeout_s=5) == 0, first.output
    two_days_ago = f"{clock.now() - 2 * DAY:%Y-%m-%d %H:%M:%S}"
    ask(f"UPDATE cutover_entry SET eligible_since = '{two_days_ago}' WHERE name LIKE '%daily'")
    put_daily_run(room, clock.now(), runs)
    second = beat()
    wait_until(lambda: ask("SELECT 1 FROM cutover_slot WHERE epoch = 2"), "ours sends again")
    assert second.stop(timeout_s=5) == 0, second.output
    assert bool(ask("SELECT 1 FROM cutover_slot WHERE entry = 'user-digest-daily'")) is owed


@pytest.mark.parametrize("side", list(Side))
def test_a_beat_within_a_worker_is_under_the_lease_and_ends_with_it(room, ask, redis_client, side):
    ask(f"UPDATE cutover_fence SET side = '{side}'")
    process = room.start("worker", f"celery -A prayer_room_api worker -B -l INFO -c 1 --scheduler={SCHEDULERS[side]}")
    wait_until(lambda: ticks(ask) == 1, "it leads")
    if side is Side.CODE:
        wait_until(lambda: len(read_runs(room.runs)) >= 5, "tasks have run")
        runs = Counter(run.slot for run in read_runs(room.runs))
        assert set(runs.values()) == {1}
    # Between two slots, and without its exit code: one that is ended while messages come in does not always end.
    wait_for_rest(process, rest_s=0.3)
    process.send(signal.SIGTERM)
    wait_until(lambda: redis_client.exists(LEASE, BEATS) == 0, "the beat within has given the lease back", timeout_s=5)
    assert ask("SELECT end_reason FROM cutover_term") == [("stopped",)]


def test_a_beat_without_a_database_stands_by_and_leads_once_there_is_one(room, beat, ask):
    ask("ALTER TABLE cutover_slot RENAME TO cutover_slot_away")
    process = beat()
    wait_until(lambda: "cutover.database.lost" in process.output, "it has noticed")
    assert "run `python manage.py migrate`" in process.output
    ask("ALTER TABLE cutover_slot_away RENAME TO cutover_slot")
    wait_until(lambda: ticks(ask) == 1, "it leads")
    assert process.stop(timeout_s=5) == 0, process.output
    assert "Traceback" not in process.output


# --- rows -------------------------------------------------------------------------------------------------------------


class Beat:
    """A real scheduler, ticking in a thread of its own until the ``with`` block ends."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="beat")
        self.failure: BaseException | None = None
        self.scheduler: Any = None

    def _run(self) -> None:
        try:
            self.scheduler = self._make()
            try:
                while not self._stop.is_set():
                    self.scheduler.tick()
            finally:
                self.scheduler.close()
        except BaseException as error:
            self.failure = error
        finally:
            connections.close_all()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        if self.scheduler is not None and self.scheduler._elector is not None:
            self.scheduler._elector.wake(News.SIGNAL)
        self._thread.join()
        if error is None:
            assert self.failure is None, self.failure


@pytest.fixture
def rows(transactional_db: None, valkey: Valkey) -> Iterator[None]:
    """A project whose database side is active, with no row yet: the host's migrations make some."""
    PeriodicTask.objects.all().delete()
    Fence.objects.update_or_create(id=1, defaults={"epoch": 0, "side": "database"})
    Cutover.objects.get_or_create(id=1)
    PeriodicTasks.objects.get_or_create(ident=1, defaults={"last_update": clock.now()})
    yield
    connections.close_all()


@pytest.fixture
def database_beat(rows: None) -> Iterator[Beat]:
    """A beat of the database side that leads."""
    with Beat(lambda: DatabaseScheduler(app=celery_app)) as beat:
        wait_until(lambda: beat.failure or Fence.objects.get().epoch == 1, "it leads")
        yield beat


def every(seconds: int = 1) -> IntervalSchedule:
    return IntervalSchedule.objects.get_or_create(every=seconds, period=IntervalSchedule.SECONDS)[0]


def row(name: str, **fields: Any) -> PeriodicTask:
    """Save a row, as the admin does."""
    fields.setdefault("interval", every())
    return PeriodicTask.objects.create(name=name, task="demo.tasks.note", args=json.dumps([name]), **fields)


def sent(name: str) -> list[dt.datetime]:
    """The slots of that entry that were published, the first one first."""
    return list(Slot.objects.filter(entry=name, state="published").order_by("due_at").values_list("due_at", flat=True))


def test_a_new_row_is_noticed_at_once_or_within_seconds(database_beat):
    row("a")
    assert timed(lambda: sent("a"), "its first slot was sent") < 6


def test_the_rows_are_left_as_they_are_and_no_entry_of_the_code_is_written(rows, settings):
    celery_app.conf.beat_schedule = {"a": {"task": "other", "schedule": crontab()}, "b": {"task": "b", "schedule": 1.0}}
    try:
        row("a", queue="special")
        before = list(PeriodicTask.objects.values())
        with Beat(lambda: DatabaseScheduler(app=celery_app)):
            wait_until(lambda: Fence.objects.get().epoch == 1, "it leads")
        kept = ("name", "task", "args", "queue", "interval_id", "crontab_id", "enabled", "headers")
        assert [{k: r[k] for k in kept} for r in PeriodicTask.objects.values()] == [
            {k: r[k] for k in kept} for r in before
        ]
    finally:
        celery_app.conf.beat_schedule = {}


def test_a_change_that_goes_past_save_is_noticed_within_five_seconds(database_beat):
    row("a", enabled=False)
    give_time(2.5, "the beat has looked", unless=lambda: sent("a"))
    assert sent("a") == []
    PeriodicTask.objects.filter(name="a").update(enabled=True)
    assert timed(lambda: sent("a"), "it is sent") < 5 + 1
    PeriodicTask.objects.filter(name="a").update(enabled=False)
    give_time(5, "the beat has looked")
    seen = len(sent("a"))
    give_time(1.5, "one more would have been sent")
    assert len(sent("a")) == seen


@pytest.mark.figures
def test_an_announced_change_is_noticed_at_once(database_beat, redis_client):
    row("a", interval=every(3600))
    wait_until(lambda: database_beat.scheduler.schedule, "it is loaded")
    PeriodicTask.objects.filter(name="a").update(queue="other")
    PeriodicTasks.update_changed()
    version = PeriodicTasks.last_change().isoformat()
    lease = Lease(redis_client, "cutover", 15 * SECOND)
    lease.announce_schedule()
    assert timed(lambda: [beat.schedule_version for beat in lease.beats()] == [version], "it is loaded") < 1


def test_crontabs_of_every_hour_are_loaded_and_the_next_slot_is_right(database_beat):
    for hour in range(24):
        row(f"at-{hour}", interval=None, crontab=CrontabSchedule.objects.create(minute=0, hour=hour))
    wait_until(lambda: len(database_beat.scheduler.schedule) == 24, "all are loaded")


def test_a_slot_that_fell_due_hours_ago_is_caught_up_whatever_its_hour(rows):
    now = clock.now()
    past = now.replace(minute=0, second=0, microsecond=0) - 5 * HOUR
    row("daily", interval=None, crontab=CrontabSchedule.objects.create(minute=0, hour=past.hour))
    with Beat(lambda: DatabaseScheduler(app=celery_app)):
        wait_until(lambda: Fence.objects.get().epoch == 1 and len(Slot.objects.all()) == 0, "it knows the entry")
        wait_until(lambda: Entry.objects.filter(name="daily").exists(), "it is on the books")
    Entry.objects.update(eligible_since=now - 20 * HOUR)  # it was there all the time, and nobody led
    with Beat(lambda: DatabaseScheduler(app=celery_app)):
        wait_until(lambda: sent("daily"), "it was sent")
    assert sent("daily") == [past]


def test_a_long_ledger_is_forgotten_in_portions_one_soon_after_the_other(rows, monkeypatch):
    monkeypatch.setattr("cutover.beats.pruning.EVERY", 5 * SECOND)
    monkeypatch.setattr("cutover.beats.pruning.MOST", 2)
    monkeypatch.setattr("cutover.beats.pruning.GO_ON_AFTER", dt.timedelta(0))
    old = clock.now() - 900 * HOUR
    Slot.objects.bulk_create(
        Slot(entry="gone", due_at=old + n * HOUR, epoch=1, side="code", state="missed", task_id=uuid4(), claimed_at=old)
        for n in range(7)
    )
    with Beat(lambda: DatabaseScheduler(app=celery_app)):
        wait_until(lambda: Slot.objects.count() == 1, "all but the latest are forgotten", 18)


def test_a_one_off_row_is_sent_once_and_disabled(database_beat):
    row("once", one_off=True)
    wait_until(lambda: sent("once"), "it was sent")
    wait_until(lambda: not PeriodicTask.objects.get(name="once").enabled, "it is disabled")
    give_time(1.5, "one more would have been sent")
    assert len(sent("once")) == 1


@pytest.mark.parametrize(("ago", "more"), [(0 * SECOND, 0), (HOUR, 1)], ids=["since it was enabled", "before that"])
def test_a_one_off_row_whose_beat_was_killed_right_after_it_was_sent_is_not_sent_again(rows, ago, more):
    row("once", one_off=True)
    sent_at = clock.now() - ago
    Slot.objects.create(
        entry="once", due_at=sent_at, epoch=0, side="database", state="published", task_id="0" * 32, claimed_at=sent_at
    )
    with Beat(lambda: DatabaseScheduler(app=celery_app)) as beat:
        wait_until(lambda: beat.failure or not PeriodicTask.objects.get(name="once").enabled, "it is disabled")
        give_time(1.5, "one more would have been sent")
    assert Slot.objects.filter(entry="once", epoch__gt=0).count() == more


def test_a_one_off_row_that_is_enabled_again_by_the_admins_action_is_sent_again(rows):
    """That action says nothing of when the row was changed."""
    row("once", one_off=True)
    with Beat(lambda: DatabaseScheduler(app=celery_app)):
        wait_until(lambda: not PeriodicTask.objects.get(name="once").enabled, "it was sent")
    sent_before = len(sent("once"))
    PeriodicTask.objects.filter(name="once").update(enabled=True)
    PeriodicTasks.update_changed()
    with Beat(lambda: DatabaseScheduler(app=celery_app)):
        wait_until(lambda: not PeriodicTask.objects.get(name="once").enabled, "it was sent once more")
    assert len(sent("once")) == sent_before + 1


def test_a_clocked_row_is_sent_at_its_time(database_beat):
    at = clock.now().replace(microsecond=0) + 3 * SECOND
    row("clocked", interval=None, clocked=ClockedSchedule.objects.create(clocked_time=at), one_off=True)
    wait_until(lambda: sent("clocked"), "it was sent")
    assert clock.now() >= at
    assert sent("clocked") == [at]


def test_a_clocked_row_that_is_due_before_it_is_noticed_is_sent_all_the_same(database_beat):
    for number in range(4):
        at = clock.now() + 0.3 * SECOND
        row(f"soon-{number}", interval=None, clocked=ClockedSchedule.objects.create(clocked_time=at), one_off=True)
        give_time(0.7, "the beat looks at another moment of its two seconds")
    wait_until(lambda: all(sent(f"soon-{number}") for number in range(4)), "each was sent")


def clocked_at(at: dt.datetime, name: str = "clocked", **fields: Any) -> PeriodicTask:
    """A clocked row; where it is enabled, by its form in the admin."""
    clocked = ClockedSchedule.objects.create(clocked_time=at)
    return row(name, interval=None, clocked=clocked, one_off=True, **fields)


def is_disabled(name: str) -> bool:
    return not PeriodicTask.objects.get(name=name).enabled


def test_a_clocked_row_whose_time_had_passed_when_it_was_saved_is_sent_and_then_disabled(database_beat):
    """As by the admin's own button Now."""
    at = clock.now() - SECOND
    clocked_at(at)
    wait_until(lambda: sent("clocked"), "it was sent")
    wait_until(lambda: is_disabled("clocked"), "it is disabled")
    assert sent("clocked") == [at]


def test_a_clocked_row_that_is_enabled_after_its_time_is_sent(database_beat):
    """By the admin's action too, which leaves no trace of when that was."""
    at = clock.now() + SECOND
    clocked_at(at, enabled=False)
    wait_until(lambda: clock.now() > at + 3 * SECOND, "its time has passed, and the beat has looked since")
    PeriodicTask.objects.filter(name="clocked").update(enabled=True)
    PeriodicTasks.update_changed()
    wait_until(lambda: sent("clocked") == [at], "it was sent")


def test_a_clocked_schedule_that_is_itself_moved_into_the_past_is_sent(database_beat):
    moved = clocked_at(clock.now() + HOUR)
    wait_until(lambda: Entry.objects.filter(name="clocked").exists(), "it is noticed")
    past = clock.now() - 30 * SECOND
    ClockedSchedule.objects.filter(pk=moved.clocked_id).update(clocked_time=past)
    PeriodicTasks.update_changed()
    wait_until(lambda: sent("clocked") == [past], "it was sent")


def test_a_clocked_row_that_is_committed_or_seen_after_its_time_is_sent(database_beat):
    give_time(4, "the beat has looked twice")
    at = clock.now() - 4 * SECOND
    with transaction.atomic():
        clocked_at(at)
        PeriodicTask.objects.filter(name="clocked").update(date_changed=at - SECOND)
    wait_until(lambda: sent("clocked") == [at], "it was sent")


def test_a_slot_that_fell_due_between_a_rows_save_and_its_being_seen_is_sent(database_beat):
    give_time(3, "the beat has looked since")
    with transaction.atomic():
        row("slow", interval=every(3600))
        saved_at = clock.now() - HOUR - 2 * SECOND  # longer ago than any transaction takes
        PeriodicTask.objects.filter(name="slow").update(date_changed=saved_at)
        row("late", interval=every(8))
        saved_at = clock.now() - 10 * SECOND
        PeriodicTask.objects.filter(name="late").update(date_changed=saved_at)
    wait_until(lambda: sent("late"), "it was sent")
    assert sent("late")[0] == saved_at + 8 * SECOND
    assert not sent("slow"), "it was enabled now, past its save"


def test_a_clocked_row_of_long_ago_is_recorded_as_missed_with_the_reason_and_disabled(database_beat):
    at = clock.now() - 13 * HOUR
    clocked_at(at)
    wait_until(lambda: is_disabled("clocked"), "it is disabled")
    assert [(s.due_at, s.state, s.reason) for s in Slot.objects.filter(entry="clocked")] == [
        (at, "missed", "older than the catch-up window")
    ]


def test_a_clocked_row_that_is_enabled_again_with_its_old_time_is_disabled_again_and_not_sent_twice(
    database_beat, caplog
):
    at = clock.now()
    clocked_at(at)
    wait_until(lambda: is_disabled("clocked"), "it was sent")
    PeriodicTask.objects.filter(name="clocked").update(enabled=True)
    PeriodicTasks.update_changed()
    wait_until(lambda: is_disabled("clocked"), "it is disabled again")
    assert sent("clocked") == [at]
    wait_until(lambda: "give it another time" in caplog.text, "it is said why")


def test_a_clocked_row_with_a_start_is_sent_at_that(database_beat):
    at, start = clock.now() - 5 * SECOND, clock.now() + 4 * SECOND
    clocked_at(at, start_time=start)
    wait_until(lambda: sent("clocked") == [at], "it was sent")
    assert clock.now() >= start


@pytest.mark.parametrize("ago_s", [1, 0.5, 0, -0.5, -1, -1.5])
def test_a_start_time_of_now_loses_no_first_run(database_beat, ago_s):
    start = clock.now() - ago_s * SECOND
    row("daily", interval=every(24 * 3600), start_time=start)
    wait_until(lambda: sent("daily"), "its first run was sent")
    assert sent("daily") == [start]


def test_rows_that_a_stock_scheduler_has_sent_until_now_go_on_from_there(rows):
    last = clock.now() - DAY + 4 * SECOND
    row("daily", interval=every(24 * 3600))
    row("weekly", interval=every(7 * 24 * 3600))
    row("finished", one_off=True, total_run_count=1)
    row("fresh", interval=every(24 * 3600))
    PeriodicTask.objects.filter(name__in=["daily", "finished"]).update(last_run_at=last)
    # Never sent so far, and due soon: as old as its interval is long, less a little.
    PeriodicTask.objects.filter(name="weekly").update(date_changed=last - 6 * DAY)
    with Beat(lambda: DatabaseScheduler(app=celery_app)) as beat:
        wait_until(lambda: beat.failure or (sent("daily") and sent("weekly")), "both were sent", 30)
    assert sent("daily") == [last + DAY]
    assert sent("weekly") == [last + DAY]
    assert is_disabled("finished")
    assert not Slot.objects.filter(entry__in=["finished", "fresh"]).exists()


def test_what_a_stock_scheduler_has_sent_between_two_of_ours_is_not_sent_again(rows):
    row("hourly", interval=every(3600))
    ours, theirs = clock.now() - 1.5 * HOUR, clock.now() - 0.4 * HOUR
    Slot.objects.create(
        entry="hourly", due_at=ours, epoch=0, side="database", state="published", task_id="0" * 32, claimed_at=ours
    )
    mark = fingerprint(PeriodicTask.objects.get(name="hourly").schedule)
    Entry.objects.create(name="hourly", fingerprint=mark, eligible_since=ours - DAY)
    PeriodicTask.objects.filter(name="hourly").update(last_run_at=theirs)
    row("a")
    with Beat(lambda: DatabaseScheduler(app=celery_app)) as beat:
        wait_until(lambda: beat.failure or len(sent("a")) > 2, "it leads")
    assert sent("hourly") == [ours]


def test_a_renamed_row_goes_on_from_its_last_run(database_beat):
    renamed = row("before", interval=every(5))
    wait_until(lambda: sent("before"), "it was sent")
    wait_until(lambda: PeriodicTask.objects.get(name="before").total_run_count, "and counted")
    renamed.refresh_from_db()
    last, renamed.name = renamed.last_run_at, "after"
    renamed.save()
    wait_until(lambda: sent("after"), "it is sent under its new name")
    assert sent("after")[0] - last == 5 * SECOND


def test_a_row_whose_end_has_come_is_disabled(database_beat):
    row("ended", interval=every(3600), expires=clock.now() + 3 * SECOND)
    row("past", expires=clock.now() - HOUR)
    row("a")
    wait_until(lambda: is_disabled("ended") and is_disabled("past"), "both are disabled")
    assert not is_disabled("a")


def test_what_a_row_sent_before_it_became_a_clocked_one_lies_before_what_it_is_owed(database_beat):
    changed = row("a")
    wait_until(lambda: len(sent("a")) > 1, "it was sent")
    changed.refresh_from_db()
    clocked = ClockedSchedule.objects.create(clocked_time=clock.now() + HOUR)
    changed.interval, changed.clocked, changed.one_off = None, clocked, True
    changed.save()
    wait_until(lambda: Entry.objects.get(name="a").fingerprint.startswith("clocked"), "it is noticed")
    assert max(sent("a")) <= Entry.objects.get(name="a").eligible_since


LIMITS = {
    "its end is put off": ({"expires": 3}, {"expires": 3600}),
    "its start is dropped": ({"start_time": 3600}, {"start_time": None}),
}


@pytest.mark.parametrize("limits", LIMITS.values(), ids=LIMITS)
def test_what_fell_due_outside_a_rows_limits_is_not_owed_once_they_are_moved(database_beat, limits):
    before, after = ({name: at and clock.now() + at * SECOND for name, at in each.items()} for each in limits)
    row("limited", **before)
    wait_until(lambda: Entry.objects.filter(name="limited").exists(), "it is noticed")
    give_time(5, "slots have fallen due outside")
    edited = PeriodicTask.objects.get(name="limited")
    edited.enabled = True  # once its end has come it is disabled, as under the stock scheduler
    for name, at in after.items():
        setattr(edited, name, at)
    edited_at = clock.now()
    edited.save()
    wait_until(lambda: sent("limited") and sent("limited")[-1] > edited_at, "it is sent")
    outside = before.get("expires", edited_at - 10 * SECOND)
    assert not Slot.objects.filter(entry="limited", due_at__gte=outside, due_at__lt=edited_at).exists()


def test_a_row_whose_queue_redis_refuses_stops_no_other(database_beat, redis_client):
    """A key that is no list, or one that the broker's user may not write: the broker has answered."""
    redis_client.hset("no-list", "a", "b")
    row("bad", queue="no-list")
    row("good")
    refused = Slot.objects.filter(entry="bad", reason__contains="WRONGTYPE")
    wait_until(refused.exists, "the bad one is claimed, and why noted")
    before = len(sent("good"))
    wait_until(lambda: len(sent("good")) >= before + 3, "the good one is sent all the while", 6)
    assert not sent("bad")


def test_nothing_is_sent_before_the_start_time_and_the_first_slot_is_the_start_time(database_beat):
    start = clock.now().replace(microsecond=0) + 6 * SECOND  # it is noticed within two, on a quiet machine
    row("later", start_time=start)
    wait_until(lambda: sent("later"), "it was sent")
    assert clock.now() >= start
    assert sent("later")[0] == start


def test_nothing_is_sent_once_a_row_has_expired(database_beat):
    end = clock.now() + 6.5 * SECOND  # it is noticed within two, and its first slot is one later
    row("short", expires=end)
    wait_until(lambda: clock.now() > end + 1.2 * SECOND, "it has expired")
    assert sent("short")
    assert max(sent("short")) < end
    assert max(Slot.objects.filter(entry="short").values_list("due_at", flat=True)) < end


def test_the_last_run_and_the_count_of_a_row_are_kept_true(database_beat):
    row("a")
    wait_until(lambda: len(sent("a")) >= 3, "three were sent")
    wait_until(lambda: PeriodicTask.objects.get(name="a").total_run_count >= 3, "they are counted")
    assert clock.now() - PeriodicTask.objects.get(name="a").last_run_at < 3 * SECOND


def test_a_row_that_is_disabled_while_it_is_sent_keeps_the_last_run_that_this_gave_it(rows):
    """As a rollback does: the beat that led a moment ago must not write over what was put back."""
    row("a")
    row("b")
    source = RowSource(celery_app, Ledger("default", "tests", 30 * DAY))
    loaded = source.load()
    assert loaded is not None
    PeriodicTask.objects.filter(name="a").update(enabled=False, last_run_at=None)
    source.published([loaded.entries[EntryName(name)].entry for name in ("a", "b")])
    assert PeriodicTask.objects.get(name="a").last_run_at is None
    assert PeriodicTask.objects.get(name="b").last_run_at is not None


def test_a_beat_that_is_started_in_the_middle_of_a_backlog_goes_on_with_it(rows, settings: Settings):
    """What was sent a moment ago is no sign that another beat has sent all that fell due until then."""
    settings.CUTOVER = {**settings.CUTOVER, "CATCH_UP": "all"}
    now = clock.now()
    hours = [now - hours * 3_600 * SECOND for hours in (3.5, 2.5, 1.5, 0.5)]
    hourly, _ = IntervalSchedule.objects.get_or_create(every=1, period="hours")
    row("a", interval=hourly, last_run_at=hours[0] - 3_600 * SECOND)
    PeriodicTask.objects.filter(name="a").update(date_changed=now - 30 * DAY)

    def start_and_send_one() -> None:
        ledger = Ledger("default", "cutover", 30 * DAY)
        term = ledger.fence.open_term(Identity(HolderId("h:1:a"), "h", 1, ""), Side.DATABASE)
        assert term is not None
        schedule = Schedule(Side.DATABASE, RowSource(celery_app, ledger), ledger)
        schedule.refresh()
        assert schedule.settle(term)
        due = list(schedule.agenda.due(clock.now(), MISFIRE_GRACE))
        left.append([each.owed.send for each in due])
        ledger.claims.claim(term, [SlotId(due[0].owed.send, due[0].name)])
        schedule.published([], [(due[0].entry, due[0].owed.send)])

    left: list[list[dt.datetime | None]] = []
    for _ in hours:
        start_and_send_one()
    assert left == [hours[begin:] for begin in range(4)]
    kept = PeriodicTask.objects.get(name="a")
    assert (kept.last_run_at, kept.total_run_count) == (hours[3], 4)


def test_a_row_that_is_sent_once_is_sent_once_whatever_has_fallen_due(rows, settings: Settings):
    settings.CUTOVER = {**settings.CUTOVER, "CATCH_UP": "all"}
    row("a", one_off=True)
    loaded = RowSource(celery_app, Ledger("default", "tests", 30 * DAY)).load()
    assert loaded is not None
    assert loaded.entries[EntryName("a")].rule.policy is CatchUp.LATEST


BROKEN: dict[str, dict[str, Any]] = {
    "args": {"args": "no json"},
    "kwargs": {"kwargs": "[1, 2"},
    "headers": {"headers": "no json"},
    "headers of the wrong kind": {"headers": "[1]"},
    "no schedule": {"interval": None},
}


def test_rows_that_make_no_sense_are_not_sent_and_stop_no_other(rows, redis_client):
    """Written past the model's own checks, as a migration or a person in SQL does."""
    for name, fields in BROKEN.items():
        row(name)
        PeriodicTask.objects.filter(name=name).update(**fields)
    for minute in ("sometimes", "99"):
        row(minute, interval=None, crontab=CrontabSchedule.objects.create())
        CrontabSchedule.objects.filter(periodictask__name=minute).update(minute=minute)
    row("good")
    with Beat(lambda: DatabaseScheduler(app=celery_app)) as beat:
        wait_until(lambda: beat.failure or len(sent("good")) >= 3, "the good one is sent")
    assert set(Slot.objects.filter(published_at__isnull=False).values_list("entry", flat=True)) == {"good"}
    # One whose schedule can be read keeps its slots: they are missed by name, not forgotten.
    readable = {"good", *BROKEN} - {"no schedule"}
    assert set(Slot.objects.values_list("entry", flat=True)) == readable
    assert not PeriodicTask.objects.filter(enabled=False).exists(), "no beat writes into the rows"


def test_two_schedulers_in_one_process_are_two_candidates(rows, redis_client, tmp_path):
    def make() -> DatabaseScheduler:
        return DatabaseScheduler(app=celery_app)

    with Beat(make), Beat(make):
        wait_until(lambda: redis_client.hlen(BEATS) == 2 and Fence.objects.get().epoch == 1, "one leads, one stands by")
    assert redis_client.keys("{cutover*") == []


def test_a_code_scheduler_knows_celerys_own_default_entries(rows, settings: Settings, tmp_path: Path):
    settings.CELERY_RESULT_EXPIRES = 3600
    assert celery_app.backend.supports_autoexpire is False
    scheduler = CodeScheduler(app=celery_app, schedule_filename=str(tmp_path / "schedule"))
    assert "celery.backend_cleanup" in scheduler.schedule
    scheduler.close()
    assert list(tmp_path.iterdir()) == [], "who has not led leaves no file"


def test_what_a_process_needs_for_its_first_message_is_made_before_anybody_waits_for_it():
    app = Celery("site", set_as_current=False, broker=f"redis://{HOST}:{free_port()}/0")
    scheduler = CodeScheduler(app, lazy=True)
    assert not app.finalized
    scheduler._warm_up()
    assert app.finalized
    assert app.amqp.__dict__.keys() >= {"router", "send_task_message"}
    app.close()
