"""Old release and new release together: a stock beat, which knows no lease, overlaps with a guarded one."""

import datetime as dt
from collections import Counter

from demo.census import Slot, read_runs
from demo.processes import Process
from demo.waiting import wait_until

from .schedule import INTERVALS
from .stage import Stage
from .theatre import Theatre

OVERLAP = dt.timedelta(seconds=5)
STOCK = "celery -A prayer_room_api beat -l INFO"
A_WHILE = dt.timedelta(seconds=2)


def test_a_stock_beat_beside_a_guarded_one_neither_doubles_nor_loses_a_slot(theatre: Theatre) -> None:
    with theatre.build() as stage:
        stage.engage("worker")
        old = _start_stock_beat(stage)
        wait_until(lambda: len(read_runs(stage.site.runs)) > len(INTERVALS), "the old release's beat sends")
        stage.engage("code")
        stage.leader()
        began = dt.datetime.now(dt.UTC)
        wait_until(lambda: dt.datetime.now(dt.UTC) > began + OVERLAP, "both have sent for a while")
        assert stage.books.query("SELECT count(*) FROM cutover_unmanagedbeat")[0][0] == 1
        assert old.stop() == 0, old.output
        ended = dt.datetime.now(dt.UTC)
        wait_until(lambda: _latest_slot_run(stage) > ended + A_WHILE, "the guarded one goes on")
        runs = _runs_per_slot(stage)
    expected = [slot for slot in _cadence(runs) if began < slot.due_at < ended]
    assert {slot: runs[slot] for slot in expected if runs[slot] != 1} == {}
    assert len(expected) > len(INTERVALS)


def _start_stock_beat(stage: Stage) -> Process:
    return stage.site.start(
        "old-release",
        STOCK,
        CELERY_BEAT_SCHEDULER="celery.beat:PersistentScheduler",
        CELERY_IMPORTS="demo.tasks,tests.faults.old_release",
        CELERY_BEAT_SCHEDULE_FILENAME=str(stage.site.directory / "schedule-of-the-old-release"),
    )


def _latest_slot_run(stage: Stage) -> dt.datetime:
    return max(run.slot.due_at for run in read_runs(stage.site.runs) if run.slot)


def _runs_per_slot(stage: Stage) -> Counter[Slot]:
    """Runs by slot; one without a slot in its headers counts for the slot of the cadence that is nearest to it."""
    runs = read_runs(stage.site.runs)
    base = {}
    for run in runs:
        if run.slot:
            base.setdefault(run.slot.entry, run.slot.due_at)
    counts: Counter[Slot] = Counter()
    for run in runs:
        if run.slot:
            counts[run.slot] += 1
        elif run.label in INTERVALS and run.label in base:
            every = INTERVALS[run.label]
            nearest = base[run.label] + round((run.at - base[run.label]) / every) * every
            counts[Slot(nearest, run.label)] += 1
    return counts


def _cadence(runs: Counter[Slot]) -> list[Slot]:
    """Every slot of each entry from the first to the last that was run."""
    slots = []
    for entry, every in INTERVALS.items():
        seen = sorted(slot.due_at for slot in runs if slot.entry == entry)
        count = round((seen[-1] - seen[0]) / every) + 1 if seen else 0
        slots += [Slot(seen[0] + n * every, entry) for n in range(count)]
    return slots
