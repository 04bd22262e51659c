"""A shadow run, as the operator's command sees it: what a standby would have sent, and what the code side claimed."""

from __future__ import annotations

import datetime as dt
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from django.db.models import Q, QuerySet

from cutover import clock
from cutover.beats.dispatcher import PASSED_OVER, SUPERSEDED
from cutover.errors import LeaseUnavailable, PhaseFailed
from cutover.ledger.database import outages
from cutover.models import ImportedEntry, ShadowRun, ShadowSlot, Slot
from cutover.phases.context import Context
from cutover.phases.gates.conditions import SHOWN
from cutover.types import EntryName, HolderId, SlotState

LATE: Final = dt.timedelta(seconds=1)
GRACE: Final = dt.timedelta(seconds=3)
"""How long after its end both sides are given to write what fell due at the very last."""
_LOOK_EVERY_S: Final = 1.0
_TELL_EVERY_S: Final = 10.0

_Seen = tuple[EntryName, dt.datetime]


@dataclass(slots=True)
class Findings:
    """What came of a shadow run. An entry that never came due is unproven, which is neither proof nor failure."""

    alike: int = 0
    missing: list[_Seen] = field(default_factory=list)
    extra: list[_Seen] = field(default_factory=list)
    late: list[_Seen] = field(default_factory=list)
    unproven: list[EntryName] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Nothing missing, extra or late."""
        return not (self.missing or self.extra or self.late)

    def lines(self) -> list[str]:
        """For a person."""
        said = [f"Shadow run: {self.alike} slots alike on both sides."]
        for what, found in (
            ("the code side claimed, the standby would not have sent", self.missing),
            ("the standby would have sent, the code side did not claim", self.extra),
            ("the standby would have sent late by more than a second", self.late),
        ):
            if found:
                said += [f"{len(found)} slots {what}:", *(f"  {name} due {at} UTC" for name, at in _shown(found))]
        if self.unproven:
            said += ["Unproven, for nothing of theirs fell due:", *(f"  {name}" for name in self.unproven[:SHOWN])]
            said += [f"  and {len(self.unproven) - SHOWN} more"] if len(self.unproven) > SHOWN else []
        return said

    def data(self) -> dict[str, Any]:
        """For a program."""
        lists = {"missing": self.missing, "extra": self.extra, "late": self.late}
        spelt = {key: [{"entry": n, "due_at": at.isoformat()} for n, at in found] for key, found in lists.items()}
        return {"alike": self.alike, **spelt, "unproven": self.unproven}


def watch(context: Context, duration: dt.timedelta) -> Findings:
    """Ask a standby for a shadow run, watch it, compare.

    Raises PhaseFailed when no standby begins one, or when the one that began it is gone and slots are missing.
    """
    with outages(context.alias):
        ShadowRun.objects.using(context.alias).all().delete()  # of earlier runs, with their slots
        run = ShadowRun.objects.using(context.alias).create(
            asked_at=clock.now(), seconds=round(duration.total_seconds())
        )
    try:
        context.lease.announce_schedule()
        begun = context.wait_for(
            lambda: _begun(context, run), context.config.takeover_timeout, "a standby to begin the shadow run"
        )
        if begun is None:
            raise PhaseFailed("No standby of the database side began the shadow run. Look at the log of that beat.")
        began_at, holder = begun
        context.progress(f"shadow run: {_process(holder)} rehearses")
        end = began_at + duration
        told = clock.monotonic_s()
        while clock.now() < end + GRACE:
            clock.sleep(_LOOK_EVERY_S)
            if clock.now() < end and _seen_ago(context, holder) is None:
                raise _gone(holder)
            if clock.monotonic_s() - told >= _TELL_EVERY_S:
                told = clock.monotonic_s()
                _tell(context, compare(context, run, began_at, min(end, clock.now() - GRACE)), end)
        found = compare(context, run, began_at, end)
        if found.missing and not _is_alive(context, holder):
            raise _gone(holder)
        return found
    finally:
        with outages(context.alias):
            ShadowRun.objects.using(context.alias).filter(pk=run.pk).update(ended_at=clock.now())


def compare(context: Context, run: ShadowRun, since: dt.datetime, until: dt.datetime) -> Findings:
    """What both sides have written of the slots in ``(since, until]``.

    A slot that the code side passed over, for a later one was due by then, is in its schedule all the same.
    """
    with outages(context.alias):
        names = {EntryName(name) for name in ImportedEntry.objects.using(context.alias).values_list("name", flat=True)}
        within = {"due_at__gt": since, "due_at__lte": until}
        slots = Slot.objects.using(context.alias).filter(**within)
        claimed = _pairs(slots.exclude(state=SlotState.MISSED), names)
        passed_over = _pairs(slots.filter(Q(reason=PASSED_OVER) | Q(reason__startswith=SUPERSEDED)), names)
        seen: Mapping[_Seen, dt.datetime] = {
            (EntryName(entry), due_at): seen_at
            for entry, due_at, seen_at in ShadowSlot.objects.using(context.alias)
            .filter(run=run, **within)
            .values_list("entry", "due_at", "seen_at")
        }
    alike = (claimed | passed_over) & seen.keys()
    # Of several that the standby saw at once it would have sent the last one.
    sent = {(entry, seen_at): due_at for (entry, due_at), seen_at in sorted(seen.items())}
    return Findings(
        alike=len(alike),
        missing=sorted(claimed - seen.keys()),
        extra=sorted(seen.keys() - claimed - passed_over),
        late=sorted(
            (entry, at) for (entry, seen_at), at in sent.items() if (entry, at) in alike and seen_at - at > LATE
        ),
        unproven=sorted(names - {name for name, _ in claimed | seen.keys()}),
    )


def _begun(context: Context, run: ShadowRun) -> tuple[dt.datetime, HolderId] | None:
    with outages(context.alias):
        began_at, holder = ShadowRun.objects.using(context.alias).values_list("began_at", "holder").get(pk=run.pk)
    return None if began_at is None else (began_at, HolderId(holder))


def _is_alive(context: Context, holder: HolderId) -> bool:
    """Whether the standby reports again; a killed one is known to be gone once its last report counts no more."""
    asked_at = clock.monotonic_s()

    def look() -> bool | None:
        seen_ago = _seen_ago(context, holder)
        if seen_ago is None:
            return False
        return True if seen_ago.total_seconds() < clock.monotonic_s() - asked_at else None

    return context.wait_for(look, context.config.lease, "a report of the standby", _LOOK_EVERY_S) is True


def _seen_ago(context: Context, holder: HolderId) -> dt.timedelta | None:
    """How long ago the standby reported; None when it is gone, zero where Redis does not tell."""
    try:
        return next((beat.seen_ago for beat in context.lease.beats() if beat.holder == holder), None)
    except LeaseUnavailable:
        return dt.timedelta(0)


def _gone(holder: HolderId) -> PhaseFailed:
    return PhaseFailed(
        f"The standby that rehearsed, {_process(holder)}, is gone: the shadow run proves nothing. "
        "See why that beat ended, then run the command again."
    )


def _process(holder: HolderId) -> str:
    return holder.rpartition(":")[0]


def _tell(context: Context, found: Findings, end: dt.datetime) -> None:
    left = max(0.0, (end - clock.now()).total_seconds())
    wrong = len(found.missing) + len(found.extra) + len(found.late)
    context.progress(f"shadow run: {found.alike} slots alike, {wrong} not; {left:.0f} s to go")


def _pairs(slots: QuerySet[Slot], names: Container[str]) -> set[_Seen]:
    found = slots.values_list("entry", "due_at")
    return {(EntryName(entry), due_at) for entry, due_at in found if entry in names}


def _shown(found: list[_Seen]) -> list[tuple[EntryName, str]]:
    return [(name, f"{at:%Y-%m-%d %H:%M:%S.%f}") for name, at in found[:SHOWN]]
