"""The two records of a shadow run: what a standby would have sent, and what the code side claimed."""

import datetime as dt
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from django.db.models import Q, QuerySet

from cutover.beats.dispatcher import PASSED_OVER, SUPERSEDED
from cutover.ledger.database import outages
from cutover.models import ImportedEntry, ShadowRun, ShadowSlot, Slot
from cutover.phases.context import Context
from cutover.phases.wording import instant, listed
from cutover.types import EntryName, SlotState

LATE: Final = dt.timedelta(seconds=1)
"""How late the standby may have seen a slot."""

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
        return not self.differing

    @property
    def differing(self) -> int:
        """How many slots speak against it."""
        return len(self.missing) + len(self.extra) + len(self.late)

    def lines(self) -> list[str]:
        """For a person."""
        said = [f"Shadow run: {self.alike} slots alike on both sides."]
        for what, found in (
            ("the code side claimed, the standby would not have sent", self.missing),
            ("the standby would have sent, the code side did not claim", self.extra),
            ("the standby would have sent late by more than a second", self.late),
        ):
            if found:
                said += [f"{len(found)} slots {what}:", *listed([f"{name} due {instant(at)}" for name, at in found])]
        if self.unproven:
            said += ["Unproven, for nothing of theirs fell due:", *listed(self.unproven)]
        return said

    def data(self) -> dict[str, Any]:
        """For a program."""
        lists = {"missing": self.missing, "extra": self.extra, "late": self.late}
        spelt = {key: [{"entry": n, "due_at": at.isoformat()} for n, at in found] for key, found in lists.items()}
        return {"alike": self.alike, **spelt, "unproven": self.unproven}


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


def _pairs(slots: QuerySet[Slot], names: Container[str]) -> set[_Seen]:
    found = slots.values_list("entry", "due_at")
    return {(EntryName(entry), due_at) for entry, due_at in found if entry in names}
