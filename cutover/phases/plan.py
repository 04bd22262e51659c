"""What each phase would do, entry by entry. Changes nothing."""

import datetime as dt
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from django_celery_beat.models import CrontabSchedule, IntervalSchedule

from cutover import clock
from cutover.errors import LeaseUnavailable
from cutover.phases.context import Context
from cutover.phases.evidence import quiet_windows, side, survey
from cutover.phases.evidence.survey import Survey
from cutover.phases.facts import State, read
from cutover.phases.gates import installation
from cutover.phases.gates.imported import importable
from cutover.phases.report import Outcome, Report, command, plain
from cutover.phases.wording import instant
from cutover.schedules import columns, rows
from cutover.schedules.columns import Values
from cutover.schedules.due import next_due
from cutover.schedules.fingerprint import fingerprint
from cutover.schedules.refusals import EntriesRefused
from cutover.schedules.timetable import Timetable, timetable
from cutover.types import Cursor, EntryName, Side

NAME = "plan"


def run(context: Context) -> Report:
    """Show what is to come. Always done, whatever it finds; what phase 2 would refuse has a cross."""
    state = read(context)
    try:
        found = survey.take(context)
    except EntriesRefused as exc:
        unread = ["The code schedule cannot be read."]
        return Report(NAME, Outcome.DONE, importable(exc.refusals), unread, command(NAME))
    stands, now = context.ledger.cursors.read(until=clock.now()), clock.now()
    context.progress("computing what falls due")
    shared: dict[str, Timetable] = {}  # equal schedules have one timetable
    ahead: dict[EntryName, tuple[str, Timetable, Cursor]] = {}
    for name, schedule in side.schedules(context, state.side).items():
        mark = fingerprint(schedule)
        table = shared.setdefault(mark, timetable(schedule))
        ahead[name] = mark, table, stands.get(name, Cursor(None, now))
    due = {name: at for name, (_, table, cursor) in ahead.items() if (at := next_due(table, cursor)) is not None}
    soonest = sorted((at, name) for name, at in due.items())[:5]
    quiet = quiet_windows.windows(ahead.values(), now, now + quiet_windows.AHEAD)
    entries = [_entry(found, name, due.get(name)) for name in found.entries]
    others = [row for _, row in sorted(found.others.items())]
    data: dict[str, Any] = {
        "phase": state.phase,
        "side": state.side.value,
        "hash": found.hash,
        "entries": entries,
        "other_rows": [{**plain(row, "name task"), "schedule": rows.schedule_of(row)} for row in others],
        "next_slots": [{"entry": name, "due_at": at.isoformat(), "side": state.side.value} for at, name in soonest],
        "quiet_windows": quiet_windows.data(quiet),
    }
    zone = context.app.timezone
    lines = [line for entry in entries for line in _entry_lines(entry, due, zone)]
    lines += [f"{other['name']}: {other['task']}, no entry of the code" for other in data["other_rows"]]
    coming = [f"    {instant(at, zone)} {name}" for at, name in soonest]
    lines += ["", f"Next, from the {state.side} side:", *coming] if coming else ["", "Nothing falls due."]
    lines += [*quiet_windows.lines(quiet, zone), "", *_phases(context, state, data)]
    checks = importable([refusal for name in found.entries for refusal in found.refusals.get(name, [])])
    if state.side is Side.CODE:
        checks.append(installation.sent_schedule(context, patient=False))
    return Report(NAME, Outcome.DONE, checks, lines, command(f"phase{min(state.phase, 3) + 1}"), "", data)


def _entry(found: Survey, name: EntryName, due_at: dt.datetime | None) -> dict[str, Any]:
    drafted, row, entry = found.drafted.get(name), found.present.get(name), found.entries[name]
    refusals = found.refusals.get(name, [])
    differing = rows.differing(drafted.row, row) if drafted is not None and row is not None else {}
    words, overlay = str(entry.schedule), []
    if drafted is not None:
        relative = ["relative"] if drafted.relative else []
        words = ", ".join([_in_words(drafted.row.schedule), *relative])
        overlay = [*sorted(drafted.options), *relative]  # by name: the values may be secret
    return {
        "name": name,
        "task": entry.task,
        "schedule": words,
        "next_due_at": due_at.isoformat() if due_at is not None else None,
        "row": "refused" if refusals else "create" if row is None else "update" if differing else "equal",
        "enabled": row.enabled if row is not None else None,
        "differences": [{"field": field, "row": str(a), "code": str(b)} for field, (a, b) in differing.items()],
        "overlay": overlay,
        "refusals": [plain(refusal, "entry field reason remedy") for refusal in refusals],
    }


@lru_cache(maxsize=1024)
def _in_words(values: Values) -> str:
    """A schedule as a person says it."""
    model = columns.row_of(values)
    if isinstance(model, CrontabSchedule):
        return str(model.human_readable)
    if isinstance(model, IntervalSchedule):
        return f"every {model.every} {model.period}" if model.every != 1 else f"every {model.period_singular}"
    return str(model)


def _entry_lines(found: Mapping[str, Any], due: Mapping[EntryName, dt.datetime], zone: dt.tzinfo) -> list[str]:
    row = {
        "create": "phase 2 creates its row, disabled",
        "equal": "its row is equal" + (", enabled" if found["enabled"] else ", disabled"),
        "update": "phase 2 brings its row up to date",
        "refused": "phase 2 refuses it, see above",
    }[found["row"]]
    next_due = instant(due[found["name"]], zone) if found["name"] in due else "never"
    lines = [f"{found['name']}: {found['task']}", f"    {found['schedule']}; next due {next_due}; {row}"]
    if found["overlay"]:
        lines.append(f"    kept in the overlay, for its row has no column for it: {', '.join(found['overlay'])}")
    return [*lines, *(f"    {d['field']}: {d['row']} in the row, {d['code']} in code" for d in found["differences"])]


def _phases(context: Context, state: State, data: Mapping[str, Any]) -> list[str]:
    try:
        code, database = (len(context.warm_beats(side)) for side in (Side.CODE, Side.DATABASE))
        seen = f"warm beats now: {code} of the code side, {database} of the database side"
    except LeaseUnavailable as exc:
        seen = str(exc)
    entries, others = data["entries"], len(data["other_rows"])
    count = Counter(entry["row"] for entry in entries)
    done = [" (done)" if state.phase >= number else "" for number in range(1, 5)]
    besides = f"; {others} rows are enabled that the code has no entry for, and are sent from then on" if others else ""
    return [
        f"phase1{done[0]}: checks database, Redis, broker, clocks, processes and beats; {seen}.",
        f"phase2{done[1]}: creates {count['create']} rows, updates {count['update']}, refuses {count['refused']}; "
        "then proves that both sides fire and send alike.",
        f"phase3{done[2]}: enables {len(entries)} rows and switches from code to database in one commit{besides}.",
        f"phase4{done[3]}: reads the ledger for every slot since the switch, one of each entry at least; closes it.",
        f"Plan {data['hash']}: phase2 and phase3 take it as --plan {data['hash']}, and refuse once it no longer fits.",
        state.in_words(),
    ]
