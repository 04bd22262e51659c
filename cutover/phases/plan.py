"""What each phase would do, entry by entry. Changes nothing."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Final

from celery.schedules import BaseSchedule
from django_celery_beat.models import CrontabSchedule, IntervalSchedule

from cutover import clock
from cutover.errors import LeaseUnavailable
from cutover.ledger.database import outages
from cutover.phases.context import Context
from cutover.phases.evidence import quiet_windows, survey
from cutover.phases.evidence.proof import schedules
from cutover.phases.evidence.survey import Survey
from cutover.phases.facts import State, read
from cutover.phases.operations import switchover
from cutover.phases.report import Check, Outcome, Report, command
from cutover.schedules import columns, rows
from cutover.schedules.columns import Values
from cutover.schedules.convert import RowDraft
from cutover.schedules.due import next_due
from cutover.schedules.fingerprint import fingerprint
from cutover.schedules.refusals import EntriesRefused
from cutover.schedules.timetable import Timetable, timetable
from cutover.types import Cursor, EntryName, Side

NAME = "plan"
AHEAD: Final = dt.timedelta(hours=24)
"""How far ahead quiet windows are looked for."""
WINDOWS: Final = 3
NEXT: Final = 5
"""How many of the slots that come next are told."""


def run(context: Context) -> Report:
    """Tell what is to come. Always done, whatever it finds; what phase 2 would refuse has a cross."""
    state = read(context)
    try:
        found = survey.take(context)
    except EntriesRefused as exc:
        checks = [Check(f"{r.entry}: {r.field}", False, r.reason, r.remedy) for r in exc.refusals]
        return Report(NAME, Outcome.DONE, checks, ["The code schedule cannot be read."], command(NAME))
    stands, now = context.ledger.cursors.read(), clock.now()
    tables = _tables(context, state, found)
    context.progress("looking for what falls due")
    due = {name: next_due(table, stands.get(name, Cursor(None, now))) for name, (_, table) in tables.items()}
    entries = [_entry(found, name) | {"next_due": _local(context, due.get(name))} for name in found.entries]
    others = [_other(found, name) for name in sorted(found.others)]
    ahead = ((mark, table, stands.get(name, Cursor(None, now))) for name, (mark, table) in tables.items())
    windows = quiet_windows.windows(ahead, now, now + AHEAD, WINDOWS)
    refusals = [refusal for entry in entries for refusal in entry["refusals"]]
    checks = [Check(f"{r['entry']}: {r['field']}", False, r["reason"], r["remedy"]) for r in refusals]
    data = {
        "phase": state.phase,
        "side": state.side.value,
        "hash": found.hash,
        "entries": entries,
        "others": others,
        "quiet": [{"from": _local(context, a), "to": _local(context, b), "s": (b - a).seconds} for a, b in windows],
        "next": [{"entry": n, "due_at": _local(context, at), "side": state.side.value} for n, at in _soonest(due)],
    }
    lines = [line for entry in entries for line in _entry_lines(entry)]
    lines += [f"{other['name']}: {other['task']}, no entry of the code" for other in others]
    lines += [*_timing(data), *_phases(context, state, data)]
    following = command(f"phase{min(state.phase, 3) + 1}")
    return Report(NAME, Outcome.DONE, checks, lines, following, "", data)


def _tables(context: Context, state: State, found: Survey) -> dict[EntryName, tuple[str, Timetable]]:
    """Fingerprint and timetable of everything that the active side sends; equal ones share one timetable."""
    sends: Iterable[tuple[EntryName, BaseSchedule]]
    if state.side is Side.CODE:
        sends = ((name, entry.schedule) for name, entry in found.entries.items())
    else:
        with outages(context.alias):
            sends = schedules(context).items()
    shared: dict[str, Timetable] = {}
    tables: dict[EntryName, tuple[str, Timetable]] = {}
    for name, schedule in sends:
        mark = fingerprint(schedule)
        tables[name] = mark, shared.setdefault(mark, timetable(schedule))
    return tables


def _soonest(due: Mapping[EntryName, dt.datetime | None]) -> list[tuple[EntryName, dt.datetime]]:
    coming = sorted((at, name) for name, at in due.items() if at is not None)
    return [(name, at) for at, name in coming[:NEXT]]


def _entry(found: Survey, name: EntryName) -> dict[str, Any]:
    drafted, row, entry = found.drafted.get(name), found.standing.get(name), found.entries[name]
    refusals = found.refusals.get(name, [])
    differing = rows.differing(drafted.row, row) if drafted is not None and row is not None else {}
    return {
        "name": name,
        "task": entry.task,
        "schedule": in_words(drafted.row.schedule, drafted.relative) if drafted is not None else str(entry.schedule),
        "row": "refused" if refusals else "create" if row is None else "update" if differing else "equal",
        "enabled": row.enabled if row is not None else None,
        "differences": [
            {"field": field, "row": str(held), "code": str(wanted)} for field, (held, wanted) in differing.items()
        ],
        "beside": _beside(drafted),
        "refusals": [{"entry": r.entry, "field": r.field, "reason": r.reason, "remedy": r.remedy} for r in refusals],
    }


def _beside(drafted: RowDraft | None) -> list[str]:
    """What no row holds, by name: values may be nobody's business."""
    if drafted is None:
        return []
    return [*sorted(drafted.options), *(["relative"] if drafted.relative else [])]


def _other(found: Survey, name: EntryName) -> dict[str, Any]:
    row = found.others[name]
    return {"name": name, "task": row.task, "schedule": rows.schedule_of(row)}


@lru_cache(maxsize=1024)
def in_words(values: Values, relative: bool = False) -> str:
    """A schedule as a person says it."""
    model = columns.row_of(values)
    if isinstance(model, CrontabSchedule):
        return str(model.human_readable)
    if isinstance(model, IntervalSchedule):
        every = f"every {model.every} {model.period}" if model.every != 1 else f"every {model.period_singular}"
        return f"{every}, relative" if relative else every
    return str(model)


def _entry_lines(found: Mapping[str, Any]) -> list[str]:
    row = {
        "create": "phase 2 creates its row, disabled",
        "equal": "its row is equal" + (", enabled" if found["enabled"] else ", disabled"),
        "update": "phase 2 brings its row up to date",
        "refused": "phase 2 refuses it, see above",
    }[found["row"]]
    lines = [
        f"{found['name']}: {found['task']}",
        f"    {found['schedule']}; next due {found['next_due'] or 'never'}; {row}",
    ]
    if found["beside"]:
        lines.append(f"    kept beside the row, which has no column for it: {', '.join(found['beside'])}")
    return [*lines, *(f"    {d['field']}: {d['row']} in the row, {d['code']} in code" for d in found["differences"])]


def _timing(data: Mapping[str, Any]) -> list[str]:
    coming = [f"    {slot['due_at']} {slot['entry']}" for slot in data["next"]]
    lines = ["", f"Next, from the {data['side']} side:", *coming] if coming else ["", "Nothing falls due."]
    if not data["quiet"]:
        return [*lines, "No minute of the next 24 hours is quiet."]
    spans = [f"    {window['from']} to {window['to']} ({window['s'] // 60} min)" for window in data["quiet"]]
    return [*lines, "Quiet in the next 24 hours, the longest first:", *spans]


def _phases(context: Context, state: State, data: Mapping[str, Any]) -> list[str]:
    try:
        beats = {side: len(switchover.standbys(context, side)) for side in Side}
        seen = f"warm beats now: {beats[Side.CODE]} of the code side, {beats[Side.DATABASE]} of the database side"
    except LeaseUnavailable as exc:
        seen = str(exc)
    entries, others = data["entries"], len(data["others"])
    count = {what: sum(1 for entry in entries if entry["row"] == what) for what in ("create", "update", "refused")}
    done = [" (done)" if state.phase >= number else "" for number in range(1, 5)]
    besides = f"; {others} rows are enabled that the code has no entry for, and are sent from then on" if others else ""
    return [
        "",
        f"phase1{done[0]}: checks database, Redis, broker, clocks, processes and beats; {seen}.",
        f"phase2{done[1]}: creates {count['create']} rows, updates {count['update']}, refuses {count['refused']}; "
        "then proves that both sides fire and send alike.",
        f"phase3{done[2]}: enables {len(entries)} rows and switches from code to database in one commit{besides}.",
        f"phase4{done[3]}: reads the ledger for every slot since the switch, and closes the cutover.",
        f"Plan {data['hash']}: phase2 and phase3 take it as --plan {data['hash']}, and refuse once it no longer fits.",
        state.in_words(),
    ]


def _local(context: Context, at: dt.datetime | None) -> str | None:
    return at.astimezone(context.app.timezone).isoformat(sep=" ", timespec="seconds") if at is not None else None
