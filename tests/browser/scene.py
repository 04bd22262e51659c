"""A site an hour after its switch, in which a few things went wrong, each once."""

import datetime as dt
import json
from typing import Any

from django_celery_beat.models import CrontabSchedule, IntervalSchedule, PeriodicTask

from cutover import clock
from cutover.models import Cutover, Entry, Fence, Slot, Term, Transition
from cutover.types import EntryName, RunOutcome, Side, SlotState
from cutover.types import Slot as SlotName
from cutover.workers import processes

MINUTE, DAY = dt.timedelta(minutes=1), dt.timedelta(days=1)
AGAIN = {"unique_fields": ["entry", "due_at"], "update_fields": ["outcome", "error", "run_started_at", "run_ended_at"]}
"""How a slot is written over one that a beat may have claimed."""
NODE = "celery@vm"
MARK = f"0@#1 {processes.with_node('vm:7:9:abcd:5.7.0', NODE)}"
EVERY = {"heartbeat": 1, "prayer-reminders": 5, "notify-moderators": 10, "import-requests": 15}
"""Minutes between the slots of an entry."""
CRONTABS = {"user-digest-daily": "0 8 * * *", "user-digest-weekly": "0 8 * * 1", "cleanup": "30 3 * * *"}


def at_this_minute() -> dt.datetime:
    return clock.now().replace(second=0, microsecond=0)


def latest(now: dt.datetime, hour: int, minute: int) -> dt.datetime:
    """The last time before ``now`` that it was so late."""
    today = now.replace(hour=hour, minute=minute)
    return today if today <= now else today - dt.timedelta(days=1)


def slot(entry: str, due_at: dt.datetime, side: Side, epoch: int, **changed: Any) -> Slot:
    """A slot that was sent and run well, but for what is changed."""
    sent, begun = due_at + dt.timedelta(milliseconds=40), due_at + dt.timedelta(milliseconds=70)
    usual = {
        "entry": entry,
        "due_at": due_at,
        "side": side,
        "epoch": epoch,
        "state": SlotState.PUBLISHED,
        "task_id": SlotName(due_at, EntryName(entry)).task_id("celery"),
        "claimed_at": due_at + dt.timedelta(milliseconds=20),
        "published_at": sent,
        "run_started_at": begun,
        "run_ended_at": begun + dt.timedelta(seconds=1.3),
        "outcome": RunOutcome.SUCCEEDED,
        "run_by": MARK,
    }
    return Slot(**{**usual, **changed})


FAILURE = "requests.exceptions.ConnectTimeout: calendar.example.org did not answer within 30 s"
MISSED = {
    "state": SlotState.MISSED,
    "reason": "older than the catch-up window",
    **dict.fromkeys(("published_at", "run_started_at", "run_ended_at", "outcome")),
    "run_by": "",
}


def play(alias: str) -> dt.datetime:
    """Write the scene; returns the last full minute, in which ``import-requests`` failed."""
    now = at_this_minute()
    switched = now - 40 * MINUTE
    _rows(alias)
    names = [*EVERY, *CRONTABS]
    Entry.objects.using(alias).bulk_create(
        Entry(name=name, fingerprint="f", eligible_since=now - dt.timedelta(days=8)) for name in names
    )
    slots = []
    for name, every in EVERY.items():
        for number in range(60 // every):
            due_at = now - number * every * MINUTE
            slots.append(slot(name, due_at, *((Side.DATABASE, 2) if due_at >= switched else (Side.CODE, 1))))
    slots += [
        slot("user-digest-daily", latest(now, 8, 0), Side.CODE, 1),
        slot("cleanup", latest(now, 3, 30), Side.CODE, 1),
    ]
    weekly = latest(now, 8, 0)
    weekly -= dt.timedelta(days=weekly.weekday())
    slots += [slot("user-digest-weekly", weekly, Side.CODE, 1, **MISSED)]
    found = {(one.entry, one.due_at): one for one in slots}
    found["import-requests", now].outcome, found["import-requests", now].error = RunOutcome.FAILED, FAILURE
    found["prayer-reminders", now - 10 * MINUTE].deduplicated = 1
    retried = found["prayer-reminders", now - 15 * MINUTE]
    retried.outcome, retried.error = RunOutcome.RETRIED, "smtplib.SMTPServerDisconnected: please run connect() first"
    for name, value in MISSED.items():
        setattr(found["notify-moderators", now - 20 * MINUTE], name, value)
    Slot.objects.using(alias).bulk_create(slots)
    _course(alias, now, switched)
    return now


def _rows(alias: str) -> None:
    tasks = PeriodicTask.objects.using(alias)
    for name, every in EVERY.items():
        period, _ = IntervalSchedule.objects.using(alias).get_or_create(every=every, period="minutes")
        tasks.create(name=name, task="demo.tasks.note", interval=period, args=json.dumps([name]))
    for name, fields in CRONTABS.items():
        minute, hour, *_, weekday = fields.split()
        crontab, _ = CrontabSchedule.objects.using(alias).get_or_create(minute=minute, hour=hour, day_of_week=weekday)
        tasks.create(name=name, task="demo.tasks.note", crontab=crontab, args=json.dumps([name]))


def _course(alias: str, now: dt.datetime, switched: dt.datetime) -> None:
    began = now - 55 * MINUTE
    ended = now + dt.timedelta(milliseconds=50)  # once its last slots were sent
    terms = ((1, Side.CODE, 11, began, switched), (2, Side.DATABASE, 12, switched, ended))
    for epoch, side, pid, start, end in terms:
        common = {"holder": f"vm:{pid}:x", "host": "vm", "pid": pid, "release": "v41" if epoch == 1 else "v42"}
        Term.objects.using(alias).create(
            epoch=epoch, side=side, started_at=start, first_tick_at=start, ended_at=end, end_reason="stopped", **common
        )
    Fence.objects.using(alias).update(epoch=2, side=Side.DATABASE, switched_at=switched, guarded_since=began)
    Cutover.objects.using(alias).update(phase=3, switched_at=switched, switch_epoch=2)
    for number, (phase, step) in enumerate([("phase1", "finish"), ("phase2", "import"), ("phase2", "finish")]):
        _step(alias, phase, step, began + number * MINUTE)
    for step in ("snapshot", "enable", "loaded", "switch", "lead", "finish"):
        _step(alias, "phase3", step, switched)


def _step(alias: str, phase: str, step: str, at: dt.datetime) -> None:
    Transition.objects.using(alias).create(
        phase=phase, step=step, outcome="done", operator="alice@vm", begun_at=at, ended_at=at
    )
