"""The last runs that are written into rows: what a beat that starts later makes of them."""

import datetime as dt
import json
from collections.abc import Iterator

import pytest
from celery.beat import ScheduleEntry
from celery.schedules import schedule
from django.db import connections
from django_celery_beat.models import IntervalSchedule, PeriodicTask, PeriodicTasks

from cutover import clock
from cutover.beats import schedule_file
from cutover.beats.item import MISFIRE_GRACE
from cutover.beats.schedule import Schedule
from cutover.beats.sources.code import CodeSource
from cutover.beats.sources.rows import RowSource
from cutover.errors import LedgerUnavailable
from cutover.ledger import Ledger
from cutover.ledger.fence import AHEAD
from cutover.models import Cutover, Fence
from cutover.types import EntryName, HolderId, Identity, Side, Slot, Term
from prayer_room_api.celery import app as celery_app

pytestmark = pytest.mark.integration

MINUTE, HOUR, DAY = dt.timedelta(minutes=1), dt.timedelta(hours=1), dt.timedelta(days=1)
A = EntryName("a")


class Process:
    """A beat's schedule and its ledger, as they are in a process that has just started and leads."""

    def __init__(self) -> None:
        self.ledger = Ledger("default", "cutover", 30 * DAY)
        term = self.ledger.fence.open_term(Identity(HolderId("h:1:a"), "h", 1, ""), Side.DATABASE)
        assert term is not None
        self.term: Term = term
        self.schedule = Schedule(Side.DATABASE, RowSource(celery_app, self.ledger), self.ledger)
        self.schedule.refresh()
        assert self.schedule.settle(term)

    def owed(self) -> list[tuple[dt.datetime | None, list[dt.datetime]]]:
        """What is to be sent, and what is missed."""
        due = self.schedule.agenda.due(self.ledger.fence.now(), MISFIRE_GRACE)
        return [(each.owed.send, list(each.owed.missed)) for each in due]

    def send(self, at: dt.datetime) -> None:
        """Send a slot: claim it, and note it in the row."""
        self.ledger.claims.claim(self.term, [Slot(at, A)], published=[])
        self.ledger.claims.confirm([Slot(at, A)])
        self.schedule.agenda.record(A, at)
        entry = self.schedule.agenda.entry(A)
        assert entry is not None
        self.schedule.published([entry])


@pytest.fixture
def row(transactional_db: None) -> Iterator[PeriodicTask]:
    """The one row of a project whose database side is active: of every minute, and sent until five minutes ago."""
    PeriodicTask.objects.all().delete()
    Fence.objects.update_or_create(id=1, defaults={"epoch": 0, "side": "database"})
    Cutover.objects.get_or_create(id=1)
    PeriodicTasks.objects.get_or_create(ident=1, defaults={"last_update": clock.now()})
    minutely, _ = IntervalSchedule.objects.get_or_create(every=1, period="minutes")
    yield PeriodicTask.objects.create(
        name=A,
        task="demo.tasks.note",
        args=json.dumps(["a"]),
        interval=minutely,
        last_run_at=clock.now() - 5.5 * MINUTE,
    )
    connections.close_all()


@pytest.fixture(autouse=True)
def long_known(row: PeriodicTask) -> None:
    PeriodicTask.objects.update(date_changed=clock.now() - 30 * DAY)


def test_what_fell_due_while_a_message_was_on_its_way_to_a_slow_broker_is_owed_to_the_next_beat(row):
    before = Process()
    ((first, _),) = before.owed()
    assert first is not None
    at = first - 3 * MINUTE
    before.send(at)  # noted three minutes later
    assert Process().owed() == [(first, [at + MINUTE, at + 2 * MINUTE])]


def test_a_beat_whose_clock_is_ahead_keeps_no_slot_from_the_next_one(row, monkeypatch):
    now = clock.now
    with monkeypatch.context() as patch:
        patch.setattr(clock, "now", lambda: now() + 2 * HOUR)
        before = Process()
        ((at, _),) = before.owed()
        assert at is not None
        before.send(at)
    row.refresh_from_db()
    assert row.last_run_at <= now() + AHEAD  # by as much two clocks are taken as equal
    assert abs(at - now()) < MINUTE


def test_so_does_one_of_the_code_side_in_the_schedule_file_though_the_database_is_away_as_it_ends(
    row, tmp_path, monkeypatch
):
    now, file, ledger = clock.now, str(tmp_path / "schedule"), Ledger("default", "cutover", 30 * DAY)
    entry = ScheduleEntry(name=A, task="t", schedule=schedule(HOUR, app=celery_app), app=celery_app)
    source = CodeSource(celery_app, {A: entry}, file)
    source.ledger = ledger
    monkeypatch.setattr(clock, "now", lambda: now() + 2 * HOUR)
    monkeypatch.setattr(ScheduleEntry, "default_now", lambda _: clock.now())
    monkeypatch.setattr(ledger.cursors, "latest_of", lambda *_: (_ for _ in ()).throw(LedgerUnavailable("away")))
    ledger.fence.read()
    source.published([entry])
    source.close()
    assert abs(schedule_file.read(file)[A].at - now()) < MINUTE
