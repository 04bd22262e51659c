"""Twenty kills and fifty dropped messages make no false alarm; a missed slot is told by its name and its instant."""

import datetime as dt
import uuid
from collections import Counter
from collections.abc import Iterator

import pytest

from demo.census import read_runs
from demo.waiting import wait_until
from tests.support.pings import Pings

from .schedule import INTERVALS, LATE, PUNCTUAL
from .stage import Stage
from .tasks import BEGUN
from .theatre import Theatre

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

ROUNDS = 5
"""Each kills two leaders, one after the other, and both workers at once: twenty processes in all."""
MESSAGES = 50
TOLD_WITHIN_S = 60.0
FREQUENT = {name for name, every in INTERVALS.items() if every < dt.timedelta(seconds=2)}
"""Of the others each run may have been lost with its worker, or its start be told no more, as its leader was killed."""
AGAIN = """
from demo.tasks import note
from cutover.models import Slot
found = Slot.objects.filter(outcome="succeeded").exclude(entry=%r).order_by("-pk")[:%d]
for row in found:
    headers = {"cutover_entry": row.entry, "cutover_due_at": row.due_at.isoformat(), "cutover_epoch": row.epoch}
    note.apply_async((row.entry,), headers=headers, task_id=str(row.task_id))
print("sent", len(found))
"""
AN_HOUR_AGO = """
import datetime as dt
from cutover import clock, conf
from cutover.models import Slot
from cutover.types import Slot as Named
now = clock.now()
slot = Named(now - dt.timedelta(hours=1, seconds=5), %r)
ran = {"claimed_at": now, "published_at": now, "run_started_at": now, "run_ended_at": now, "outcome": "succeeded"}
task_id = slot.task_id(conf.load().namespace)
Slot.objects.create(
    entry=slot.entry, due_at=slot.due_at, epoch=1, side="code", state="published", task_id=task_id, **ran
)
print("due", (slot.due_at + dt.timedelta(hours=1)).isoformat())
"""


@pytest.fixture
def pings() -> Iterator[Pings]:
    with Pings() as pings:
        yield pings


def test_kills_and_dropped_messages_are_no_alarm_and_a_missed_slot_is_told(theatre: Theatre, pings: Pings) -> None:
    settings = {"CODE_SCHEDULE": "tests.faults.schedule.told", "CHECK_INS_PING_URL": f"{pings.url}/{{slug}}"}
    with theatre.build(WORKER_CONCURRENCY="2", **settings) as stage:
        stage.engage("code", "code", "worker", "worker")
        stage.heal()
        began = dt.datetime.now(dt.UTC)
        for _ in range(ROUNDS):
            for _ in range(2):
                leader = stage.leader()
                leader.may_end = True
                leader.process.kill()
                stage.leader()
                stage.restart([leader])
            kill_workers_in_a_run(stage)
        sent = stage.site.manage("shell", "-c", AGAIN % (LATE, MESSAGES))
        assert f"sent {MESSAGES}" in sent.output, sent.output
        stage.heal()
        wait_until(lambda: dropped(stage) >= MESSAGES, "the further messages are dropped", 30)
        ended = dt.datetime.now(dt.UTC)
        try:
            wait_until(lambda: not untold(stage, pings, began, ended), "all that has run is told", TOLD_WITHIN_S)
        except TimeoutError:
            print(stage.diary(since=began), untold(stage, pings, began, ended))
            raise
        assert pings.of("fail") == {}, "no false alarm"
        assert "cutover.run.resumed" in stage.diary(since=began), "no run was taken over: nothing was tried"
        for word in ("start", ""):
            assert {ping.slug for ping in pings.of(word).values()} >= {LATE, *FREQUENT}, word
        miss_one(stage, pings)


def kill_workers_in_a_run(stage: Stage) -> None:
    """Kill both workers while one has a late acknowledged task in hand, which the next ones take over."""

    def begun() -> int:
        return Counter(run.label for run in read_runs(stage.site.runs))[BEGUN]

    before = begun()
    wait_until(lambda: begun() > before, "a run has begun", 30, poll_s=0.02)
    workers = [member for member in stage.cast.values() if member.kind == "worker"]
    for worker in workers:
        worker.may_end = True
        worker.process.kill()
    stage.restart(workers)


def dropped(stage: Stage) -> int:
    return int(stage.books.query("SELECT SUM(deduplicated) FROM cutover_slot")[0][0] or 0)


def untold(stage: Stage, pings: Pings, since: dt.datetime, until: dt.datetime) -> list[str]:
    """What has run since then by the ledger, and whose end is not told.

    A run that is not over has none to be told: that of a killed worker, whose message the broker may give back minutes
    later, when the worker was killed as it held kombu's lock on what is to be given back.
    """
    rows = stage.books.query("SELECT entry, task_id, outcome, claimed_at FROM cutover_slot WHERE outcome IS NOT NULL")
    ends = pings.of("")
    found = []
    for entry, task_id, outcome, claimed_at in rows:
        key, at = str(uuid.UUID(str(task_id))), dt.datetime.fromisoformat(claimed_at).replace(tzinfo=dt.UTC)
        if since <= at <= until and outcome == "succeeded" and key not in ends:
            found.append(f"{entry} {key} {outcome}")
    return found


def miss_one(stage: Stage, pings: Pings) -> None:
    """An entry that is not caught up falls due while nobody leads."""
    beats = [member for member in stage.cast.values() if member.kind == "code"]
    for beat in beats:
        beat.may_end = True
        beat.process.kill()
    moved = stage.site.manage("shell", "-c", AN_HOUR_AGO % PUNCTUAL)
    due = moved.output.split("due ")[1].split()[0]
    stage.restart(beats)
    told = wait_until(lambda: [*pings.of("fail").values()], "the missed slot is told", TOLD_WITHIN_S)
    assert [(ping.slug, ping.due) for ping in told] == [(PUNCTUAL, due)]
    assert told[0].text == f"{PUNCTUAL}, due {due}: missed: older than the catch-up window"
