"""The two records of a shadow run: what a standby would have sent, and what the code side claimed."""

import datetime as dt
from dataclasses import dataclass
from typing import Any, Final

from django.db.models import Q

from cutover.beats.missed import PASSED_OVER, SUPERSEDED
from cutover.ledger.database import outages
from cutover.ledger.pauses import PAUSED
from cutover.models import ImportedEntry, ShadowRun, ShadowSlot, Slot
from cutover.phases.context import Context
from cutover.phases.wording import instant, listed
from cutover.plural import counted
from cutover.types import EntryName, SlotState

LATE: Final = dt.timedelta(seconds=1)
"""How late the standby may have seen a slot."""

_Seen = tuple[str, dt.datetime]
_SAID: Final = {
    "missing": "the code side claimed, the standby would not have sent",
    "extra": "the standby would have sent, the code side did not claim",
    "late": "the standby would have sent late by more than a second",
}
"""The kinds of slots that speak against a shadow run."""


@dataclass(slots=True)
class Findings:
    """What came of a shadow run.

    An entry is unproven, which is neither proof nor failure, where nothing of it came due, or a pause kept all back.
    ``paused``: what the standby would have sent, and the code side was not to.
    """

    alike: int
    missing: list[_Seen]
    extra: list[_Seen]
    late: list[_Seen]
    paused: list[_Seen]
    unproven: list[str]

    @property
    def differing(self) -> int:
        """How many slots speak against it."""
        return len(self.missing) + len(self.extra) + len(self.late)

    def lines(self) -> list[str]:
        """For a person."""
        said = [f"Shadow run: {counted(self.alike, 'slot')} alike on both sides."]
        for kind, what in _SAID.items():
            if found := getattr(self, kind):
                said += [
                    f"{counted(len(found), 'slot')} {what}:",
                    *listed([f"{name} due {instant(at)}" for name, at in found]),
                ]
        held = {name for name, _ in self.paused}
        if held:
            kept = f"{counted(len(self.paused), 'slot')} of {counted(len(held), 'entry')} kept back by a pause"
            said.append(f"{kept}, which proves nothing.")
        unsent = [name for name in self.unproven if name in held]
        for why, names in {"fell due": [n for n in self.unproven if n not in held], "was sent, paused": unsent}.items():
            said += [f"Unproven, for nothing of theirs {why}:", *listed(names)] if names else []
        return said

    def data(self) -> dict[str, Any]:
        """For a program."""
        slots = {kind: [{"entry": n, "due_at": at.isoformat()} for n, at in getattr(self, kind)] for kind in _SAID}
        return {"alike": self.alike, **slots, "paused": len(self.paused), "unproven": self.unproven}


def compare(context: Context, run: ShadowRun, since: dt.datetime, until: dt.datetime) -> Findings:
    """What both sides have written of the slots in ``(since, until]``.

    A slot that the code side passed over, for a later one was due by then or for a pause, is in its schedule all the
    same. Of one that a pause keeps back still nobody knows.
    """
    pauses = context.ledger.pauses.since(since)
    with outages(context.alias):
        imported = ImportedEntry.objects.using(context.alias).values_list("name", flat=True)
        within = {"due_at__gt": since, "due_at__lte": until}
        known = Slot.objects.using(context.alias).filter(entry__in=imported, **within)
        claimed = set(known.exclude(state=SlotState.MISSED).values_list("entry", "due_at"))
        skipped = known.filter(
            Q(reason__startswith=PASSED_OVER) | Q(reason__startswith=SUPERSEDED) | Q(reason__startswith=PAUSED)
        )
        passed_over = set(skipped.values_list("entry", "due_at"))
        names = set(imported)
        shown = ShadowSlot.objects.using(context.alias).filter(run=run, **within)
        seen = {(entry, due_at): seen_at for entry, due_at, seen_at in shown.values_list("entry", "due_at", "seen_at")}
    alike = (claimed | passed_over) & seen.keys()
    unclaimed = seen.keys() - claimed - passed_over
    paused = {(name, at) for name, at in unclaimed if any(one.keeps_back(EntryName(name), at) for one in pauses)}
    # Of several that the standby saw at once it would have sent the last one.
    sent = {(entry, seen_at): (entry, at) for (entry, at), seen_at in sorted(seen.items())}
    return Findings(
        alike=len(alike),
        missing=sorted(claimed - seen.keys()),
        extra=sorted(unclaimed - paused),
        late=sorted(slot for (_, seen_at), slot in sent.items() if slot in alike and seen_at - slot[1] > LATE),
        paused=sorted(paused),
        unproven=sorted(names - {name for name, _ in claimed | seen.keys() - paused}),
    )
