"""Runs of slots, as workers record them: who started which attempt of a slot's run first, and whether it has ended.

One conditional update decides which message of a slot runs; its fence is the slot's own row. The first message is
attempt 0; a task's retry is another attempt, and each attempt runs once.
"""

import datetime as dt
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from django.db import connections
from django.db.models import F, QuerySet

from cutover import clock, models
from cutover.ledger import bulk
from cutover.ledger.database import outages, transaction, tried_again
from cutover.ledger.fence import Fence
from cutover.types import EntryName, Epoch, RunOutcome, Sender, Slot, SlotState, Start

_TABLE: Final = models.Slot._meta.db_table
_FIELD: Final = {field.name: field for field in models.Slot._meta.concrete_fields}


_START: Final = (
    f"UPDATE {_TABLE} SET {{also}}run_attempt = %s, run_by = %s, run_started_at = COALESCE(run_started_at, %s),"  # noqa: S608 - ours
    f" outcome = '{RunOutcome.RUNNING}', run_ended_at = NULL, error = NULL,"
    f" published_at = CASE WHEN state = '{SlotState.MISSED}' THEN %s ELSE published_at END,"
    f" state = CASE WHEN state = '{SlotState.MISSED}' THEN '{SlotState.PUBLISHED}' ELSE state END"
    " WHERE entry = %s AND due_at = %s AND {is_open}"
)
"""Written out: Django takes ten times as long to work it out as the database to run it.

What runs was not missed, as of a message that a frozen leader publishes after its claim was given up. The state last:
MySQL assigns one after the other, and compares with what was assigned.
"""


@dataclass(frozen=True, slots=True)
class RunView:
    """A run: the mark of the worker that started its latest attempt, and whether that is known to have ended.

    ``worker`` is empty where none started, or where the one that did gave the message back. ``sender``: the beat
    without the lease, and the message, by which the run was started; empty for a leader's.
    """

    worker: str
    has_ended: bool
    sender: str
    attempt: int


@dataclass(frozen=True, slots=True)
class RunEnd:
    """How the attempt of a slot's run that is marked ``worker`` has ended, when, and why."""

    slot: Slot
    worker: str
    outcome: RunOutcome
    error: str = ""
    ended_at: dt.datetime = field(default_factory=clock.now)


class Runs:
    """The runs in one database. Every method raises LedgerUnavailable."""

    def __init__(self, alias: str, fence: Fence, namespace: str, retention: dt.timedelta) -> None:
        self._alias, self._fence = alias, fence
        self._slots = models.Slot.objects.using(alias)
        self._namespace, self._retention = namespace, retention

    @tried_again
    def start(self, slot: Slot, epoch: Epoch, worker: str, sender: Sender | None = None, attempt: int = 0) -> Start:
        """Mark an attempt (>= 0) of a slot's run as started by ``worker``, in one conditional update, won once.

        A slot that no leader claimed is recorded here, the unique (entry, due_at) admitting it once: it was sent by a
        beat without the lease (``sender``), or the ledger was put back from an older copy. TOO_OLD: the ledger may have
        forgotten it.
        """
        with outages(self._alias):
            if self._begin(slot, worker, sender, attempt):
                return Start.STARTED
            is_known = self._rows(slot).exists()
            if not is_known and slot.due_at < clock.now() - self._retention:
                return Start.TOO_OLD
            fresh = [] if is_known else [self._unclaimed(slot, epoch, sender)]
        with transaction(self._alias):
            # Asked once more: a claim, or another worker's record, may have been committed since.
            bulk.insert_new(self._alias, fresh, models.SLOT_KEY)
            return Start.STARTED if self._begin(slot, worker, sender, attempt) else Start.ALREADY_STARTED

    @tried_again
    def begin_cadence(self, slot: Slot, sender: Sender) -> None:
        """Record the first slot of an entry, as of a message of ``sender``, a beat without the lease.

        Nothing where it has a slot by now, or a leader has settled it: then its cadence has begun. Under the fence, as
        a leader settles entries, so that both count from the same instant.
        """
        with transaction(self._alias):
            self._fence.held()
            entries = models.Entry.objects.using(self._alias).filter(name=slot.entry, active=True)
            if not (entries.exists() or self._slots.filter(entry=slot.entry).exists()):
                bulk.insert_new(self._alias, [self._unclaimed(slot, Epoch(0), sender)], models.SLOT_KEY)

    @tried_again
    def end(self, ends: Sequence[RunEnd]) -> None:
        """Record how attempts have ended, in one statement; of no effect on a slot whose later attempt has started."""
        if not ends:
            return
        with outages(self._alias):
            connection = connections[self._alias]
            columns: dict[str, list[Any]] = {
                "run_ended_at": [end.ended_at for end in ends],
                "outcome": [end.outcome for end in ends],
                "error": [end.error or None for end in ends],
            }
            given: list[Any] = []
            for name, values in columns.items():
                for end, value in zip(ends, values, strict=True):
                    given += [end.worker, _FIELD[name].get_db_prep_save(value, connection)]
            for end in ends:
                given += [end.slot.entry, _FIELD["due_at"].get_db_prep_save(end.slot.due_at, connection), end.worker]
            # A mark is never given twice: it tells which end is a row's.
            cases = "WHEN %s THEN %s " * len(ends)
            sets = ", ".join(f"{name} = CASE run_by {cases}END" for name in columns)
            rows = " OR ".join(["(entry = %s AND due_at = %s AND run_by = %s)"] * len(ends))
            with connection.cursor() as cursor:
                cursor.execute(f"UPDATE {_TABLE} SET {sets} WHERE {rows}", given)  # noqa: S608 - names of ours

    def give_back(self, slot: Slot, worker: str, error: str = "", outcome: RunOutcome = RunOutcome.RETRIED) -> None:
        """Record that the attempt marked ``worker`` gave its message back to the broker, to be run once more.

        ``outcome`` FAILED: it may not come, so that the run has ended as long as it does not.
        """
        ended_at = clock.now() if outcome is RunOutcome.FAILED else None
        with outages(self._alias):
            rows = self._rows(slot).filter(run_by=worker)
            rows.update(run_by="", outcome=outcome, error=error or None, run_ended_at=ended_at)

    def read(self, slot: Slot) -> RunView:
        """Who started a slot's run, and whether it is known to have ended."""
        with outages(self._alias):
            found = self._rows(slot).values_list("run_by", "run_ended_at", "sender", "run_attempt")
            worker, ended_at, sender, attempt = next(iter(found), ("", None, None, 0))
        return RunView(worker, ended_at is not None and bool(worker), sender or "", attempt)

    def resume(self, slot: Slot, dead: str, worker: str) -> bool:
        """Make a slot's run that of ``worker``; False when somebody else was first.

        ``dead``: the mark of a run whose worker is gone, or of a start that got no answer, after which nothing ran;
        empty for a run that was given back.
        """
        with outages(self._alias):
            rows = self._rows(slot).filter(run_by=dead)
            rows = rows.filter(run_ended_at=None) if dead else rows
            started = {"run_started_at": clock.now(), "run_by": worker, "outcome": RunOutcome.RUNNING, "error": None}
            return bool(rows.update(**started, run_ended_at=None))

    def recorded(self, slots: Collection[Slot]) -> set[Slot]:
        """Those of ``slots`` (not empty, all of one entry, by whichever of its names) that the ledger has."""
        with outages(self._alias):
            return _slots(self._among(slots)).intersection(slots)

    def latest_for(self, origin: str, names: Collection[EntryName], since: dt.datetime) -> dt.datetime | None:
        """The latest slot from ``since`` on that a message of ``origin``, a beat without the lease, has started.

        ``names``: those that the entry has and had.
        """
        with outages(self._alias):
            rows = self._slots.filter(entry__in=names, due_at__gte=since, sender__startswith=f"{origin} ")
            return rows.order_by("-due_at").values_list("due_at", flat=True).first()

    def started_for(self, origin: str, slots: Collection[Slot]) -> set[Slot]:
        """Those of ``slots``, as for ``recorded``, whose run a message of ``origin``, as above, has started."""
        with outages(self._alias):
            return _slots(self._among(slots).filter(sender__startswith=f"{origin} ")).intersection(slots)

    def started_by(self, sender: Sender, names: Collection[EntryName]) -> Slot | None:
        """The slot of an entry, by whichever of its names, whose run this very message has started; None for none."""
        with outages(self._alias):
            return next(iter(_slots(self._slots.filter(sender=_named(sender), entry__in=names)[:1])), None)

    def count_deduplicated(self, slot: Slot) -> None:
        """Count a further message of a slot that was not run."""
        with outages(self._alias):
            self._rows(slot).update(deduplicated=F("deduplicated") + 1)

    @tried_again
    def record_heard(self, origin: str) -> None:
        """Remember that a beat without the lease was heard; by the database's clock, as it is judged."""
        now = self._fence.read_now()
        with outages(self._alias):
            beat = models.UnmanagedBeat(origin=origin, first_heard_at=now, last_heard_at=now)
            bulk.upsert(self._alias, beat, ["last_heard_at"])

    def _among(self, slots: Collection[Slot]) -> QuerySet[models.Slot]:
        instants = [slot.due_at for slot in slots]
        names = {slot.entry for slot in slots}
        return self._slots.filter(entry__in=names, due_at__range=(min(instants), max(instants)))

    def _rows(self, slot: Slot) -> QuerySet[models.Slot]:
        return self._slots.filter(entry=slot.entry, due_at=slot.due_at)

    def _unclaimed(self, slot: Slot, epoch: Epoch, sender: Sender | None) -> models.Slot:
        now = clock.now()
        reason = f"sent without the lease by {sender.origin}" if sender else "recorded by its run"
        return models.Slot(
            entry=slot.entry,
            due_at=slot.due_at,
            epoch=epoch,
            side=self._fence.read().side,
            state=SlotState.PUBLISHED,
            task_id=slot.task_id(self._namespace),
            claimed_at=now,
            published_at=now,
            reason=reason[: models.REASON_LENGTH],
        )

    def _begin(self, slot: Slot, worker: str, sender: Sender | None, attempt: int) -> bool:
        connection, stamp = connections[self._alias], _FIELD["due_at"].get_db_prep_save
        now, due_at = stamp(clock.now(), connection), stamp(slot.due_at, connection)
        also, given = ("sender = %s, ", [_named(sender)]) if sender else ("", [])
        is_open, tried = ("run_attempt < %s", [attempt]) if attempt else ("run_started_at IS NULL", [])
        values = [*given, attempt, worker, now, now, slot.entry, due_at, *tried]
        with connection.cursor() as cursor:
            cursor.execute(_START.format(also=also, is_open=is_open), values)
            return bool(cursor.rowcount)


def _named(sender: Sender) -> str:
    return str(sender)[: models.SENDER_LENGTH]


def _slots(rows: QuerySet[models.Slot]) -> set[Slot]:
    return {Slot(due_at, EntryName(entry)) for due_at, entry in rows.values_list("due_at", "entry")}
