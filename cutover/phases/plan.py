"""What each phase would do, entry by entry. Changes nothing."""

import datetime as dt
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from django_celery_beat.models import CrontabSchedule, IntervalSchedule

from cutover.errors import LeaseUnavailable
from cutover.foreign import text_of
from cutover.phases.context import Context
from cutover.phases.evidence import import_preview, quiet_windows, upcoming
from cutover.phases.evidence.import_preview import ImportPreview
from cutover.phases.facts import State, read
from cutover.phases.gates import installation
from cutover.phases.gates.imported import importable
from cutover.phases.report import Outcome, Report, all_hold, command, plain
from cutover.phases.wording import inline, instant, span
from cutover.plural import counted
from cutover.schedules import columns, rows
from cutover.schedules.columns import Values
from cutover.schedules.refusals import EntriesRefused
from cutover.types import CatchUp, EntryName, Side

NAME = "plan"
_CHECKED: Final = {
    Outcome.DONE: "Nothing is left to do.",
    Outcome.CHANGES: "Something is left to do (--check: exit code 2).",
    Outcome.FAILED: "What has a cross above is in the way of this plan (--check: exit code 1).",
}

_OTHERS: Final = (
    "row is enabled that the code has no entry for, and is",
    "rows are enabled that the code has no entry for, and are",
)
_UNKNOWN: Final = "When these intervals fall due is not known, so a window may hold slots of theirs: {}."


def run(context: Context, *, check: bool = False) -> Report:
    """Show what is to come. What phase 2 would refuse has a cross.

    Always done, whatever it finds; with ``check`` failed where something has a cross, and changes where something is
    left to do.
    """
    state = read(context)
    try:
        found = import_preview.take(context)
    except EntriesRefused as exc:
        unread = ["The code schedule cannot be read."]
        outcome = Outcome.FAILED if check else Outcome.DONE
        return Report(NAME, outcome, importable(exc.refusals), unread, command(NAME))
    now = context.ledger.fence.read_now()
    context.progress("computing what falls due")
    ahead = upcoming.read(context, state.side, now)
    due = ahead.next_slots()
    soonest = sorted((at, name) for name, at in due.items())[:5]
    quiet = ahead.quiet(now, now + quiet_windows.AHEAD)
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
        "changes": _changes(state, entries),
    }
    lines = [line for entry in entries for line in _entry_lines(entry, due, ahead.unknown)]
    lines += [f"{other['name']}: {other['task']}, no entry of the code" for other in data["other_rows"]]
    every = [entry["name"] for entry in entries if entry["catch_up"] == CatchUp.ALL]
    lines += [f"After a gap every slot is sent of {inline(every, ', ')}: {_bounds(context, every)}."] if every else []
    next_lines = [f"    {instant(at)} {name}" for at, name in soonest]
    lines += ["", f"Next, from the {state.side} side:", *next_lines] if next_lines else ["", "Nothing falls due."]
    lines += quiet_windows.lines(quiet)
    lines += [_UNKNOWN.format(inline(sorted(ahead.unknown), ", "))] if quiet and ahead.unknown else []
    lines += ["", *_phases(context, state, data)]
    checks = importable([refusal for name in found.entries for refusal in found.refusals.get(name, [])])
    if state.side is Side.CODE:
        checks.append(installation.sent_schedule(context, patient=False))
    outcome = Outcome.DONE
    if check:
        outcome = Outcome.FAILED if not all_hold(checks) else Outcome.CHANGES if data["changes"] else outcome
        lines.append(_CHECKED[outcome])
    return Report(NAME, outcome, checks, lines, command(state.following), "", data)


def _changes(state: State, entries: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What is left to do: each phase that is not done, and before the switch the rows that phase 2 would write."""
    left = {f"phase{number}": 0 for number in range(state.phase + 1, 5)}
    if not state.is_begun and (rows_to_write := sum(entry["row"] in {"create", "update"} for entry in entries)):
        left["phase2"] = rows_to_write
    if state.is_begun and not state.is_switched:
        left.setdefault("rollback" if state.phase >= 3 else "phase3", 0)
    return [{"phase": phase, "rows": count} for phase, count in sorted(left.items())]


def _bounds(context: Context, names: Sequence[EntryName]) -> str:
    """Of how many slots at most, and how old they may be."""
    rules = {context.config.catch_up_rule(name) for name in names}
    return inline(sorted(f"the latest {rule.most} of those up to {span(rule.window)} old" for rule in rules), " or ")


def _entry(found: ImportPreview, name: EntryName, due_at: dt.datetime | None) -> dict[str, Any]:
    drafted, row, entry = found.drafted.get(name), found.present.get(name), found.entries[name]
    refusals = found.refusals.get(name, [])
    differing = rows.differing(drafted.row, row) if drafted is not None and row is not None else {}
    words, overlay = text_of(entry.schedule), []
    if drafted is not None:
        relative = ["relative"] if drafted.relative else []
        words = ", ".join([_in_words(drafted.row.schedule), *relative])
        overlay = [*sorted(drafted.options), *relative]  # by name: the values may be secret
    return {
        "name": name,
        "task": text_of(entry.task),
        "schedule": words,
        "next_due_at": due_at.isoformat() if due_at is not None else None,
        "catch_up": found.config.catch_up_rule(name).policy.value,
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


def _entry_lines(
    found: Mapping[str, Any], due: Mapping[EntryName, dt.datetime], unknown: Collection[EntryName]
) -> list[str]:
    row = {
        "create": "phase 2 creates its row, disabled",
        "equal": "its row is equal" + (", enabled" if found["enabled"] else ", disabled"),
        "update": "phase 2 brings its row up to date",
        "refused": "phase 2 refuses it, see above",
    }[found["row"]]
    otherwise = "not known, for no beat under the lease has sent it yet" if found["name"] in unknown else "never"
    next_due = instant(due[found["name"]]) if found["name"] in due else otherwise
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
    besides = f"; {counted(others, *_OTHERS)} sent from then on" if others else ""
    return [
        f"phase1{done[0]}: checks database, Redis, broker, clocks, processes and beats; {seen}.",
        f"phase2{done[1]}: creates {counted(count['create'], 'row')}, updates {count['update']}, refuses "
        f"{count['refused']}; then proves that both sides fire and send alike.",
        f"phase3{done[2]}: enables {counted(len(entries), 'row')} and switches from code to database in one "
        f"commit{besides}.",
        f"phase4{done[3]}: reads the ledger for every slot since the switch, one of each entry at least; closes it.",
        f"Plan {data['hash']}: phase2 and phase3 take it as --plan {data['hash']}, and refuse once it no longer fits.",
        state.in_words(),
    ]
