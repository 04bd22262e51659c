"""Everything there is to see of a site, as plain JSON; each part as far as Redis and the database give an answer."""

import datetime as dt
from collections.abc import Sequence
from typing import Any, Final

from cutover import clock, models
from cutover.errors import CutoverError
from cutover.ledger.database import outages
from cutover.phases.context import Context
from cutover.phases.evidence import silence
from cutover.phases.evidence.lateness import overdue, stuck
from cutover.phases.evidence.unsendable import unknown_tasks, unsendable
from cutover.phases.facts import read
from cutover.phases.wording import one_line
from cutover.types import Side, SlotState

RECENT: Final = 10
"""How many of the latest slots are read; and ten times as many of the missed."""
BEAT: Final = "holder side host pid release role warm entries"
TERM: Final = "epoch side holder started_at first_tick_at ended_at end_reason"
SLOT: Final = "entry due_at epoch side state published_at run_started_at run_by deduplicated passed_over reason"
STUCK: Final = "state count entry due_at"
_DAY: Final = dt.timedelta(days=1)

Data = dict[str, Any]


def take(context: Context) -> Data:
    """Read everything. A part that could not be read is left out, and ``not_read`` has the reason, once."""
    data: Data = {"now": clock.now().isoformat(), "not_read": []}
    for part in (_cutover, _leader, _slots, _unsendable, _late, _unmanaged):
        try:
            part(context, data)
        except CutoverError as exc:
            if (said := one_line(exc)) not in data["not_read"]:
                data["not_read"].append(said)
    return data


def _cutover(context: Context, data: Data) -> None:
    state = read(context)
    data |= {
        "phase": state.phase,
        "side": state.side.value,
        "epoch": int(state.fence.epoch),
        "switched_at": _iso(state.fence.switched_at),
        "summary": state.in_words(),
        "operator": state.operator or None,
    }
    with outages(context.alias):
        terms = list(models.Term.objects.using(context.alias).order_by("-epoch")[:2])
    data["term"] = _fields(terms[0], TERM) if terms else None
    data["last_gap_ms"] = gap_ms(terms)


def _leader(context: Context, data: Data) -> None:
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
    data["beats"] = [{**_fields(beat, BEAT), "seen_ago_s": round(beat.seen_ago.total_seconds(), 1)} for beat in beats]
    data["standbys"] = sum(1 for beat in beats if beat.role != "leader")


def _slots(context: Context, data: Data) -> None:
    with outages(context.alias):
        slots = models.Slot.objects.using(context.alias).order_by("-due_at", "entry")
        today = slots.filter(due_at__gt=clock.now() - _DAY)
        data["slots"] = [_fields(slot, SLOT) for slot in slots[:RECENT]]
        missed = today.filter(state=SlotState.MISSED)[: 10 * RECENT]
        data["missed"] = [_fields(slot, SLOT) for slot in missed]
        data["unpublished"] = slots.filter(state=SlotState.CLAIMED).count()
        data["deduplicated"] = sum(today.filter(deduplicated__gt=0).values_list("deduplicated", flat=True))


def _unsendable(context: Context, data: Data) -> None:
    if "side" in data:
        data["unsendable"] = unsendable(context, Side(data["side"]))
        data["unknown_tasks"] = unknown_tasks(context, Side(data["side"]))


def _late(context: Context, data: Data) -> None:
    data |= {"stuck": [], "overdue": []}
    if "side" in data:
        side = Side(data["side"])
        late = overdue(context, side)
        data["stuck"] = [_fields(one, STUCK) for one in stuck(context, side, data.get("unsendable", {}))]
        data["overdue"] = [{"entry": name, "due_at": due_at.isoformat()} for name, due_at in late]


def _unmanaged(context: Context, data: Data) -> None:
    data["unmanaged_beats"] = [_fields(beat, "origin last_heard_at silent_at") for beat in silence.alive(context)]


def gap_ms(terms: Sequence[models.Term]) -> int | None:
    """From the end of the term before to the first tick of the present one; None while either is not known."""
    if len(terms) < 2 or terms[0].first_tick_at is None or terms[1].ended_at is None:
        return None
    gap: dt.timedelta = terms[0].first_tick_at - terms[1].ended_at
    return max(0, gap // dt.timedelta(milliseconds=1))


def _fields(record: object, names: str) -> Data:
    """These fields of a record, with instants as JSON has them; our enums are strings."""
    found = {name: getattr(record, name) for name in names.split()}
    return {name: _iso(value) if isinstance(value, dt.datetime) else value for name, value in found.items()}


def _iso(at: dt.datetime | None) -> str | None:
    return at.isoformat() if at is not None else None
