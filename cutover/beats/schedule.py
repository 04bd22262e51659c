"""One side's schedule in memory, with where each entry stands in the ledger; a standby keeps it as warm as a leader."""

from collections.abc import Collection, Mapping, Sequence, Set
from typing import Final, TypeVar

from celery.beat import ScheduleEntry
from django.db.models.expressions import Combinable

from cutover.beats.agenda import Agenda
from cutover.beats.reconcile import NOTED_WITHIN, Predecessor, reconcile
from cutover.beats.sources import NOT_POLLED, Loaded, PastSlots, Polled, ScheduledEntry, Source
from cutover.conf import Config
from cutover.events import Event, log
from cutover.ledger import Ledger
from cutover.ledger.cursors import OVERLAP
from cutover.ledger.entries import Known
from cutover.ledger.fence import AHEAD
from cutover.schedules.fingerprint import fingerprints
from cutover.types import EntryName, Identity, Side, Term

_NEWEST: Final = "newest_slot"
_T = TypeVar("_T")


class Schedule:
    """What a candidate sends by. Methods raise LedgerUnavailable; what was begun is then done by the next call.

    ``loads`` counts how often the schedule has changed, or was set back: leadership is settled for one of them.
    ``loaded``: how many entries all loads have given so far.
    ``has_more_to_read``: more of it has changed than was read at once; the next ``refresh`` reads on.
    """

    def __init__(self, side: Side, source: Source, ledger: Ledger, config: Config | None = None) -> None:
        self._side, self._source, self._ledger = side, source, ledger
        self._config = config or Config()
        self.agenda = Agenda(self._config.renames)
        self.loads = self.loaded = 0
        self.version = ""
        self.has_more_to_read = False
        self._no_record = ""
        self._last_key = 0
        self._unread: set[EntryName] = set()
        self._settled: Known | None = None
        self._unsettled: Collection[EntryName] = ()
        self._changed: set[EntryName] = set()
        self._newest_key: int | None = None
        self._reads_once_more = False

    @property
    def asks(self) -> Mapping[str, Combinable]:
        """What a poll of the fence is to ask besides, for ``refresh``."""
        return {**self._source.asks, _NEWEST: self._ledger.cursors.newest}

    def refresh(self, *, full: bool = True, polled: Polled = NOT_POLLED) -> None:
        """Bring schedule and cursors up to date.

        Not ``full``: what nobody announced may wait for the next call, and so may what workers recorded. ``polled``:
        what has just been answered of ``asks``.
        """
        loaded = self._source.load(full=full, polled=polled)
        self.has_more_to_read = loaded is not None and loaded.change is not None and not loaded.change.is_last
        if loaded is not None:
            self._take(loaded)
        now = self._ledger.fence.now() + AHEAD
        if ahead := self.agenda.ahead(now):  # the database's clock was set back: by it those slots are not due yet
            self.agenda.set_back(ahead, now)
            self._unread |= ahead
            self.loads += 1
            self._settled = None
        newest = polled.get(_NEWEST)
        is_new = _NEWEST not in polled or newest != self._newest_key
        if not (is_new or self._reads_once_more or self._unread):
            return
        overlap = OVERLAP if full else 0
        last, key = self._ledger.cursors.follow(self._last_key, wholly=self._unread, until=now, overlap=overlap)
        self.agenda.settle(last, {})
        self._last_key, self._unread = key, set()
        # Once more after the last: transactions may commit out of the order of their keys.
        self._newest_key, self._reads_once_more = newest, is_new

    def settle_ahead(self, revision: int) -> None:
        """Settle all that a leader would leave as the ledger knows it: at election only the rest is to be settled.

        ``revision``: the fence's.
        """
        self._ledger.entries.refresh(revision)
        known = self._ledger.entries.known
        if known is self._settled and not self._changed:
            return
        scheduled, last_slots = self.agenda.scheduled, self.agenda.last_slots
        names = self._to_settle(known, scheduled)
        changes = reconcile(_of(names, known), _of(names, scheduled), last_slots, self._ledger.fence.now())
        settled = (names & scheduled.keys()) - changes.keys()
        self.agenda.settle({}, {name: known[name].eligible_since for name in settled})
        self._settled, self._unsettled, self._changed = known, changes.keys(), set()

    def settle(self, term: Term) -> bool:
        """Settle since when each entry is eligible, in one commit under the fence; False when ``term`` is fenced.

        Where all is settled, and the fence as it was read last knows of nothing newer, nothing is asked.
        """
        entries = self._ledger.entries
        if entries.known is self._settled and not (self._unsettled or self._changed) and entries.is_current:
            return True
        now, scheduled, last_slots = self._ledger.fence.now(), self.agenda.scheduled, self.agenda.last_slots
        names: set[EntryName] = set()
        new: set[EntryName] = set()
        added: set[EntryName] = set()

        def revised(before: Known) -> Known:
            names.update(self._to_settle(before, scheduled))
            new.update(names & (scheduled.keys() - before.keys()))
            added.update(n for n in names & scheduled.keys() if n not in before or not before[n].is_active)
            predecessors = self._predecessors(before, scheduled, names)
            return reconcile(_of(names, before), _of(names, scheduled), last_slots, now, predecessors)

        known = entries.revise(term, revised)
        if known is None or not self.retract_early(term):
            return False
        if added:  # up to this commit a worker may have begun their cadence, by what an unmanaged beat has sent
            self.agenda.settle(self._ledger.cursors.latest_of(added, self._ledger.fence.now() + AHEAD), {})
        begun = [name for name in new if scheduled[name].last_run is None]
        if begun and self._no_record:
            reason = f"{self._no_record}: nothing that fell due before is owed"
            log(Event.ENTRIES_BEGUN, side=self._side, entries=len(begun), reason=reason)
        self.agenda.settle({}, {name: known[name].eligible_since for name in names & scheduled.keys()})
        self._settled, self._unsettled, self._changed = known, (), set()
        return True

    def _predecessors(
        self, known: Known, scheduled: Mapping[EntryName, ScheduledEntry], names: Set[EntryName]
    ) -> dict[EntryName, Predecessor]:
        """The predecessors of entries that are new, or back, under another name; asks only where there are any."""
        before, renames = dict[EntryName, EntryName](), self._config.renames
        for name in names & scheduled.keys() & {*self._config.renamed.values()}:
            if name not in known or not known[name].is_active:
                gone = [old for old in renames.before(name) if old in known and renames.present(old, scheduled) == name]
                before.update({name: gone[0]} if gone else {})
        if not before:
            return {}
        last = self._ledger.cursors.latest_of([*before.values()], self._ledger.fence.now() + AHEAD)
        for name, old in before.items():
            log(Event.ENTRY_RENAMED, entry=name, reason=f"it goes on from the latest slot of {old}")
        return {name: Predecessor(known[old], last.get(old)) for name, old in before.items()}

    def _to_settle(self, known: Known, scheduled: Mapping[EntryName, ScheduledEntry]) -> Set[EntryName]:
        """The entries that are not settled, or of which the ledger has come to know something else since."""
        if (settled := self._settled) is None:
            return known.keys() | scheduled.keys()
        return {
            *self._unsettled,
            *self._changed,
            *(name for name, each in known.items() if settled.get(name) is not each),
        }

    def retract_early(self, term: Term) -> bool:
        """Take back what a clock that was ahead has had recorded as missed; False when ``term`` is fenced."""
        return self._ledger.claims.retract_early(term)

    def declare(self, term: Term, who: Identity) -> bool:
        """Say what this beat sends, where nobody else can know; False when ``term`` is fenced.

        Rows are there for everybody to read. Code may give another schedule to each process.
        """
        if self._side is not Side.CODE:
            return True
        said = {name: fingerprints(each.entry, each.fingerprint) for name, each in self.agenda.scheduled.items()}
        return self._ledger.declarations.declare(term, who, said)

    def published(self, entries: Sequence[ScheduleEntry], past_slots: PastSlots = ()) -> None:
        """Record with the source that these entries were sent.

        Those that are sent once leave the schedule, and so does, with every call, what will never fall due again.
        ``past_slots``: as in ``Source``. As one counts, too, the slot of an entry that has fallen due again while a
        slow broker took its message, or one of many: after so long a beat that starts could take its last run for
        another beat's.
        """
        now = self._ledger.fence.now()
        stood = [(entry, self.agenda.due_again_from(EntryName(entry.name), now)) for entry in entries]
        late = [(entry, at) for entry, at in stood if at is not None and at < now - NOTED_WITHIN / 2]
        if late:
            slow = {entry.name for entry, _ in late}
            entries, past_slots = [entry for entry in entries if entry.name not in slow], [*past_slots, *late]
        self.agenda.drop(self._source.published(entries, past_slots))
        if ended := self.agenda.ended(now):
            self.agenda.forget_ended(self._source.end(ended))

    def recover(self) -> None:
        """Make up for a call of ``published`` that was lost."""
        self.agenda.drop(self._source.recover())

    def _take(self, loaded: Loaded) -> None:
        now, change = self._ledger.fence.now(), loaded.change
        if change is None:
            self._unread |= self.agenda.load(loaded.entries, now)
            self.loaded += len(loaded.entries)
        else:
            self._unread |= self.agenda.change(change.changed, change.gone, now)
            self.loaded += len(change.changed)
        self.version, self._no_record = loaded.version, loaded.no_record
        if change is None:
            self.loads += 1
            self._settled = None
        elif names := {*change.changed, *change.gone}:
            self.loads += 1
            self._changed |= names
        log(Event.SCHEDULE_LOADED, side=self._side, entries=len(self.agenda), version=self.version)


def _of(names: Set[EntryName], values: Mapping[EntryName, _T]) -> dict[EntryName, _T]:
    return {name: values[name] for name in names & values.keys()}
