"""One side's schedule in memory, with where each entry stands in the ledger; a standby keeps it as warm as a leader."""

from collections.abc import Mapping, Sequence

from celery.beat import ScheduleEntry

from cutover.beats.agenda import Agenda
from cutover.beats.reconcile import reconcile
from cutover.beats.sources import Loaded, Source
from cutover.events import Event, log
from cutover.ledger import Ledger
from cutover.ledger.entries import KnownEntry
from cutover.ledger.fence import AHEAD
from cutover.schedules.fingerprint import fingerprints
from cutover.types import EntryName, Identity, Side, Term


class Schedule:
    """What a candidate sends by. Methods raise LedgerUnavailable; what was begun is then done by the next call.

    ``loads`` counts how often the schedule was read, or set back: leadership is settled for one of them.
    """

    def __init__(self, side: Side, source: Source, ledger: Ledger) -> None:
        self._side, self._source, self._ledger = side, source, ledger
        self.agenda = Agenda()
        self.loads = 0
        self.version = ""
        self._no_record = ""
        self._last_key = 0
        self._unread: set[EntryName] = set()
        self._foreseen: int | None = None

    def refresh(self, *, full: bool = True) -> None:
        """Bring schedule and cursors up to date. Not ``full``: what nobody announced may wait for the next call."""
        loaded = self._source.load(full=full)
        if loaded is not None:
            self._take(loaded)
        now = self._ledger.fence.now() + AHEAD
        if ahead := self.agenda.ahead(now):  # the database's clock was set back: by it those slots are not due yet
            self.agenda.set_back(ahead, now)
            self._unread |= ahead
            self.loads += 1
            self._foreseen = None
        last, key = self._ledger.cursors.follow(self._last_key, wholly=self._unread, until=now)
        self.agenda.settle(last, {})
        self._last_key, self._unread = key, set()

    def foresee(self, revision: int) -> None:
        """Take over since when each entry is eligible, where that is certain: then little is left to do at election.

        That is every entry that the ledger knows with this very schedule and these limits. ``revision``: the fence's.
        """
        if revision == self._foreseen:
            return
        self._ledger.entries.refresh(revision)
        known, scheduled = self._ledger.entries.known, self.agenda.scheduled
        alike = {
            name: k.eligible_since
            for name, entry in scheduled.items()
            if (k := known.get(name)) is not None
            and (k.is_active, k.fingerprint, k.limits) == (True, entry.fingerprint, entry.limits)
        }
        self.agenda.settle({}, alike)
        self._foreseen = revision

    def settle(self, term: Term) -> bool:
        """Settle since when each entry is eligible, in one commit under the fence; False when ``term`` is fenced."""
        now, scheduled, last_slots = self._ledger.fence.now(), self.agenda.scheduled, self.agenda.last_slots
        new: set[EntryName] = set()

        def revised(before: Mapping[EntryName, KnownEntry]) -> dict[EntryName, KnownEntry]:
            new.update(scheduled.keys() - before.keys())
            return reconcile(before, scheduled, last_slots, now)

        known = self._ledger.entries.revise(term, revised)
        if known is None or not self._ledger.claims.retract_early(term):
            return False
        begun = [name for name in new if scheduled[name].last_run is None]
        if begun and self._no_record:
            reason = f"{self._no_record}: nothing that fell due before is owed"
            log(Event.ENTRIES_BEGUN, side=self._side, entries=len(begun), reason=reason)
        self.agenda.settle({}, {name: known[name].eligible_since for name in scheduled})
        return True

    def declare(self, term: Term, who: Identity) -> bool:
        """Say what this beat sends, where nobody else can know; False when ``term`` is fenced.

        Rows are there for everybody to read. Code may give another schedule to each process.
        """
        if self._side is not Side.CODE:
            return True
        said = {name: fingerprints(each.entry, each.fingerprint) for name, each in self.agenda.scheduled.items()}
        return self._ledger.declarations.declare(term, who, said)

    def published(self, entries: Sequence[ScheduleEntry]) -> None:
        """Record with the source that these entries were sent; those that are sent once leave the schedule.

        So does, with every call, what will never fall due again.
        """
        self.agenda.drop(self._source.published(entries))
        if over := self.agenda.over(self._ledger.fence.now()):
            self.agenda.pass_by(self._source.end(over))

    def recover(self) -> None:
        """Make up for a call of ``published`` that was lost."""
        self.agenda.drop(self._source.recover())

    def _take(self, loaded: Loaded) -> None:
        self._unread |= self.agenda.load(loaded.entries, self._ledger.fence.now())
        self.version, self._no_record = loaded.version, loaded.no_record
        self.loads += 1
        self._foreseen = None
        log(Event.SCHEDULE_LOADED, side=self._side, entries=len(self.agenda), version=self.version)
