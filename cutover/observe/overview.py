"""Everything there is to see of a site, as plain JSON and as records of its entries.

Each part as far as Redis and the database give an answer.
"""

import datetime as dt
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from django.db.models import QuerySet

from cutover import clock, models
from cutover.errors import ConfigurationError, CutoverError, LedgerUnavailable
from cutover.ledger.database import outages
from cutover.ledger.fence import AHEAD, SUCCEEDED
from cutover.ledger.pauses import Pause
from cutover.observe import entries
from cutover.observe.conditions import Condition
from cutover.observe.entries import WITH_PASSED_OVER, EntryRecord
from cutover.phases.context import Context
from cutover.phases.evidence import detection, leading, pauses, side, unmanaged_beats, unstarted, waits_and_guards
from cutover.phases.evidence.lateness import MISSED, early, stuck
from cutover.phases.evidence.sent import without_entry, without_row
from cutover.phases.evidence.side import Sending
from cutover.phases.evidence.unstarted import Patience
from cutover.phases.facts import read
from cutover.phases.gates.servers import database_ahead
from cutover.phases.report import plain
from cutover.phases.wording import one_line
from cutover.schedules.project import load_tasks
from cutover.types import EntryName, Side, SlotState

RECENT: Final = 10
"""How many of the latest slots are read; and ten times as many of the missed."""
SILENT_S: Final = 2.0
"""After how long without an answer a database is asked nothing more: each further question would wait as long."""
TERM: Final = "epoch side holder started_at first_tick_at seen_at ended_at end_reason"
HEARD: Final = "origin last_heard_at silent_at probably"
SLOTLESS: Final = "task origin messages at_slots first_seen_at last_seen_at"
BEAT: Final = "holder side host pid release celery warm entries"
SLOT: Final = (
    "entry due_at epoch side state published_at run_started_at run_ended_at outcome error run_by deduplicated "
    "passed_over reason"
)
LAST: Final = "due_at state published_at started_at ended_at outcome error worker"

Data = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Seen:
    """What was read by ``at``: ``data`` as JSON, and the active side's entries, worst first; None where not read."""

    at: dt.datetime
    data: Data
    entries: Sequence[EntryRecord] | None


@dataclass(slots=True)
class _Taken:
    """What the parts have read so far."""

    data: Data
    deduplicated: Counter[str] = field(default_factory=Counter)
    sending: Sending | None = None
    entries: Sequence[EntryRecord] | None = None
    pauses: Sequence[Pause] = ()
    only: EntryName | None = None


def take(context: Context) -> Seen:
    """Read everything. A part that could not be read is left out, and ``not_read`` has the reason, once."""
    parts = (_cutover, _pauses, _leader, _slots, _sending, _without_row, _entries, _late, _unmanaged)
    return _taken(context, parts, None)


def take_entry(context: Context, entry: EntryName) -> Seen:
    """Read what there is to say of one entry: ``entries`` has its record, if it is one; ``data`` is of it alone.

    What it costs does not grow with the number of entries whose rows are sent.
    """
    return _taken(context, (_cutover, _pauses, _deduplicated, _sending, _without_row, _entries), entry)


def _taken(context: Context, parts: Sequence[Callable[[Context, "_Taken"], None]], only: EntryName | None) -> Seen:
    data: Data = {"now": clock.now().isoformat(), "not_read": []}
    taken = _Taken(data, only=only)
    is_silent = False
    for part in parts:
        if is_silent and (part is not _leader or "side" in data):  # then that one asks the database, too
            continue
        began_s = clock.monotonic_s()
        try:
            part(context, taken)
        except CutoverError as exc:
            took_s = clock.monotonic_s() - began_s
            is_silent = is_silent or (isinstance(exc, LedgerUnavailable) and took_s >= SILENT_S)
            said = f"{one_line(exc)} -> {exc.remedy}" if exc.remedy else one_line(exc)
            if said not in data["not_read"]:
                data["not_read"].append(said)
    return Seen(clock.now(), data, taken.entries)


def _cutover(context: Context, taken: _Taken) -> None:
    data = taken.data
    state = read(context)
    data |= {
        "phase": state.phase,
        "side": state.side.value,
        "epoch": int(state.fence.epoch),
        "summary": state.in_words(),
        "operator": state.operator or None,
        **plain(state.fence, "switched_at guarded_since"),
        **plain(state, "parity_proved_at"),
    }
    age = state.parity_proved_at and state.fence.now - state.parity_proved_at
    data["parity_age_s"] = age and round(max(0.0, age.total_seconds()))
    data |= waits_and_guards.read(context, state).data(state)
    with outages(context.alias):
        terms = list(models.Term.objects.using(context.alias).order_by("-epoch")[:2])
    data["term"] = plain(terms[0], TERM) if terms else None
    data["last_gap_ms"] = data["last_gap_since"] = None
    if len(terms) == 2 and terms[0].first_tick_at and terms[1].ended_at:
        told = terms[1].end_reason != SUCCEEDED
        gap: dt.timedelta = terms[0].first_tick_at - (
            terms[1].ended_at if told else _seen_at(context, *reversed(terms))
        )
        data["last_gap_ms"] = max(0, gap // dt.timedelta(milliseconds=1))
        data["last_gap_since"] = "end" if told else "last sign of life"


def _pauses(context: Context, taken: _Taken) -> None:
    taken.pauses = context.ledger.pauses.read()
    taken.data["paused"] = pauses.as_json(taken.pauses)


def _seen_at(context: Context, term: models.Term, following: models.Term) -> dt.datetime:
    """The last sign of life of a term's leader: one that was killed did not say when."""
    with outages(context.alias):
        # Without the slots of the term that followed, which may have millions by now.
        until = following.started_at + AHEAD
        slots = models.Slot.objects.using(context.alias).filter(epoch__lte=term.epoch, due_at__lte=until)
        latest = slots.order_by("-due_at").first()
    sent = [latest.claimed_at, latest.published_at] if latest is not None and latest.epoch == term.epoch else []
    signs: list[dt.datetime | None] = [term.started_at, term.first_tick_at, term.seen_at, *sent]
    # What it had claimed and not published its successor has swept: that is no sign of its own.
    return max((at for at in signs if at is not None and at <= following.started_at), default=term.started_at)


def _leader(context: Context, taken: _Taken) -> None:
    data = taken.data
    held = context.lease.view()
    data["lease"] = held and {
        **plain(held, "holder side"),
        "remaining_s": round(held.remaining.total_seconds(), 1),
        "connected": context.lease.is_connected(held.client_id),
        "epoch": leading.epoch_of(context, held.holder) if "side" in data else None,
    }
    found = []
    for beat in context.lease.beats():
        leads = held is not None and beat.holder == held.holder
        role = "gone" if context.is_gone(beat.client_id) else "leader" if leads else "standby"
        seen = {"role": role, "seen_ago_s": round(beat.seen_ago.total_seconds(), 1)}
        found.append({**plain(beat, BEAT), **seen})
    data |= {"beats": found, "standbys": sum(1 for beat in found if beat["role"] == "standby")}
    if "side" in data:
        data["clock_ahead_s"] = round(database_ahead(context).total_seconds(), 1)
    if held is None or data["lease"]["connected"] is False:
        context.lease.probe()  # where Redis takes no writes, that is why


def _slots(context: Context, taken: _Taken) -> None:
    data = taken.data
    with outages(context.alias):
        slots = models.Slot.objects.using(context.alias).order_by("-due_at", "entry")
        today = slots.filter(due_at__gt=clock.now() - dt.timedelta(days=1))
        # By the key, which is in the index of instants: to go by the entry MySQL sorts all slots.
        recent = slots.order_by("-due_at", "-pk")[:RECENT]
        data["slots"] = [
            plain(slot, SLOT) for slot in sorted(recent, key=lambda one: (-one.due_at.timestamp(), one.entry))
        ]
        missed = today.filter(MISSED)
        data["missed"] = [plain(slot, SLOT) for slot in missed[: 10 * RECENT]]
        data["missed_total"] = missed.order_by().aggregate(of=WITH_PASSED_OVER)["of"]
        data["replay"] = {"waiting": context.ledger.replays.waiting()}
        data["unpublished"] = slots.filter(state=SlotState.CLAIMED).count()
    _deduplicated(context, taken)


def _deduplicated(context: Context, taken: _Taken) -> None:
    with outages(context.alias):
        today = _of(taken, context).filter(due_at__gt=clock.now() - dt.timedelta(days=1), deduplicated__gt=0)
        for entry, count in today.values_list("entry", "deduplicated"):
            taken.deduplicated[entry] += count
    taken.data["deduplicated"] = taken.deduplicated.total()


def _of(taken: _Taken, context: Context) -> QuerySet[models.Slot]:
    """The slots of the entry that is looked at, or of all."""
    slots = models.Slot.objects.using(context.alias)
    return slots if taken.only is None else slots.filter(entry=taken.only)


def _sending(context: Context, taken: _Taken) -> None:
    """Which entries cannot be sent as they are, and why; and the tasks that this project's workers drop."""
    data = taken.data
    if "side" not in data:
        return
    with outages(context.alias):
        noted = _of(taken, context).filter(state=SlotState.CLAIMED).exclude(reason="")
        found = dict(noted.order_by("due_at").values_list("entry", "reason"))  # as the leader could not send them
    unknown: dict[str, str] = {}
    data |= {"unsendable": found, "unknown_tasks": unknown}
    taken.sending = side.read(context, Side(data["side"]), taken.only)
    found |= {str(name): why for name, why in taken.sending.unsendable.items()}
    if taken.sending.side is Side.DATABASE:
        with suppress(ConfigurationError):
            load_tasks(context.app)
        known = context.app.tasks
        unknown |= {name: task for name, task in taken.sending.tasks.items() if task not in known}


def _without_row(context: Context, taken: _Taken) -> None:
    """What nothing sends: entries of code without a row, on the other side rows that were sent and have no entry.

    Before the end of the cutover the entries of the code side's last beat too.
    """
    data = taken.data
    if "side" in data:
        sending = taken.sending
        is_sent = taken.only is not None and sending is not None and taken.only in sending.schedules
        switched = data["side"] == Side.DATABASE and not is_sent
        rows = sending.tasks if sending is not None else ()
        data["without_row"] = without_row(context, declared=data["phase"] < 4, rows=rows) if switched else []
        data["without_entry"] = without_entry(context, taken.only) if data["side"] == Side.CODE else []


def _late(context: Context, taken: _Taken) -> None:
    data = taken.data
    data |= {"stuck": [], "unrecorded": None, "early": None}
    if "side" in data:
        data["early"] = early(context)
    if taken.sending is not None:
        patience = Patience.of(context, context.ledger.fence.read(), taken.sending.delays)
        data["stuck"] = stuck(context, data["unsendable"], patience)
        data["unrecorded"] = unstarted.before_asked(context, patience)


def _entries(context: Context, taken: _Taken) -> None:
    data = taken.data
    data["overdue"] = []
    if taken.sending is None:
        return
    named = (data["unsendable"], data.get("without_row", ()), data["unknown_tasks"])
    known = entries.Known(*named, taken.deduplicated, taken.pauses)
    taken.entries = entries.read(context, taken.sending, known, taken.only)
    late = [one for one in taken.entries if one.has(Condition.OVERDUE)]
    data["overdue"] = [{"entry": one.entry, "due_at": one.next_due and one.next_due.isoformat()} for one in late]


def as_json(record: EntryRecord) -> Data:
    """An entry as JSON; the keys are those of docs/public-api.md."""
    found = [{"condition": one.condition.value, "detail": one.detail} for one in record.findings]
    last = plain(record.last, LAST) if record.last else None
    return {
        **plain(record, "entry next_due"),
        "severity": record.severity.name.lower(),
        "last": last,
        "findings": found,
    }


def _unmanaged(context: Context, taken: _Taken) -> None:
    data = taken.data
    data["unmanaged_beats"] = [plain(beat, HEARD) for beat in unmanaged_beats.alive(context)]
    slotless = detection.slotless(context)[:RECENT]
    alike = detection.alike(context) if slotless else ()
    data["slotless"] = [{**plain(each, SLOTLESS), "sent_alike": each.task in alike} for each in slotless]
    unheard = detection.unheard(context)
    data |= {"unheard_tasks": [*unheard.tasks], "celery_of_workers": unheard.celery}
