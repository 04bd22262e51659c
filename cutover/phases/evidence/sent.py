"""What the leader of the code side says that it sends, against this process's code schedule, and against the rows.

A schedule may hang on the process that reads it: its arguments, a ``beat_init`` handler, a variable of its container.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from django_celery_beat.models import PeriodicTask

from cutover.election.lease import Presence
from cutover.errors import LeaseUnavailable
from cutover.ledger.database import outages
from cutover.ledger.declarations import Declaration
from cutover.models import Entry
from cutover.phases.context import Context
from cutover.phases.evidence import edits, side
from cutover.schedules.fingerprint import digest, fingerprints
from cutover.schedules.project import code_names
from cutover.types import EntryName, Epoch, Fingerprints, HolderId, Side

_NAMES: Final = 500
"""How many names one statement asks for."""


@dataclass(frozen=True, slots=True)
class Account:
    """The latest declaration of the code side, and who leads there or is about to; None for nobody, or for none."""

    declared: Declaration | None
    leader: HolderId | None

    @property
    def is_awaited(self) -> bool:
        """Whether somebody leads who has not declared yet: what an earlier leader sent says nothing of this one."""
        return self.leader is not None and (self.declared is None or self.declared.holder != self.leader)


def account(context: Context) -> Account:
    """What the code side has declared, as of now. Raises LedgerUnavailable."""
    fence = context.ledger.fence.read()
    leader = _leader(context, fence.epoch) if fence.side is Side.CODE else None
    return Account(context.ledger.declarations.read(Side.CODE), leader)


def _leader(context: Context, epoch: Epoch) -> HolderId | None:
    """Who leads the active code side: the lease is won a moment before the ledger knows, and a warm beat will win it.

    With no answer of Redis, as the ledger has it.
    """
    candidate = None
    with suppress(LeaseUnavailable):
        held = context.lease.view()
        if held is not None and held.side is Side.CODE:
            return held.holder
        candidate = next((beat.holder for beat in context.warm_beats(Side.CODE)), None)
    term = context.ledger.fence.term_since(epoch)
    leads = term is not None and term.side == Side.CODE and term.ended_at is None
    return HolderId(term.holder) if term and leads else candidate


def differences(declared: Mapping[EntryName, Fingerprints], here: Mapping[EntryName, Fingerprints]) -> list[str]:
    """Every entry that the beat and this process do not have alike, and how they differ. Pure."""
    found = []
    for name in sorted(declared.keys() | here.keys()):
        beat, own = declared.get(name), here.get(name)
        if own is None and beat is not None:
            found.append(f"{name} ({beat.schedule}) is sent by the beat and is not in the schedule of this process")
        elif beat is None and own is not None:
            found.append(f"{name} ({own.schedule}) is in the schedule of this process and is not sent by the beat")
        elif beat is not None and own is not None and beat != own:
            if beat.schedule != own.schedule:
                found.append(f"{name}: schedule is {beat.schedule} in the beat, {own.schedule} in this process")
            if beat.message != own.message:
                found.append(f"{name}: task, arguments or options are others in the beat than in this process")
    return found


def unlike_standbys(context: Context, here: Mapping[EntryName, Fingerprints]) -> list[Presence]:
    """The warm beats of the code side that have loaded another schedule than this. Raises LeaseUnavailable."""
    return [beat for beat in context.warm_beats(Side.CODE) if beat.schedule_version != digest(here)]


def here(context: Context) -> dict[EntryName, Fingerprints]:
    """The code schedule as this process has it. Raises ConfigurationError or EntriesRefused."""
    return {name: fingerprints(entry) for name, entry in context.entries.items()}


def without_row(context: Context, *, declared: bool, rows: Iterable[EntryName] = ()) -> list[EntryName]:
    """The entries of code that no row has, enabled or not: with the database side active nothing sends them.

    ``declared``: also what the last leader of the code side sent. A row that somebody has renamed is one. ``rows``: the
    names of those that were read just now, and need not be asked for. Raises LedgerUnavailable, and as ``here``.
    """
    names = code_names(context.app, context.config)
    if declared and (last := context.ledger.declarations.read(Side.CODE)) is not None:
        names |= last.entries.keys()
    names.difference_update(rows)
    if names:
        with outages(context.alias):
            names -= {*PeriodicTask.objects.using(context.alias).values_list("name", flat=True)}
    if names:
        names -= {name for name, now in edits.present_names(context.alias).items() if now is not None}
    return sorted(names)


def without_entry(context: Context, only: EntryName | None = None) -> list[EntryName]:
    """The enabled rows that the database side has sent and the code has no entry for: the code side does not send them.

    Of all rows, or ``only`` of that one. Not those that a rollback finds again under the name of their import. Raises
    LedgerUnavailable, and as ``here``.
    """
    if only in context.entries:
        return []
    with outages(context.alias):
        rows = side.enabled_rows(context).filter(**({} if only is None else {"name": only}))
        names = _known(context, sorted({*rows.values_list("name", flat=True)} - context.entries.keys()))
    if names:
        present = edits.present_names(context.alias)
        names -= {now for name, now in present.items() if now is not None and now != name}
    return sorted(names)


def _known(context: Context, names: Sequence[str]) -> set[EntryName]:
    """Those of ``names`` that the ledger knows.

    Not within the statement that reads the rows: MySQL and MariaDB compare no two columns of different binary
    collations, and the rows' tables may have one that is not the ledger's.
    """
    entries = Entry.objects.using(context.alias).order_by()
    parts = (names[start : start + _NAMES] for start in range(0, len(names), _NAMES))
    return {EntryName(name) for part in parts for name in entries.filter(name__in=part).values_list("name", flat=True)}
