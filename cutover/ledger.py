"""The ledger: fence, terms, entries and slots; the only writer of these tables, and where it is decided what is sent.

Every claim is one transaction that holds the fence row and demands the claimant's own epoch. So at most one leader's
claims are admitted at any time, and the unique (entry, due_at) admits each slot once. No clock is part of that. What
is NOT promised here: that a claimed slot was published (the sweep sees to that) or ran once (the run guard does).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Final

from django.db import DatabaseError, IntegrityError, InterfaceError, connections, transaction
from django.db.models import Count, F, Func, Max, QuerySet, TextField, Value

from cutover import bulk, clock, models
from cutover.errors import LedgerNotMigrated, LedgerUnavailable
from cutover.slots import Standing
from cutover.types import (
    Claim,
    EntryName,
    Epoch,
    HolderId,
    Identity,
    Missed,
    Side,
    Slot,
    SlotState,
    Start,
    Term,
)

_OVERLAP: Final = 1_000
"""How many slots before the last known one are read again: transactions may commit out of the order of their keys."""
_FEW: Final = 100
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_CLOCKS_APART: Final = dt.timedelta(minutes=1)
"""How long before the last known change of an entry changes are read again: the hosts' clocks may differ."""
_CLAIM_TRIES: Final = 3
_PATIENCE: Final = Func(
    Value("idle_in_transaction_session_timeout"),
    Value("2000"),
    Value(True),
    function="set_config",
    output_field=TextField(),
)
"""A holder of the fence that falls silent, frozen or cut off, loses it: PostgreSQL ends its session after 2 s."""


@dataclass(frozen=True, slots=True)
class FenceView:
    """The fence as it was read: the current epoch, the active side, and since when that side is active."""

    epoch: Epoch
    side: Side
    switched_at: dt.datetime | None


@dataclass(frozen=True, slots=True)
class Unpublished:
    """A claim without confirmation; ``superseded`` when a newer slot of the same entry stands in the ledger."""

    slot: Slot
    epoch: Epoch
    superseded: bool


@dataclass(frozen=True, slots=True)
class RunView:
    """A run: the worker that started it (empty for none), and whether it is known to have ended."""

    worker: str
    has_ended: bool


@dataclass(frozen=True, slots=True)
class _Known:
    """One entry as the ledger has it."""

    fingerprint: str
    owed_from: dt.datetime
    active: bool = True


class Ledger:
    """The ledger in one database. Every method raises LedgerUnavailable (or LedgerNotMigrated) when there is none."""

    def __init__(self, alias: str, namespace: str, retention: dt.timedelta) -> None:
        self._alias = alias
        self._namespace = namespace
        self._retention = retention
        self._entries: dict[EntryName, _Known] = {}
        self._entries_version = 0
        self._entry_changes: dict[dt.datetime, int] = {}

    # --- the fence --------------------------------------------------------------------------------------------------

    def fence(self) -> FenceView:
        """The fence, read without a lock: good for deciding whether to stand, never for deciding what to send."""
        with self._database():
            return _fence_view(models.Fence.objects.using(self._alias).get())

    def open_term(self, who: Identity, side: Side) -> Term | None:
        """Raise the epoch and begin a leadership, in one commit; None when ``side`` is not the active one."""
        now = clock.now()
        with self._transaction():
            fence = self._locked_fence()
            if fence.side != side:
                return None
            epoch = fence.epoch + 1
            models.Fence.objects.using(self._alias).update(epoch=epoch)
            models.Term.objects.using(self._alias).filter(ended_at=None).update(ended_at=now, end_reason="succeeded")
            models.Term.objects.using(self._alias).create(
                epoch=epoch,
                side=side,
                holder=who.holder,
                host=who.host,
                pid=who.pid,
                release=who.release,
                started_at=now,
            )
        return Term(Epoch(epoch), side, who.holder)

    def first_tick(self, term: Term) -> None:
        """Record that the leader of ``term`` has completed its first tick."""
        with self._database():
            rows = models.Term.objects.using(self._alias).filter(epoch=term.epoch, first_tick_at=None)
            rows.update(first_tick_at=clock.now())

    def end_term(self, term: Term, reason: str) -> None:
        """Record why a leadership ended; the first reason stays."""
        with self._database():
            rows = models.Term.objects.using(self._alias).filter(epoch=term.epoch, ended_at=None)
            rows.update(ended_at=clock.now(), end_reason=reason)

    def switch(self, to: Side) -> Epoch:
        """Make ``to`` the active side and raise the epoch, in one commit, which ends the other side's claims.

        Already there: changes nothing. Returns the epoch of the fence.
        """
        with self._transaction():
            fence = self._locked_fence()
            if fence.side == to:
                return Epoch(fence.epoch)
            epoch = fence.epoch + 1
            now = clock.now()
            models.Fence.objects.using(self._alias).update(epoch=epoch, side=to, switched_at=now)
            models.Term.objects.using(self._alias).filter(ended_at=None).update(
                ended_at=now, end_reason=f"switched to {to}"
            )
        return Epoch(epoch)

    def term_since(self, epoch: Epoch) -> models.Term | None:
        """The newest term whose epoch is at least ``epoch``; None when nobody has led since."""
        with self._database():
            return models.Term.objects.using(self._alias).filter(epoch__gte=epoch).first()

    # --- claims -----------------------------------------------------------------------------------------------------

    def claim(self, term: Term, slots: Sequence[Slot], missed: Sequence[Missed] = ()) -> dict[Slot, Claim]:
        """Claim ``slots`` and record ``missed`` ones, in one commit under the fence; one row comes of each slot.

        When the fence does not admit ``term`` every outcome is FENCED and nothing is written.
        """
        oldest = clock.now() - self._retention
        outcomes = {slot: Claim.TOO_OLD for slot in slots if slot.due_at < oldest}
        wanted = [slot for slot in slots if slot not in outcomes]
        for attempt in range(_CLAIM_TRIES):
            try:
                with self._transaction():
                    if not self._admits(term):
                        return dict.fromkeys(slots, Claim.FENCED)
                    rows = [self._row(term, slot, SlotState.CLAIMED) for slot in wanted]
                    rows += [self._row(term, m.slot, SlotState.MISSED, m.reason, m.covers) for m in missed]
                    taken = self._insert(rows)
                break
            except IntegrityError as exc:
                # A worker recorded one of these slots in between, without the fence; see it and go round.
                if attempt == _CLAIM_TRIES - 1:
                    raise LedgerUnavailable("The same slots are being recorded again and again; trying later.") from exc
        outcomes.update({s: Claim.ALREADY_CLAIMED if s in taken else Claim.CLAIMED for s in wanted})
        return outcomes

    def confirm(self, slots: Iterable[Slot]) -> None:
        """Record that these claimed slots' messages were handed to the broker. True whoever leads by now."""
        wanted = list(slots)
        if not wanted:
            return
        with self._database():
            rows = models.Slot.objects.using(self._alias).filter(
                due_at__in={s.due_at for s in wanted},
                task_id__in=[s.task_id(self._namespace) for s in wanted],
                state=SlotState.CLAIMED,
            )
            rows.update(state=SlotState.PUBLISHED, published_at=clock.now())

    def give_up(self, term: Term, reasons: Mapping[Slot, str]) -> bool:
        """Record claimed slots that will never be published, each with its reason; False when fenced."""
        with self._transaction():
            if not self._admits(term):
                return False
            for slot, reason in reasons.items():
                self._slot_rows(slot).filter(state=SlotState.CLAIMED).update(state=SlotState.MISSED, reason=reason)
        return True

    def unpublished(self) -> list[Unpublished]:
        """Claims without confirmation, oldest first."""
        with self._database():
            rows = list(
                models.Slot.objects.using(self._alias).filter(state=SlotState.CLAIMED).order_by("due_at", "entry")
            )
            newest = dict(
                models.Slot.objects.using(self._alias)
                .filter(entry__in={r.entry for r in rows})
                .values_list("entry")
                .annotate(Max("due_at"))
                .order_by()
            )
        return [
            Unpublished(Slot(r.due_at, EntryName(r.entry)), Epoch(r.epoch), newest[r.entry] > r.due_at) for r in rows
        ]

    # --- where entries stand ----------------------------------------------------------------------------------------

    def last_slots(self, since_id: int = 0) -> tuple[dict[EntryName, dt.datetime], int]:
        """Each entry's latest slot among those recorded after ``since_id``, and the id to go on from."""
        with self._database():
            rows = models.Slot.objects.using(self._alias).filter(pk__gt=max(0, since_id - _OVERLAP))
            latest = rows.values_list("entry").annotate(Max("due_at"), Max("pk")).order_by()
            found = list(latest)
        last = {EntryName(entry): due_at for entry, due_at, _ in found}
        return last, max((pk for _, _, pk in found), default=since_id)

    def owed_from(
        self, term: Term, fingerprints: Mapping[EntryName, str], records: Mapping[EntryName, dt.datetime]
    ) -> dict[EntryName, dt.datetime] | None:
        """Since when slots are owed to each entry of the schedule; remembers entries that are new, changed or gone.

        An entry that is new, is there again, or has another schedule than before is owed nothing from before now; a new
        one starts from its own old record in ``records`` where it has one. None when fenced.
        """
        now = clock.now()
        with self._transaction():
            if not self._admits(term):
                return None
            self._learn_entries()
            changes = dict(_entry_changes(self._entries, fingerprints, records, now))
            made = [models.Entry(name=n, changed_at=now, **asdict(known)) for n, known in changes.items()]
            bulk.insert(self._alias, [entry for entry in made if entry.name not in self._entries])
            fields = ("fingerprint", "active", "owed_from", "changed_at")
            bulk.update(self._alias, [entry for entry in made if entry.name in self._entries], fields)
        self._entries.update(changes)
        self._entries_version += bool(changes)
        return {name: self._entries[name].owed_from for name in fingerprints}

    def entries_version(self) -> int:
        """A number that differs once something has changed in what the ledger knows of the entries."""
        with self._database():
            self._learn_entries()
        return self._entries_version

    def owed_alike(self, fingerprints: Mapping[EntryName, str]) -> dict[EntryName, dt.datetime]:
        """Since when slots are owed to those entries that the ledger was known to have with the same schedule."""
        return {
            name: known.owed_from
            for name, fingerprint in fingerprints.items()
            if (known := self._entries.get(name)) is not None and known.active and known.fingerprint == fingerprint
        }

    def _learn_entries(self) -> None:
        """Read what has changed of the entries since the last time, so that taking office need not read them all."""
        rows = models.Entry.objects.using(self._alias)
        if not self._entries or rows.count() != len(self._entries):
            self._entries, self._entry_changes = {}, {}
        # What one transaction wrote has one `changed_at`; those that are known in full need not be read again.
        since = max(self._entry_changes, default=_EPOCH) - _CLOCKS_APART
        changes = dict(rows.filter(changed_at__gt=since).values_list("changed_at").annotate(Count("pk")).order_by())
        unknown = [at for at, count in changes.items() if self._entry_changes.get(at) != count]
        columns = ("name", "fingerprint", "owed_from", "active")
        if len(unknown) > _FEW:
            unread = rows.filter(changed_at__gt=since)
        else:
            unread = rows.filter(changed_at__in=unknown) if unknown else rows.none()
        for name, *rest in unread.values_list(*columns):
            known = _Known(*rest)
            if self._entries.get(name) != known:
                self._entries[EntryName(name)] = known
                self._entries_version += 1
        self._entry_changes |= changes

    def last_slot(self, entry: EntryName) -> dt.datetime | None:
        """The entry's latest slot; None before the first."""
        with self._database():
            rows = models.Slot.objects.using(self._alias).filter(entry=entry)
            return rows.values_list("due_at", flat=True).order_by("-due_at").first()

    def standings(self) -> dict[EntryName, Standing]:
        """Where every entry stands that the ledger knows of."""
        last, _ = self.last_slots()
        with self._database():
            entries = list(models.Entry.objects.using(self._alias).values_list("name", "owed_from"))
        return {EntryName(n): Standing(last.get(EntryName(n)), owed) for n, owed in entries}

    # --- runs -------------------------------------------------------------------------------------------------------

    def start_run(self, slot: Slot, epoch: Epoch, worker: str, origin: str = "") -> Start:
        """Mark a slot's run as started by ``worker``, in one conditional update; its only winner runs.

        A slot that no leader claimed is recorded here, the unique (entry, due_at) admitting it once: it was sent by a
        beat without the lease (``origin``), or the ledger was put back from an older copy. TOO_OLD: the ledger may have
        forgotten it.
        """
        now = clock.now()
        if self._begin_run(slot, worker):
            return Start.STARTED
        if self._is_known(slot):
            # Asked once more: its claim may have been committed between the two questions.
            return Start.STARTED if self._begin_run(slot, worker) else Start.ALREADY_STARTED
        if slot.due_at < now - self._retention:
            return Start.TOO_OLD
        reason = f"sent without the lease by {origin}" if origin else "recorded by its run"
        row = self._row(Term(epoch, self.fence().side, HolderId(worker)), slot, SlotState.PUBLISHED, reason)
        row.published_at = row.run_started_at = now
        row.run_by = worker
        try:
            with self._transaction():
                row.save(using=self._alias, force_insert=True)
        except IntegrityError:
            return Start.STARTED if self._begin_run(slot, worker) else Start.ALREADY_STARTED
        return Start.STARTED

    def end_run(self, slot: Slot, process: str) -> None:
        """Record that the run that a worker process (the end of its mark) started has ended, well or badly."""
        with self._database():
            self._slot_rows(slot).filter(run_by__endswith=process).update(run_ended_at=clock.now())

    def run(self, slot: Slot) -> RunView:
        """Who started a slot's run, and whether it is known to have ended."""
        with self._database():
            found = self._slot_rows(slot).values_list("run_by", "run_ended_at").first()
        return RunView(found[0], found[1] is not None) if found else RunView("", False)

    def resume_run(self, slot: Slot, dead: str, worker: str) -> bool:
        """Hand a slot's run from a worker that is gone to another; False when somebody else was first."""
        with self._database():
            rows = self._slot_rows(slot).filter(run_by=dead, run_ended_at=None)
            return bool(rows.update(run_started_at=clock.now(), run_by=worker))

    def suppressed(self, slot: Slot) -> None:
        """Count a further message of a slot that was not run."""
        with self._database():
            self._slot_rows(slot).update(suppressed=F("suppressed") + 1)

    def heard(self, origin: str) -> None:
        """Remember that a beat without the lease was heard."""
        now = clock.now()
        with self._database():
            models.UnguardedBeat.objects.using(self._alias).update_or_create(
                origin=origin,
                defaults={"last_heard_at": now},
                create_defaults={"first_heard_at": now, "last_heard_at": now},
            )

    # --- keeping ----------------------------------------------------------------------------------------------------

    def prune(self, most: int) -> int:
        """Forget up to ``most`` slots older than the retention, but never an entry's latest; returns how many."""
        with self._transaction():
            old = models.Slot.objects.using(self._alias).filter(due_at__lt=clock.now() - self._retention)
            latest = models.Slot.objects.using(self._alias).values("entry").annotate(last=Max("due_at"))
            keep = {(row["entry"], row["last"]) for row in latest}
            gone = [
                pk
                for pk, *key in old.values_list("pk", "entry", "due_at")[: most + len(keep)]
                if tuple(key) not in keep
            ]
            deleted, _ = models.Slot.objects.using(self._alias).filter(pk__in=gone[:most]).delete()
        return deleted

    # --- within -----------------------------------------------------------------------------------------------------

    def _slot_rows(self, slot: Slot) -> QuerySet[models.Slot]:
        return models.Slot.objects.using(self._alias).filter(entry=slot.entry, due_at=slot.due_at)

    def _begin_run(self, slot: Slot, worker: str) -> bool:
        with self._database():
            rows = self._slot_rows(slot).filter(run_started_at=None)
            return bool(rows.update(run_started_at=clock.now(), run_by=worker))

    def _is_known(self, slot: Slot) -> bool:
        with self._database():
            return self._slot_rows(slot).exists()

    def _row(self, term: Term, slot: Slot, state: SlotState, reason: str = "", covers: int = 0) -> models.Slot:
        return models.Slot(
            entry=slot.entry,
            due_at=slot.due_at,
            epoch=term.epoch,
            side=term.side,
            state=state,
            task_id=slot.task_id(self._namespace),
            claimed_at=clock.now(),
            reason=reason,
            covers=covers,
        )

    def _insert(self, rows: Sequence[models.Slot]) -> set[Slot]:
        """Insert the rows whose slots are not there yet; returns the slots that were. The fence is held."""
        if not rows:
            return set()
        there = models.Slot.objects.using(self._alias).filter(
            entry__in={r.entry for r in rows}, due_at__in={r.due_at for r in rows}
        )
        taken = {Slot(due_at, EntryName(entry)) for entry, due_at in there.values_list("entry", "due_at")}
        fresh = [r for r in rows if Slot(r.due_at, EntryName(r.entry)) not in taken]
        models.Slot.objects.using(self._alias).bulk_create(fresh)
        return taken

    def _admits(self, term: Term) -> bool:
        fence = self._locked_fence()
        return fence.epoch == term.epoch and fence.side == term.side

    def _locked_fence(self) -> models.Fence:
        """The fence row, locked until the transaction ends."""
        fences = models.Fence.objects.using(self._alias)
        if not connections[self._alias].features.has_select_for_update:
            # SQLite locks the whole file at the first write; without one, two readers could both go on to write.
            fences.update(epoch=F("epoch"))
        elif connections[self._alias].vendor == "postgresql":
            fences = fences.annotate(patience=_PATIENCE)
        return fences.select_for_update().get()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._database(), transaction.atomic(using=self._alias):
            yield

    @contextmanager
    def _database(self) -> Iterator[None]:
        connection = connections[self._alias]
        try:
            yield
        except IntegrityError:
            raise
        except (DatabaseError, InterfaceError, models.Fence.DoesNotExist) as exc:
            raise self._unavailable(exc) from exc
        finally:
            if not connection.in_atomic_block and connection.errors_occurred:
                connection.close()

    def _unavailable(self, exc: Exception) -> LedgerUnavailable:
        connection = connections[self._alias]
        if not connection.in_atomic_block:
            connection.close()
            try:
                if models.Slot._meta.db_table not in connection.introspection.table_names() or isinstance(
                    exc, models.Fence.DoesNotExist
                ):
                    return LedgerNotMigrated("The database has no ledger yet: run `manage.py migrate`.")
            except (DatabaseError, InterfaceError):
                connection.close()
        return LedgerUnavailable(f"The database ({self._alias}) gives no answer: {str(exc).strip()}")


def _entry_changes(
    known: Mapping[EntryName, _Known],
    fingerprints: Mapping[EntryName, str],
    records: Mapping[EntryName, dt.datetime],
    now: dt.datetime,
) -> Iterator[tuple[EntryName, _Known]]:
    """What the ledger is to know of the entries that are new, changed, there again, or gone."""
    for name, fingerprint in fingerprints.items():
        before = known.get(name)
        if before is None:
            yield name, _Known(fingerprint, min(records.get(name, now), now))
        elif not before.active or before.fingerprint != fingerprint:
            yield name, _Known(fingerprint, now)
    for name, before in known.items():
        if before.active and name not in fingerprints:
            yield name, replace(before, active=False)


def _fence_view(row: models.Fence) -> FenceView:
    return FenceView(Epoch(row.epoch), Side(row.side), row.switched_at)
