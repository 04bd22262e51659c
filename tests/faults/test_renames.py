"""Entries under other names, while beats of the old release and of the new one overlap: each slot once, in step."""

import datetime as dt
import json
from collections import Counter
from itertools import pairwise

import pytest

from cutover.observe.history import PAGE
from demo.census import read_runs, wait_until_sent
from demo.processes import python
from demo.waiting import wait_until

from .actions import kill
from .schedule import COUNTED, RENAMED
from .stage import Stage
from .theatre import Theatre

pytestmark = [pytest.mark.long, pytest.mark.timeout(400)]

PATIENCE_S = 90.0
OLD = {"CODE_SCHEDULE": "tests.faults.schedule.counted"}
NEW = {
    "CODE_SCHEDULE": "tests.faults.schedule.renamed",
    "CUTOVER_RENAMED": ",".join(f"{old}={new}" for old, new in RENAMED.items()),
}
ROWS_RENAMED = """
from django_celery_beat.models import PeriodicTask
for name in {names!r}:
    row = PeriodicTask.objects.get(name=name)
    row.name = name + "-as-a-row"
    row.save()
"""


def test_names_that_change_between_two_releases_and_in_the_rows_lose_and_double_nothing(theatre: Theatre) -> None:
    """Every slot is owed, so that one that was lost at a change of name leaves a hole in the cadence."""
    with theatre.build(**NEW, CUTOVER_CATCH_UP="all", CUTOVER_CATCH_UP_MOST="3000") as stage:
        stage.engage("worker")
        stage.engage("code", **OLD)
        _is_sent(stage, {*COUNTED})
        stage.engage("code", **NEW)
        _goes_on_without(stage, "code-1", {*RENAMED.values()})
        stage.engage("database", **NEW)
        for phase in ("phase1", "phase2", "phase3"):
            done = stage.site.cutover(phase)
            assert done.exit_code == 0, done.output
        _is_sent(stage, {*RENAMED.values()})
        rows = {name: f"{name}-as-a-row" for name in RENAMED.values()}
        chain = NEW["CUTOVER_RENAMED"] + "".join(f",{old}={new}" for old, new in rows.items())
        stage.engage("database", **{**NEW, "CUTOVER_RENAMED": chain})
        _goes_on_without(stage, "database-1", {*RENAMED.values()})
        renamed = stage.site.run(*python("manage.py", "shell", "-c", ROWS_RENAMED.format(names=[*rows])))
        assert renamed.exit_code == 0, renamed.output
        _is_sent(stage, {*rows.values()})
        until = dt.datetime.now(dt.UTC)
        wait_until(lambda: _holes(stage, until) == {}, "every slot of every job has run", PATIENCE_S)
        ran = read_runs(stage.site.runs)
        runs = Counter((run.label, run.slot.due_at) for run in ran)
        assert {job: times for job, times in runs.items() if times != 1} == {}
        assert "missed" not in {record.state for record in stage.books.records().values()}
        _has_one_history(stage, chain, {run.slot.due_at for run in ran if run.label == "each-second"})
        names = Counter(run.slot.entry for run in ran)
        assert names.keys() == {*COUNTED, *RENAMED.values(), *rows.values()}
        print(f"{len(runs)} slots, each run once, under {dict(names)}")


def _goes_on_without(stage: Stage, name: str, entries: set[str]) -> None:
    kill(stage, stage.cast[name])
    _is_sent(stage, entries)


def _is_sent(stage: Stage, entries: set[str]) -> None:
    wait_until_sent(lambda: stage.published, entries)


def _holes(stage: Stage, until: dt.datetime) -> dict[str, list[dt.datetime]]:
    """By job: the instants of its cadence, from its first run on, that have not run, under whatever name."""
    ran: dict[str, set[dt.datetime]] = {label: set() for label in COUNTED}
    for run in read_runs(stage.site.runs):
        ran[run.label].add(run.slot.due_at)
    found = {}
    for label, every in COUNTED.items():
        first = min(ran[label])
        expected = {first + number * every for number in range((until - first) // every + 1)}
        strange = {at for at in ran[label] if (at - first) % every}
        assert strange == set(), f"{label} is off its cadence"
        if missing := expected - ran[label]:
            found[label] = sorted(missing)
    return found


def _has_one_history(stage: Stage, chain: str, ran: set[dt.datetime]) -> None:
    """Of the newest name the slots of all three names are shown, as many as one page takes."""
    env = {**stage.site.env, "CUTOVER_RENAMED": chain}
    command = python("manage.py", "cutover", "status", "--entry", "secondly-as-a-row", "--json")
    shown = stage.site.processes.start("history", command, env)
    assert shown.wait(PATIENCE_S) == 0, shown.output
    slots = json.loads(shown.output[shown.output.index("{") :])["slots"]
    due = [dt.datetime.fromisoformat(slot["due_at"]) for slot in slots]
    assert {*due} >= {at for at in ran if at >= min(due)}
    assert len(due) == PAGE or min(due) == min(ran)
    assert {later - earlier for later, earlier in pairwise(due)} == {COUNTED["each-second"]}
