"""Everything there is to see of a site, as plain JSON; each part as far as Redis and the database give an answer."""

import datetime as dt
from contextlib import suppress
from typing import Any, Final

from django_celery_beat.models import PeriodicTask

from cutover import clock, models
from cutover.errors import CutoverError
from cutover.ledger.database import outages
from cutover.ledger.fence import SUCCEEDED
from cutover.phases.context import Context
from cutover.phases.evidence import hearing, silence
from cutover.phases.evidence.lateness import early, overdue, stuck
from cutover.phases.evidence.sent import without_row
from cutover.phases.evidence.side import enabled_rows
from cutover.phases.facts import read
from cutover.phases.report import plain
from cutover.phases.wording import one_line
from cutover.schedules import overlay, rows
from cutover.schedules.refusals import unsendable
from cutover.types import Side, SlotState

RECENT: Final = 10
"""How many of the latest slots are read; and ten times as many of the missed."""
TERM: Final = "epoch side holder started_at first_tick_at seen_at ended_at end_reason"
HEARD: Final = "origin last_heard_at silent_at probably"
SLOTLESS: Final = "task origin messages at_slots first_seen_at last_seen_at"
BEAT: Final = "holder side host pid release warm entries"
SLOT: Final = "entry due_at epoch side state published_at run_started_at run_by deduplicated passed_over reason"

Data = dict[str, Any]


def take(context: Context) -> Data:
    """Read everything. A part that could not be read is left out, and ``not_read`` has the reason, once."""
    data: Data = {"now": clock.now().isoformat(), "not_read": []}
    for part in (_cutover, _leader, _slots, _unsendable, _without_row, _late, _unmanaged):
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
        "summary": state.in_words(),
        "operator": state.operator or None,
        **plain(state.fence, "switched_at"),
    }
    with outages(context.alias):
        terms = list(models.Term.objects.using(context.alias).order_by("-epoch")[:2])
    data["term"] = plain(terms[0], TERM) if terms else None
    data["last_gap_ms"] = data["last_gap_since"] = None
    if len(terms) == 2 and terms[0].first_tick_at and terms[1].ended_at:
        told = terms[1].end_reason != SUCCEEDED
        gap: dt.timedelta = terms[0].first_tick_at - (terms[1].ended_at if told else _seen_at(context, terms[1]))
        data["last_gap_ms"] = max(0, gap // dt.timedelta(milliseconds=1))
        data["last_gap_since"] = "end" if told else "last sign of life"


def _seen_at(context: Context, term: models.Term) -> dt.datetime:
    """The last sign of life of a term's leader: one that was killed did not say when."""
    with outages(context.alias):
        latest = models.Slot.objects.using(context.alias).filter(epoch__lte=term.epoch).order_by("-due_at").first()
    sent = [latest.claimed_at, latest.published_at] if latest is not None and latest.epoch == term.epoch else []
    signs: list[dt.datetime | None] = [term.started_at, term.first_tick_at, term.seen_at, *sent]
    return max(filter(None, signs))


def _leader(context: Context, data: Data) -> None:
    held = context.lease.view()
    data["lease"] = held and {
        **plain(held, "holder side"),
        "remaining_s": round(held.remaining.total_seconds(), 1),
        "connected": context.lease.is_connected(held.client_id),
    }
    data["beats"] = []
    for beat in context.lease.beats():
        leads = held is not None and beat.holder == held.holder
        role = "gone" if context.is_gone(beat.client_id) else "leader" if leads else "standby"
        seen = {"role": role, "seen_ago_s": round(beat.seen_ago.total_seconds(), 1)}
        data["beats"].append({**plain(beat, BEAT), **seen})
    data["standbys"] = sum(1 for beat in data["beats"] if beat["role"] == "standby")


def _slots(context: Context, data: Data) -> None:
    with outages(context.alias):
        slots = models.Slot.objects.using(context.alias).order_by("-due_at", "entry")
        today = slots.filter(due_at__gt=clock.now() - dt.timedelta(days=1))
        data["slots"] = [plain(slot, SLOT) for slot in slots[:RECENT]]
        data["missed"] = [plain(slot, SLOT) for slot in today.filter(state=SlotState.MISSED)[: 10 * RECENT]]
        data["unpublished"] = slots.filter(state=SlotState.CLAIMED).count()
        data["deduplicated"] = sum(today.filter(deduplicated__gt=0).values_list("deduplicated", flat=True))


def _unsendable(context: Context, data: Data) -> None:
    """Which entries cannot be sent as they are, and why; and the tasks that this project's workers drop."""
    if "side" not in data:
        return
    with outages(context.alias):
        noted = models.Slot.objects.using(context.alias).filter(state=SlotState.CLAIMED).exclude(reason="")
        found = dict(noted.order_by("due_at").values_list("entry", "reason"))  # as the leader could not send them
    unknown: dict[str, str] = {}
    data |= {"unsendable": found, "unknown_tasks": unknown}
    if data["side"] == Side.CODE:  # as its beat leaves them out
        refused = {name: unsendable(entry) for name, entry in context.entries.items()}
        found |= {name: f"it is left out: {' | '.join(map(str, why))}" for name, why in refused.items() if why}
    else:
        with outages(context.alias):
            enabled = rows.with_schedules(enabled_rows(context).order_by("name"))
            reader = overlay.Reader(context.app, overlay.load(context.alias))
        found |= {row.name: why for row in enabled if (why := _unfit(reader, row))}
        with suppress(ImportError):
            context.app.loader.import_default_modules()
        unknown |= {row.name: row.task for row in enabled if row.task not in context.app.tasks}


def _without_row(context: Context, data: Data) -> None:
    """Which entries of code nothing sends, once rows are sent; before the end of the cutover its last beat's too."""
    if "side" in data:
        switched = data["side"] == Side.DATABASE
        data["without_row"] = without_row(context, declared=data["phase"] < 4) if switched else []


def _unfit(reader: overlay.Reader, row: PeriodicTask) -> str:
    if row.scheduler is None:
        return "its row has no schedule"
    try:
        reader.schedule(row)
    except Exception as exc:  # written past the model's own checks
        return f"its row's schedule cannot be read: {exc}"
    why = rows.unreadable(row)
    return f"its row cannot be sent: {why}" if why else ""


def _late(context: Context, data: Data) -> None:
    data |= {"stuck": [], "overdue": [], "early": None}
    if "side" in data:
        data["early"] = early(context)
        late = overdue(context, side := Side(data["side"]))
        data["stuck"] = stuck(context, side, data.get("unsendable", ()))
        data["overdue"] = [{"entry": name, "due_at": due_at.isoformat()} for name, due_at in late]


def _unmanaged(context: Context, data: Data) -> None:
    data["unmanaged_beats"] = [plain(beat, HEARD) for beat in silence.alive(context)]
    data["slotless"] = [plain(each, SLOTLESS) for each in hearing.slotless(context)[:RECENT]]
    unheard = hearing.unheard(context)
    data |= {"unheard_tasks": [*unheard.tasks], "celery_of_workers": unheard.celery}
