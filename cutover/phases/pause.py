"""Stop sending: everything, or one entry. One commit beside the fence, which a switch of side does not touch."""

import datetime as dt
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from cutover import models
from cutover.conf import near
from cutover.errors import ConfigurationError, LeaseUnavailable
from cutover.ledger.database import outages
from cutover.ledger.pauses import SITE, Pause
from cutover.phases.context import Context
from cutover.phases.evidence import pauses, side
from cutover.phases.facts import read
from cutover.phases.operations.lock import operator_name
from cutover.phases.report import Outcome, Report, command
from cutover.plural import counted
from cutover.types import EntryName, SlotState

NAME: Final = "pause"
_LEFT: Final = (
    "slot was claimed before and is not published: it waits",
    "slots were claimed before and are not published: they wait",
)
UNDER_WAY: Final = dt.timedelta(seconds=2)
"""How long it is waited for what was claimed before: a leader asks the fence every quarter of a second meanwhile."""


def run(context: Context, *, entry: str | None = None, length: dt.timedelta | None = None, reason: str = "") -> Report:
    """Pause ``entry``, None for all, for ``length`` (None: until it is resumed). ConfigurationError for no such entry.

    From the commit on nothing of it is claimed. What was claimed before is published by the time this returns, or is
    kept until the pause ends: ``waiting`` of them. Typed again it changes end and reason, where it names them.
    """
    name = known(context, entry)
    before = next((pause for pause in context.ledger.pauses.read() if pause.entry == name), None)
    if before and length is None and before.until is None and reason in ("", before.reason):
        return _report(Outcome.ALREADY, name, before, ["Paused already; nothing was changed."])
    by, why = operator_name(), reason or (before.reason if before else "")
    pause = context.ledger.pauses.pause(name, length, by, why[: models.REASON_LENGTH])
    wake(context)
    waiting = context.wait_for(lambda: None if _claimed(context, name) else 0, UNDER_WAY, "claims to be published")
    left = _claimed(context, name) if waiting is None else 0
    said = ["From now on nothing of it is claimed or sent, by either side. What the broker has is run; runs go on."]
    said += [f"{counted(left, *_LEFT)} until it is resumed."] if left else []
    return _report(Outcome.DONE, name, pause, said, left)


def known(context: Context, entry: str | None) -> EntryName:
    """The entry of that name, ``SITE`` for None. Raises ConfigurationError where neither side has had one so named."""
    if entry is None:
        return SITE
    with outages(context.alias):
        names = {*models.Entry.objects.using(context.alias).values_list("name", flat=True)}
    names |= side.names(context, read(context).side)
    names |= {pause.entry for pause in context.ledger.pauses.read()}
    if entry not in names or entry == SITE:
        raise ConfigurationError(f"There is no entry {entry!r}{near(entry, names) or '.'}")
    return EntryName(entry)


def wake(context: Context) -> None:
    """Have the beats look at once; without Redis they look within a poll, and no claim waits for that."""
    with suppress(LeaseUnavailable):
        context.lease.announce_schedule()


def _claimed(context: Context, name: EntryName) -> int:
    """How many claims of what is paused wait for their confirmation."""
    with outages(context.alias):
        claims = models.Slot.objects.using(context.alias).filter(state=SlotState.CLAIMED)
        return (claims if name == SITE else claims.filter(entry=name)).count()


def _report(outcome: Outcome, name: EntryName, pause: Pause, said: Sequence[str], waiting: int = 0) -> Report:
    said = [f"Now {pauses.in_words(pause)}.", *said]
    return Report(NAME, outcome, (), said, command("status"), pauses.resume(name), {"waiting": waiting})
