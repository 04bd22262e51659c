"""The gate on what is open: a switch that has time to wait begins when nothing is under way."""

import datetime as dt
from typing import Final

from cutover import models
from cutover.ledger.database import outages
from cutover.ledger.pauses import but_paused, paused_by
from cutover.phases.context import Context
from cutover.phases.evidence.lateness import overdue
from cutover.phases.report import Check, gate
from cutover.phases.wording import inline, instant
from cutover.types import Side, SlotState

NAME: Final = "nothing open"
PATIENCE: Final = dt.timedelta(seconds=8)
"""For how long what is open is waited for: what is claimed this moment is published the next."""


def nothing_open(context: Context, side: Side, patience: dt.timedelta = PATIENCE) -> Check:
    """No slot is claimed and unpublished, and none of ``side`` is overdue; asked again for as long as ``patience``.

    What a pause keeps back is not open: nothing of it is under way, and it waits for whichever side leads then.
    """

    @gate(NAME)
    def ask() -> Check:
        found: list[str] = []

        def is_done() -> bool | None:
            found[:] = _open(context, side)
            return None if found else True

        if is_done() or context.wait_for(is_done, patience, "what is open to be sent", every_s=0.25):
            return Check(NAME, True, "no claim is unpublished, no slot is overdue")
        remedy = "look at the broker and at the leader's log; without --quiet the switch waits for nothing"
        return Check(NAME, False, inline(found), remedy)

    return ask()


def _open(context: Context, side: Side) -> list[str]:
    paused = paused_by(context.ledger.pauses.read())
    with outages(context.alias):
        claimed = models.Slot.objects.using(context.alias).filter(state=SlotState.CLAIMED).order_by("due_at")
        found = [
            f"{name} of {instant(at)} is claimed and not published"
            for name, at in but_paused(claimed, paused).values_list("entry", "due_at")[:50]
        ]
    return found + [f"{name} is overdue since {instant(at)}" for name, at in overdue(context, side)]
