"""A proof that reads where ledger and timetable differ finds what one finds that reads every slot."""

import datetime as dt
import random
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from django.db import connections
from django.test.utils import CaptureQueriesContext
from django_celery_beat.models import CrontabSchedule, IntervalSchedule, PeriodicTask

from cutover import clock
from cutover.models import Entry, Fence, Pause, Slot
from cutover.phases.context import Context
from cutover.phases.evidence import judging, proof, sections
from cutover.phases.evidence.expected import Expected
from cutover.phases.evidence.findings import Evidence
from cutover.schedules.fingerprint import fingerprint
from cutover.schedules.timetable import timetable
from cutover.types import CatchUp, EntryName

pytestmark = [pytest.mark.integration, pytest.mark.mariadb]

Surroundings = Callable[[], Context]
MINUTE = dt.timedelta(minutes=1)
HOURS = 3 * 60 * MINUTE
EVERY_S = {"a": 60, "B": 60, "c": 7, "d": 300}


@pytest.fixture
def schedule() -> dict[str, dict[str, Any]]:
    return {}


@pytest.fixture
def since() -> dt.datetime:
    return clock.now().replace(microsecond=0) - HOURS


def rows(alias: str, since: dt.datetime) -> dict[str, list[dt.datetime]]:
    """Enabled rows that are known to the ledger, and what was due of each since then."""
    due = {}
    Fence.objects.using(alias).update(side="database", switched_at=since)
    given: dict[str, dict[str, Any]] = {
        name: {"interval": IntervalSchedule.objects.using(alias).get_or_create(every=s, period="seconds")[0]}
        for name, s in EVERY_S.items()
    }
    every_two = CrontabSchedule.objects.using(alias).create(minute="*/2", timezone="UTC")
    for name, column in {**given, "e": {"crontab": every_two}}.items():
        row = PeriodicTask.objects.using(alias).create(name=name, task="demo.tasks.note", **column)
        mark = fingerprint(row.schedule)
        Entry.objects.using(alias).create(name=name, fingerprint=mark, eligible_since=since)
        table, due[name] = timetable(row.schedule), []
        at = table.next_after(since)
        while at is not None and at <= since + HOURS:
            due[name].append(at)
            at = table.next_after(at)
    return due


def recorded(entry: str, due_at: dt.datetime, **fields: Any) -> Slot:
    whole = {"epoch": 1, "side": "database", "state": "published", "run_started_at": due_at, "published_at": due_at}
    return Slot(entry=entry, due_at=due_at, task_id=uuid.uuid4(), **{**whole, "claimed_at": due_at, **fields})


MISSED = {"state": "missed", "published_at": None, "run_started_at": None}


def happened(chance: random.Random, entry: str, due: list[dt.datetime]) -> list[Slot]:
    """A ledger of that entry in which much is amiss."""
    found, amiss = [], chance.choice([0.0, 0.01, 0.05, 0.3])
    numbers = iter(range(len(due)))
    for number in numbers:
        at, dice = due[number], chance.random()
        if dice > amiss:
            found.append(recorded(entry, at))
            continue
        kind = chance.choice(
            ["absent", "outage", "stray", "missed", "paused", "claimed", "waiting", "doubled", "moved"]
        )
        if kind in {"outage", "paused"}:
            for _ in range(length := chance.randrange(40)):
                next(numbers, None)
            if kind == "paused" and number + length < len(due):
                said = {"reason": "paused (x)", "passed_over": length}
                found.append(recorded(entry, due[number + length], **MISSED, **said))
        made: dict[str, list[Slot]] = {
            "stray": [recorded(entry, at), recorded(entry, at + dt.timedelta(seconds=1))],
            "missed": [recorded(entry, at, **MISSED, reason="too old")],
            "claimed": [recorded(entry, at, state="claimed", published_at=None, run_started_at=None)],
            "waiting": [recorded(entry, at, run_started_at=None)],
            "doubled": [recorded(entry, at, deduplicated=2)],
            "moved": [recorded(entry, at + dt.timedelta(microseconds=1))],
        }
        found += made.get(kind, [])
    if chance.random() < 0.2:
        del found[-chance.randrange(1, 30) :]  # the latest are absent
    return found


def seen(evidence: Evidence) -> dict[str, Any]:
    kinds = {
        kind: (len(found), found.kept)
        for kind, found in (("failures", evidence.failures), ("pending", evidence.pending))
    }
    counted = {kind: {n: c for n, c in getattr(evidence, kind).items() if c} for kind in ("proven", "kept_back")}
    return {**kinds, **counted, "deduplicated": evidence.deduplicated, "unproven": evidence.unproven}


@pytest.mark.parametrize("seed", range(6))
def test_the_findings_are_those_of_a_proof_that_reads_all(
    context: Surroundings, since: dt.datetime, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    alias, chance = context().alias, random.Random(seed)
    due = rows(alias, since)
    Slot.objects.using(alias).bulk_create(
        [slot for entry, instants in due.items() for slot in happened(chance, entry, instants)], ignore_conflicts=True
    )
    if seed % 2:
        ended = {"ended_at": since + HOURS / 2} if seed % 3 else {}
        Pause.objects.using(alias).create(entry="", paused_at=since + HOURS / 4, paused_by="x", **ended)
    asked = context()
    if seed > 2:
        asked.config = replace(asked.config, catch_up=CatchUp.ALL)
        Slot.objects.using(alias).filter(entry="c").update(claimed_at=clock.now())
    monkeypatch.setattr("cutover.phases.evidence.findings.KEPT", 100_000)
    if seed % 3 == 0:  # one outage of all
        Slot.objects.using(alias).filter(due_at__range=(since + HOURS / 2, since + HOURS / 2 + 9 * MINUTE)).delete()
    found = []
    for per_part in (3, 10, 100_000):
        monkeypatch.setattr(sections, "PER_PART", per_part)
        found.append(seen(proof.gather(asked, since, since + HOURS)))
    monkeypatch.setattr(Expected, "in_a_row", lambda *_: None)
    found.append(seen(proof.gather(asked, since, since + HOURS)))
    assert found == [found[3]] * 4
    assert found[3]["failures"][0] > 0


def test_one_slot_that_is_absent_has_few_read_in_few_statements(
    context: Surroundings, since: dt.datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    alias, read = context().alias, []
    due = rows(alias, since)
    judge = judging._judge

    def noted(evidence: Evidence, name: EntryName, slot: Any) -> None:
        read.append(slot)
        judge(evidence, name, slot)

    monkeypatch.setattr(judging, "_judge", noted)
    monkeypatch.setattr(sections, "PER_PART", 5)
    outage = since + HOURS / 2
    missed = {entry: next(at for at in instants if at > outage) for entry, instants in due.items()}
    all_ = [recorded(entry, at) for entry, instants in due.items() for at in instants if at != missed[entry]]
    Slot.objects.using(alias).bulk_create(all_)
    with CaptureQueriesContext(
        connections[alias],
    ) as asked:
        evidence = proof.gather(context(), since, since + HOURS)
    assert sorted((one.entry, one.due_at) for one in evidence.failures) == sorted(missed.items())
    assert sum(evidence.proven.values()) == len(all_)
    assert len(read) < 100 < len(all_) / 10
    assert sum("run_started_at" in one["sql"] and '"entry" IN' in one["sql"].replace("`", '"') for one in asked) <= len(
        due
    )


def many(alias: str, since: dt.datetime) -> list[str]:
    """Eight entries of a minute, and no others."""
    every = IntervalSchedule.objects.using(alias).get(every=60)
    names = [f"of many {number}" for number in range(8)]
    for name in names:
        row = PeriodicTask.objects.using(alias).create(name=name, task="demo.tasks.note", interval=every)
        mark = fingerprint(row.schedule)
        Entry.objects.using(alias).create(name=name, fingerprint=mark, eligible_since=since)
    PeriodicTask.objects.using(alias).exclude(name__in=names).delete()
    return names


@pytest.mark.parametrize("amiss", ["one outage", "two outages", "a slot each", "a pause", "changed since"])
def test_slots_in_a_row_that_are_absent_are_known_without_being_looked_for(
    context: Surroundings, since: dt.datetime, monkeypatch: pytest.MonkeyPatch, amiss: str
) -> None:
    alias, read = context().alias, []
    monkeypatch.setattr(sections, "PER_PART", 30)
    rows(alias, since)
    names, due = many(alias, since), [since + number * MINUTE for number in range(1, 181)]
    absent = {"one outage": {90, 91}, "two outages": {17, 90, 91}, "a pause": {90, 91}, "changed since": {90, 91}}
    numbers = {name: absent.get(amiss, {40 + number * 7}) for number, name in enumerate(names)}
    missed = {name: {due[number] for number in of_name} for name, of_name in numbers.items()}
    all_ = [recorded(name, at) for name in names for at in due if at not in missed[name]]
    Slot.objects.using(alias).bulk_create(all_)
    if amiss == "a pause":
        paused = {"paused_at": due[89], "ended_at": due[92]}
        Pause.objects.using(alias).create(entry="", paused_by="x", **paused)
        kept = {**MISSED, "reason": "paused (x)", "passed_over": 2}
        Slot.objects.using(alias).filter(due_at=due[92]).update(**kept)
    if amiss == "changed since":
        Entry.objects.using(alias).update(eligible_since=since + HOURS / 4)
    noted = judging._judge
    monkeypatch.setattr(judging, "_judge", lambda *judged: (read.append(judged), noted(*judged)))
    with CaptureQueriesContext(connections[alias]) as asked:
        evidence = proof.gather(context(), since, since + HOURS)
    found = {name: {one.due_at for one in evidence.failures if one.entry == name} for name in names}
    is_kept_back = amiss == "a pause"
    assert found == ({name: set() for name in names} if is_kept_back else missed)
    assert sum(evidence.proven.values()) == len(all_) - (len(names) if is_kept_back else 0)
    assert sum(evidence.kept_back.values()) == (3 * len(names) if is_kept_back else 0)
    # The one before and after what is absent.
    assert len(read) == len(names) * (4 if amiss == "two outages" else 2)
    assert len(asked) < 25
