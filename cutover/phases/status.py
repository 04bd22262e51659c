"""How the cutover and its beats stand; each part as far as Redis and the database let it be told."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from typing import Any, Final

from cutover import clock, models
from cutover.errors import CutoverError
from cutover.ledger.database import outages
from cutover.phases.context import Context
from cutover.phases.evidence import silence
from cutover.phases.evidence.lateness import overdue, stuck
from cutover.phases.evidence.unsendable import unknown_tasks, unsendable
from cutover.phases.facts import read
from cutover.phases.gates.conditions import SHOWN
from cutover.phases.operations.journal import at_work_now
from cutover.phases.report import Outcome, Report, command
from cutover.types import Side, SlotState

NAME = "status"
RECENT: Final = 10
_DAY: Final = dt.timedelta(days=1)


def run(context: Context, check: bool = False) -> Report:
    """The present status. With ``check`` the outcome is failed unless the active side is led and nothing is overdue."""
    data: dict[str, Any] = {"now": clock.now().isoformat(), "problems": []}
    for part in (_cutover, _leader, _slots, _unsendable, _overdue, _unmanaged):
        _gather(part, context, data)
    _judge(data)
    failed = check and bool(data["problems"])
    lines = [*_lines(data), *(f"Problem: {problem}" for problem in data["problems"])]
    if check and not failed:
        lines.append("Healthy: the active side is led and nothing is overdue.")
    return Report(NAME, Outcome.FAILED if failed else Outcome.DONE, (), lines, _following(data), "", data)


def _gather(part: Callable[[Context, dict[str, Any]], None], context: Context, data: dict[str, Any]) -> None:
    try:
        part(context, data)
    except CutoverError as exc:
        said = " ".join(str(exc).split())  # a driver's words may take several lines
        if said not in data["problems"]:
            data["problems"].append(said)


def _cutover(context: Context, data: dict[str, Any]) -> None:
    state = read(context)
    data |= {
        "phase": state.phase,
        "side": state.side.value,
        "epoch": int(state.fence.epoch),
        "switched_at": _iso(state.fence.switched_at),
        "stands": state.in_words(),
    }
    with outages(context.alias):
        row = models.Cutover.objects.using(context.alias).get(id=1)
        terms = list(models.Term.objects.using(context.alias).order_by("-epoch")[:2])
    data["operator"] = at_work_now(row) or None
    data["term"] = _term(terms[0]) if terms else None
    data["last_handover_ms"] = _handover_ms(terms)


def _leader(context: Context, data: dict[str, Any]) -> None:
    held = context.lease.view()
    beats = context.lease.beats()
    data["lease"] = None
    if held is not None:
        data["lease"] = {
            "holder": held.holder,
            "side": held.side.value,
            "remaining_s": round(held.remaining.total_seconds(), 1),
            "connected": context.lease.is_connected(held.client_id),
        }
    data["beats"] = [
        {
            "holder": beat.holder,
            "side": beat.side.value,
            "host": beat.host,
            "pid": beat.pid,
            "release": beat.release,
            "role": beat.role,
            "warm": beat.warm,
            "entries": beat.entries,
            "seen_ago_s": round(beat.seen_ago.total_seconds(), 1),
        }
        for beat in beats
    ]
    data["standbys"] = sum(1 for beat in beats if beat.role != "leader")


def _slots(context: Context, data: dict[str, Any]) -> None:
    with outages(context.alias):
        slots = models.Slot.objects.using(context.alias)
        recent = list(slots.order_by("-due_at", "entry")[:RECENT])
        missed = slots.filter(state=SlotState.MISSED, due_at__gt=clock.now() - _DAY).order_by("-due_at", "entry")
        lately = slots.filter(due_at__gt=clock.now() - _DAY, deduplicated__gt=0)
        data["slots"] = [_slot(slot) for slot in recent]
        data["missed"] = [_slot(slot) for slot in missed[: 10 * RECENT]]
        data["unpublished"] = slots.filter(state=SlotState.CLAIMED).count()
        data["deduplicated"] = sum(lately.values_list("deduplicated", flat=True))


def _overdue(context: Context, data: dict[str, Any]) -> None:
    side = Side(data["side"]) if "side" in data else None
    late = overdue(context, side) if side else []
    data["stuck"] = stuck(context, side, data.get("unsendable", {})) if side else []
    data["overdue"] = [{"entry": name, "due_at": due_at.isoformat()} for name, due_at in late]


def _unsendable(context: Context, data: dict[str, Any]) -> None:
    if "side" in data:
        data["unsendable"] = unsendable(context, Side(data["side"]))
        data["unknown_tasks"] = unknown_tasks(context, Side(data["side"]))


def _unmanaged(context: Context, data: dict[str, Any]) -> None:
    data["unmanaged_beats"] = [
        {
            "origin": beat.origin,
            "last_heard_at": beat.last_heard_at.isoformat(),
            "silent_at": beat.silent_at.isoformat(),
        }
        for beat in silence.alive(context)
    ]


def _judge(data: dict[str, Any]) -> None:
    problems: list[str] = data["problems"]
    held = data.get("lease")
    if "lease" in data and "side" in data:
        if held is None or held["side"] != data["side"]:
            problems.append(f"nobody leads for the {data['side']} side")
        elif held["connected"] is False:
            problems.append(f"the leader {held['holder']} has lost its connection to Redis")
    for late in data.get("overdue", []):
        problems.append(f"{late['entry']} is overdue since {late['due_at']}")
    unsent = [f"{name} is not sent: {why}" for name, why in data.get("unsendable", {}).items()]
    problems += unsent[:SHOWN]
    problems += [f"{len(unsent) - SHOWN} more entries are not sent"] if len(unsent) > SHOWN else []
    problems += data.get("stuck", [])
    problems += [f"a beat without the lease was heard: {beat['origin']}" for beat in data.get("unmanaged_beats", [])]
    data["healthy"] = not problems


def _lines(data: dict[str, Any]) -> list[str]:
    lines = []
    if "phase" in data:
        lines += [f"Cutover   {data['stands']} Epoch {data['epoch']}."]
        if data["switched_at"]:
            lines += [f"Switched  {data['switched_at']}"]
        if data["operator"]:
            lines += [f"At work   {data['operator']}"]
        if term := data["term"]:
            ended = f", ended {term['ended_at']} ({term['end_reason']})" if term["ended_at"] else ""
            lines += [
                f"Term      epoch {term['epoch']}, {term['side']}, {term['holder']}, since {term['started_at']}{ended}"
            ]
        if data["last_handover_ms"] is not None:
            lines += [f"Handover  the last one left {data['last_handover_ms']} ms without a leader"]
    if "lease" in data:
        held = data["lease"]
        lines += [f"Leader    {held['holder']} ({held['side']})" if held else "Leader    nobody"]
        lines += [f"Beat      {_beat_line(beat)}" for beat in data["beats"]]
    if "slots" in data:
        lines += [f"Slot      {_slot_line(slot)}" for slot in data["slots"]]
        lines += [f"Missed    {_slot_line(slot)}" for slot in data["missed"][:RECENT]]
        lines += [
            f"Counts    {data['unpublished']} claimed and not published; in the last day {len(data['missed'])} missed, "
            f"{data['deduplicated']} further messages deduplicated"
        ]
    lines += [
        f"Unknown   {name} names the task {task}, which this project does not register: its workers drop it"
        for name, task in data.get("unknown_tasks", {}).items()
    ]
    lines += [
        f"Unmanaged {beat['origin']}, heard at {beat['last_heard_at']}" for beat in data.get("unmanaged_beats", [])
    ]
    return lines


def _beat_line(beat: Mapping[str, Any]) -> str:
    release = f", release {beat['release']}" if beat["release"] else ""
    warm = "" if beat["warm"] else ", not warm"
    place = f"{beat['host']}:{beat['pid']}{release}"
    return f"{beat['side']} {beat['role']} {place}{warm}, {beat['entries']} entries, seen {beat['seen_ago_s']} s ago"


def _slot_line(slot: Mapping[str, Any]) -> str:
    run = f", run by {slot['run_by']}" if slot["run_by"] else ""
    reason = f": {slot['reason']}" if slot["reason"] else ""
    return f"{slot['due_at']} {slot['entry']} {slot['state']} by {slot['side']}{run}{reason}"


def _following(data: Mapping[str, Any]) -> str:
    phase = data.get("phase")
    return command(f"phase{phase + 1}") if isinstance(phase, int) and phase < 4 else ""


def _slot(slot: models.Slot) -> dict[str, Any]:
    return {
        "entry": slot.entry,
        "due_at": slot.due_at.isoformat(),
        "epoch": slot.epoch,
        "side": slot.side,
        "state": slot.state,
        "published_at": _iso(slot.published_at),
        "run_started_at": _iso(slot.run_started_at),
        "run_by": slot.run_by,
        "deduplicated": slot.deduplicated,
        "passed_over": slot.passed_over,
        "reason": slot.reason,
    }


def _term(term: models.Term) -> dict[str, Any]:
    return {
        "epoch": term.epoch,
        "side": term.side,
        "holder": term.holder,
        "started_at": term.started_at.isoformat(),
        "first_tick_at": _iso(term.first_tick_at),
        "ended_at": _iso(term.ended_at),
        "end_reason": term.end_reason,
    }


def _handover_ms(terms: list[models.Term]) -> int | None:
    """From the end of the term before to the first tick of the present one; None while either is not known."""
    if len(terms) < 2 or terms[0].first_tick_at is None or terms[1].ended_at is None:
        return None
    gap: dt.timedelta = terms[0].first_tick_at - terms[1].ended_at
    return max(0, gap // dt.timedelta(milliseconds=1))


def _iso(at: dt.datetime | None) -> str | None:
    return at.isoformat() if at is not None else None
