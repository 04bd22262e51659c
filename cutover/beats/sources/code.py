"""The code side's schedule: what celery's own beat would send, and the last runs that its schedule file has.

The code does not change while the process lives. Celery's schedule file is read once, at the start, and written when a
leader stops, for a beat that knows no ledger; it is never held open, so any number of beats may share it.
"""

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress

from celery import Celery
from celery.beat import ScheduleEntry
from django.db.models.expressions import Combinable

from cutover import conf
from cutover.beats import schedule_file
from cutover.beats.sources import NOT_POLLED, Loaded, PastSlots, Polled, ScheduledEntry, catch_up_rule
from cutover.errors import LedgerUnavailable
from cutover.events import Event, log
from cutover.foreign import text_of
from cutover.ledger import Ledger
from cutover.schedules.fingerprint import digest, fingerprints
from cutover.schedules.refusals import unsendable
from cutover.types import EntryName


class CodeSource:
    """The entries of ``data``, which is the scheduler's own dictionary of them; their last runs are kept in there."""

    asks: Mapping[str, Combinable] = {}

    def __init__(self, app: Celery, data: dict[str, ScheduleEntry], filename: str | None) -> None:
        self._app, self._data, self._filename = app, data, filename
        self._last_runs = schedule_file.read(filename)
        self._loaded: dict[EntryName, ScheduledEntry] | None = None
        self._has_sent = False
        self.ledger: Ledger | None = None
        for name in self._last_runs.keys() & data.keys():
            data[name].last_run_at = self._last_runs[name].at

    def load(self, *, full: bool = True, polled: Polled = NOT_POLLED) -> Loaded | None:
        """See ``Source``: once. The version is a digest of all that is sent."""
        if self._loaded is not None:
            return None
        config, deadline_s = conf.load(), self._app.conf.beat_cron_starting_deadline
        found: dict[EntryName, ScheduledEntry] = {}
        for name, entry in self._data.items():
            rule, last_run = catch_up_rule(config, name, deadline_s), self._last_runs.get(name)
            if refused := unsendable(entry):
                log(Event.ENTRY_FAILED, entry=str(name), reason=f"it is left out: {' | '.join(map(str, refused))}")
                continue
            try:
                found[EntryName(name)] = ScheduledEntry.of(entry, rule, last_run=last_run)
            except Exception as exc:  # a schedule of the project's own making; the others must go on
                log(Event.ENTRY_FAILED, entry=name, reason=f"it is left out: {text_of(exc)}")
        self._loaded = found
        version = digest({name: fingerprints(each.entry, each.fingerprint) for name, each in found.items()})
        where = "has no run of them" if self._last_runs else "was not found, or holds nothing"
        return Loaded(version, found, f"celery's schedule file, {self._filename}, {where}")

    def published(self, entries: Sequence[ScheduleEntry], past_slots: PastSlots = ()) -> Collection[EntryName]:
        """See ``Source``. When the file is written the last runs are those of the ledger."""
        self._has_sent = self._has_sent or bool(entries or past_slots)
        for entry, _ in past_slots:
            self._data[entry.name].total_run_count += 1
        for entry in entries:
            self._data[entry.name] = next(self._data[entry.name])
            if self.ledger is not None:  # by its clock: this host's may be wrong
                self._data[entry.name].last_run_at = self.ledger.fence.now()
        return ()

    def end(self, names: Collection[EntryName]) -> Collection[EntryName]:
        """See ``Source``: of code nothing is to be noted."""
        return names

    def recover(self) -> Collection[EntryName]:
        """See ``Source``: what a lost call would have written is in this process, and the ledger is the record."""
        return ()

    def close(self) -> None:
        """Write the schedule file, if this beat has sent anything, for a beat that knows no ledger."""
        if self._has_sent:
            with suppress(LedgerUnavailable):
                self._adopt_last_slots()
            schedule_file.write(self._filename, self._data, self._app)

    def _adopt_last_slots(self) -> None:
        """Take over what others sent while this beat was a standby: the next one to read the file would send it again.

        A run that the file had already, later than any slot, stays: a stock beat sent that, between two of ours.
        """
        last = self.ledger.cursors.latest_of(self._loaded or ()) if self.ledger is not None else {}
        for name, slot in last.items():
            run = self._last_runs.get(name)
            self._data[name].last_run_at = max(slot, run.at) if run is not None and run.has_run else slot
