"""What each phase would do, entry by entry. Changes nothing."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

from celery.beat import ScheduleEntry
from django_celery_beat.models import CrontabSchedule, IntervalSchedule, PeriodicTask

from cutover import clock, importer, rows
from cutover.carry import Refusal, RowValues
from cutover.errors import LeaseUnavailable
from cutover.importer import EntriesRefused
from cutover.models import CarriedEntry
from cutover.phases import handover
from cutover.phases.context import Context
from cutover.phases.report import Check, Outcome, Report, command
from cutover.phases.state import State, outages, read
from cutover.slots import Standing, timetable
from cutover.types import EntryName, Side

NAME = "plan"


def run(context: Context) -> Report:
    """Tell what is to come. Always done, whatever it finds; what phase 2 would refuse has a cross."""
    state = read(context)
    try:
        entries = context.entries
    except EntriesRefused as exc:
        checks = [Check(f"{r.entry}: {r.field}", False, r.reason, r.remedy) for r in exc.refusals]
        return Report(NAME, Outcome.DONE, checks, ["The code schedule can not be read."], command(NAME))
    drafted, refusals = importer.draft(context.app, entries)
    with outages(context.alias):
        standing = rows.periodic_tasks(context.alias, entries.keys())
        carried = {EntryName(kept.name): kept for kept in CarriedEntry.objects.using(context.alias)}
    stands = context.ledger.standings()
    values = {wanted.name: wanted for wanted in drafted}
    found = []
    for name, entry in entries.items():
        own = [refusal for refusal in refusals if refusal.entry == name]
        if name in values and name in standing:
            own += importer.objections(values[name], standing[name], carried.get(name))
        found.append(_entry(context, entry, values.get(name), standing.get(name), own, stands.get(name)))
    checks = [
        Check(f"{refusal['entry']}: {refusal['field']}", False, refusal["reason"], refusal["remedy"])
        for entry_plan in found
        for refusal in entry_plan["refusals"]
    ]
    lines = [line for entry_plan in found for line in _entry_lines(entry_plan)]
    data = {"phase": state.phase, "side": state.side.value, "entries": found}
    following = command(f"phase{min(state.phase, 3) + 1}")
    return Report(NAME, Outcome.DONE, checks, [*lines, *_phases(context, state, found)], following, "", data)


def _entry(
    context: Context,
    entry: ScheduleEntry,
    values: RowValues | None,
    row: PeriodicTask | None,
    refusals: list[Refusal],
    stands: Standing | None,
) -> dict[str, Any]:
    table = timetable(entry.schedule)
    next_due = stands.next_due(table) if stands is not None else table.next_after(clock.now())
    return {
        "name": entry.name,
        "task": entry.task,
        "schedule": in_words(values) if values is not None else str(entry.schedule),
        "next_due": _local(context, next_due),
        "row": _row_state(values, row, refusals),
        "enabled": row.enabled if row is not None else None,
        "refusals": [{"entry": r.entry, "field": r.field, "reason": r.reason, "remedy": r.remedy} for r in refusals],
    }


def _row_state(values: RowValues | None, row: PeriodicTask | None, refusals: list[Refusal]) -> str:
    """``create``, ``equal``, ``update`` or ``refused``: what phase 2 would do with the row."""
    if refusals or values is None:
        return "refused"
    if row is None:
        return "create"
    return "update" if rows.differing(values, row) else "equal"


def in_words(values: RowValues) -> str:
    """A schedule as a person says it."""
    model = rows.schedule_model(values.schedule)
    return model.human_readable if isinstance(model, CrontabSchedule) else _every(model)


def _every(model: IntervalSchedule) -> str:
    return f"every {model.every} {model.period}" if model.every != 1 else f"every {model.period_singular}"


def _entry_lines(found: Mapping[str, Any]) -> list[str]:
    row = {
        "create": "phase 2 creates its row, disabled",
        "equal": "its row is equal" + (", enabled" if found["enabled"] else ", disabled"),
        "update": "phase 2 brings its row up to date",
        "refused": "phase 2 refuses it, see above",
    }[found["row"]]
    return [
        f"{found['name']}: {found['task']}",
        f"    {found['schedule']}; next due {found['next_due'] or 'never'}; {row}",
    ]


def _phases(context: Context, state: State, found: list[dict[str, Any]]) -> list[str]:
    try:
        beats = {side: len(handover.standbys(context, side)) for side in Side}
        seen = f"warm beats now: {beats[Side.CODE]} of the code side, {beats[Side.DATABASE]} of the database side"
    except LeaseUnavailable as exc:
        seen = str(exc)
    count = {state: sum(1 for entry in found if entry["row"] == state) for state in ("create", "update", "refused")}
    done = [" (done)" if state.phase >= number else "" for number in range(1, 5)]
    return [
        "",
        f"phase1{done[0]}: checks database, Redis, broker, clocks, processes and beats; {seen}.",
        f"phase2{done[1]}: creates {count['create']} rows, updates {count['update']}, refuses {count['refused']}; "
        "then proves that both sides fire and send alike.",
        f"phase3{done[2]}: enables {len(found)} rows and switches from code to database in one commit.",
        f"phase4{done[3]}: reads the ledger for every slot since the switch, and closes the cutover.",
        state.in_words(),
    ]


def _local(context: Context, at: dt.datetime | None) -> str | None:
    return at.astimezone(context.app.timezone).isoformat(sep=" ", timespec="seconds") if at is not None else None
