"""An entry of a day under a beat that is started again every few minutes: by a clock that is put forward between."""

import datetime as dt
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from celery.beat import Scheduler
from django.db import connections
from django_celery_beat.models import PeriodicTask, PeriodicTasks

from cutover import clock
from cutover.election.elector import News
from cutover.fields import DatabaseNow
from cutover.models import Slot, Term
from cutover.phases import phase1, phase2, phase3, rollback
from cutover.phases.context import Context
from cutover.phases.report import Outcome
from cutover.schedulers import CodeScheduler, DatabaseScheduler
from cutover.types import Side
from prayer_room_api.celery import app as celery_app

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

DAY = dt.timedelta(days=1)
LIFE, SHORT_LIFE = dt.timedelta(minutes=97), dt.timedelta(minutes=11)
"""How long a beat lives, and with ``--long``. Neither divides a day: slots fall due at another point of each life."""


class ShiftedClock:
    """The clocks as ``cutover`` reads them, this host's and the database's, put forward by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ahead = dt.timedelta(0)
        real = clock.now
        monkeypatch.setattr(clock, "now", lambda: real() + self.ahead)
        monkeypatch.setattr(DatabaseNow, "as_sqlite", self._as_sqlite)
        monkeypatch.setattr(DatabaseNow, "as_postgresql", self._as_postgresql, raising=False)

    def _as_sqlite(self, compiler: Any, connection: Any) -> Any:
        spelt = f"'%%Y-%%m-%%d %%H:%%M:%%f', 'NOW', '+{self.ahead.total_seconds()} seconds'"
        return f"STRFTIME({spelt})", []

    def _as_postgresql(self, compiler: Any, connection: Any) -> Any:
        return f"clock_timestamp() + interval '{self.ahead.total_seconds()} seconds'", []


def live(side: Side, folder: Path, alias: str) -> None:
    """One life of a beat: it leads, does one round of all that is due, and is stopped."""
    kinds: dict[Side, Callable[[], Scheduler]] = {
        Side.CODE: lambda: CodeScheduler(app=celery_app, schedule_filename=str(folder / "schedule")),
        Side.DATABASE: lambda: DatabaseScheduler(app=celery_app),
    }
    terms = Term.objects.using(alias).filter(first_tick_at__isnull=False)
    before, scheduler = terms.count(), kinds[side]()
    try:
        scheduler.tick()
        while terms.count() == before:
            scheduler._elector.wake(News.SIGNAL)  # a turn waits for news at its end
            scheduler.tick()
    finally:
        scheduler.close()


@pytest.fixture
def schedule() -> dict[str, dict[str, Any]]:
    """One entry of a day, on the code side, and on the database side once it is imported."""
    return {"daily": {"task": "demo.tasks.note", "schedule": DAY, "args": ("daily",)}}


def test_a_day_is_a_day_however_often_the_beat_is_started_anew(
    context: Callable[[], Context], alias: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, long: bool
) -> None:
    every = SHORT_LIFE if long else LIFE
    shifted = ShiftedClock(monkeypatch)
    for phase in (phase1.run(context(), no_code_beat=True), phase2.run(context())):
        assert phase.outcome is Outcome.DONE, phase
    began = clock.now()
    side, switches = Side.CODE, [(1.3, Side.DATABASE), (2.6, Side.CODE)]
    while shifted.ahead < 3.5 * DAY:
        live(side, tmp_path, alias)
        if switches and shifted.ahead > switches[0][0] * DAY:
            side = switches.pop(0)[1]
            switch(side, context)
        shifted.ahead += every
    slots = list(Slot.objects.using(alias).order_by("due_at"))
    assert [slot.state for slot in slots] == ["published"] * 3
    assert [after.due_at - before.due_at for before, after in pairwise(slots)] == [DAY] * 2
    assert dt.timedelta(0) <= slots[0].due_at - DAY - began < dt.timedelta(seconds=30)
    assert max(slot.claimed_at - slot.due_at for slot in slots) < 2 * every
    assert {slot.side for slot in slots} == {"code", "database"}
    connections.close_all()


def switch(side: Side, context: Callable[[], Context]) -> None:
    """As an operator does it between two lives, when nobody stands by."""
    report = phase3.run(context(), force=True) if side is Side.DATABASE else rollback.run(context(), force=True)
    assert report.outcome is Outcome.DONE, report


@pytest.mark.parametrize("when", ["before phase 3", "before a rollback", "while nobody leads"])
def test_an_end_that_is_far_away_is_no_other_schedule(
    context: Callable[[], Context], alias: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """What fell due while nobody led is owed, whoever has put the row's end where it changes nothing."""
    shifted = ShiftedClock(monkeypatch)
    for phase in (phase1.run(context(), no_code_beat=True), phase2.run(context())):
        assert phase.outcome is Outcome.DONE, phase
    live(Side.CODE, tmp_path, alias)
    end = clock.now() + 300 * DAY

    def edit() -> None:
        PeriodicTask.objects.using(alias).filter(name="daily").update(expires=end)
        PeriodicTasks.update_changed()

    if when == "before phase 3":
        edit()
    switched = phase3.run(context(), force=True, accept_edits=True)
    assert switched.outcome is Outcome.DONE, switched
    if when == "before a rollback":
        edit()
    if when != "before phase 3":
        live(Side.DATABASE, tmp_path, alias)
    shifted.ahead += DAY + dt.timedelta(minutes=5)
    if when == "while nobody leads":
        edit()
    if when == "before a rollback":
        assert rollback.run(context(), force=True).outcome is Outcome.DONE
    live(Side.CODE if when == "before a rollback" else Side.DATABASE, tmp_path, alias)
    connections.close_all()
    assert Slot.objects.using(alias).filter(entry="daily").count() == 1
