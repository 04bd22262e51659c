"""Declarations: what the latest leader of a side says that it sends.

A schedule may hang on the process that reads it. So what a beat sends is known from that beat alone.
"""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass

from cutover import clock, models
from cutover.ledger.database import outages, transaction
from cutover.ledger.fence import Fence
from cutover.types import EntryName, Fingerprints, HolderId, Identity, Side, Term


@dataclass(frozen=True, slots=True)
class Declaration:
    """One leader's account of what it sends: whose, of which release, as of when, and every entry by name."""

    holder: HolderId
    release: str
    declared_at: dt.datetime
    entries: Mapping[EntryName, Fingerprints]


class Declarations:
    """The declarations in one database, one a side. Every method raises LedgerUnavailable."""

    def __init__(self, alias: str, fence: Fence) -> None:
        self._alias, self._fence = alias, fence

    def declare(self, term: Term, who: Identity, entries: Mapping[EntryName, Fingerprints]) -> bool:
        """Replace the declaration of the term's side, in one commit under the fence; False when fenced."""
        said = {"holder": who.holder, "release": who.release, "declared_at": clock.now(), "entries": dict(entries)}
        with transaction(self._alias):
            if not self._fence.admits(term):
                return False
            models.Declaration.objects.using(self._alias).update_or_create(side=term.side, defaults=said)
        return True

    def read(self, side: Side) -> Declaration | None:
        """What the latest leader of ``side`` has declared; None where none has."""
        with outages(self._alias):
            row = models.Declaration.objects.using(self._alias).filter(side=side).first()
        if row is None:
            return None
        entries = {EntryName(name): Fingerprints(*marks) for name, marks in row.entries.items()}
        return Declaration(HolderId(row.holder), row.release, row.declared_at, entries)
