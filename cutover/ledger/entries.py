"""What the ledger knows of the schedule's entries: since when each is owed its slots.

It has a revision, an integer on the fence's row, raised in the commit that changes what is known; each entry has that
of its last change. So whoever polls the fence knows whether there is anything to read, and reads what changed alone.
"""

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Final

from cutover import models
from cutover.ledger import bulk
from cutover.ledger.database import outages, transaction, tried_again
from cutover.ledger.fence import Fence
from cutover.types import UNLIMITED, EntryName, Limits, Term

_UNREAD: Final = -1
"""The revision of one who has read nothing yet."""
_READ: Final = ("name", "fingerprint", "eligible_since", "active", "not_before", "not_after")
_WRITTEN: Final = ("fingerprint", "active", "eligible_since", "not_before", "not_after", "revision")


@dataclass(frozen=True, slots=True)
class KnownEntry:
    """One entry as the ledger has it: what its schedule means, since when it is owed its slots, and within what.

    Not active: absent from the schedule that was settled last.
    """

    fingerprint: str
    eligible_since: dt.datetime
    limits: Limits = UNLIMITED
    is_active: bool = True


Known = Mapping[EntryName, KnownEntry]


class Entries:
    """The entries in one database. Every method raises LedgerUnavailable."""

    def __init__(self, alias: str, fence: Fence) -> None:
        self._alias, self._fence = alias, fence
        self._revision = _UNREAD
        self.known: Known = {}
        """Every entry as it was read last."""

    @property
    def is_current(self) -> bool:
        """Whether all is known that the fence, as it was read last, speaks of."""
        return self._revision == self._fence.schedule_revision

    def refresh(self, revision: int | None = None) -> int:
        """Read what has changed since the last time; returns the revision that is known then.

        ``revision``: the fence's, where that has just been read; costs no query when it is the known one.
        """
        with outages(self._alias):
            self._read(self._fence.read().schedule_revision if revision is None else revision)
        return self._revision

    @tried_again
    def revise(self, term: Term, decide: Callable[[Known], Known]) -> Known | None:
        """Change what is known, in one commit under the fence; returns everything known afterwards, None when fenced.

        ``decide`` is given everything known and returns the changed entries. It is asked before the fence is held,
        which many entries would hold for too long, and once more where somebody changed what is known meanwhile.
        """
        while True:
            if not self.is_current:
                self.refresh()
            before, revision = self.known, self._revision
            changes = {name: known for name, known in decide(before).items() if before.get(name) != known}
            with transaction(self._alias):
                fence = self._fence.held_for(term)
                if fence is None:
                    return None
                if fence.schedule_revision != revision:
                    continue
                if changes:
                    revision += 1
                    models.Fence.objects.using(self._alias).update(schedule_revision=revision)
                    new = (_row(name, known, revision) for name, known in changes.items() if name not in before)
                    old = (_row(name, known, revision) for name, known in changes.items() if name in before)
                    bulk.insert(self._alias, new)
                    bulk.update(self._alias, old, _WRITTEN)
            # Only what was committed is known.
            self.known, self._revision = {**before, **changes}, revision
            return self.known

    def _read(self, revision: int) -> None:
        """Bring what is known to ``revision``; one that went back is that of a restored backup: all is read again."""
        if revision == self._revision:
            return
        known, since = (self.known, self._revision) if revision > self._revision else ({}, _UNREAD)
        rows = models.Entry.objects.using(self._alias).filter(revision__gt=since).order_by()
        found = {
            EntryName(name): KnownEntry(mark, eligible_since, Limits(*limits) if any(limits) else UNLIMITED, is_active)
            for name, mark, eligible_since, is_active, *limits in rows.values_list(*_READ)
        }
        self.known, self._revision = {**known, **found}, revision


def _row(name: EntryName, known: KnownEntry, revision: int) -> models.Entry:
    return models.Entry(
        name=name,
        fingerprint=known.fingerprint,
        active=known.is_active,
        eligible_since=known.eligible_since,
        **asdict(known.limits),
        revision=revision,
    )
