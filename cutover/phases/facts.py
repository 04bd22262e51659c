"""How far the cutover has come, as the database has it."""

import datetime as dt
from dataclasses import dataclass

from cutover.ledger.database import outages
from cutover.ledger.fence import FenceView
from cutover.models import Cutover, ImportedEntry
from cutover.phases.context import Context
from cutover.types import Side
from cutover.workers import processes


@dataclass(frozen=True, slots=True)
class State:
    """How far the cutover has come.

    ``switched_at``: phase 3's switch; ``switch_epoch``: the latest switch, of either side. ``snapshot``: how many rows
    have a snapshot from before the switch. ``operator``: whose command is running; empty for nobody's.
    ``parity_proved_at``: when it was proved last that both sides fire and send alike; None where nobody knows.
    """

    phase: int
    fence: FenceView
    switched_at: dt.datetime | None
    switch_epoch: int | None
    snapshot: int
    plan_hash: str
    operator: str
    parity_proved_at: dt.datetime | None = None

    @property
    def side(self) -> Side:
        """The active side."""
        return self.fence.side

    @property
    def is_switched(self) -> bool:
        """Whether phase 3 is done and has not been rolled back."""
        return self.phase >= 3 and self.side is Side.DATABASE

    @property
    def is_begun(self) -> bool:
        """Whether phase 3 has changed something that no rollback has undone, if only the rows."""
        return self.phase >= 3 or self.side is Side.DATABASE or self.snapshot > 0

    @property
    def following(self) -> str:
        """The command that goes on from here."""
        return following(self.phase, self.side)

    def in_words(self) -> str:
        """One line on how far the cutover has come, and what to type to go on or back."""
        if self.side is Side.DATABASE and self.phase < 3:
            return "Phase 3 has switched and is not finished: run phase3 again, or rollback."
        if self.side is Side.CODE and self.phase >= 3:
            return "The rollback has switched back and is not finished: run rollback again."
        if self.side is Side.CODE and self.snapshot:
            return "Phase 3 has prepared the rows and not switched: run phase3 again, or rollback."
        done = f"Phase {self.phase} is done" if self.phase else "No phase is done yet"
        return f"{done}; the {self.side} side is active."


def following(phase: int, side: Side) -> str:
    """The command that goes on from a phase: the next one, a rollback that is not finished, or `status` at the end."""
    if side is Side.CODE and phase >= 3:
        return "rollback"
    return f"phase{phase + 1}" if phase < 4 else "status"


def read(context: Context) -> State:
    """The present state. Raises LedgerUnavailable or LedgerNotMigrated."""
    fence = context.ledger.fence.read()
    with outages(context.alias):
        row = Cutover.objects.using(context.alias).filter(id=1).first() or Cutover()
        kept = ImportedEntry.objects.using(context.alias).filter(enabled_before__isnull=False).count()
    told = row.plan_hash, operator_of(row), row.parity_proved_at
    return State(row.phase, fence, row.switched_at, row.switch_epoch, kept, *told)


def operator_of(row: Cutover) -> str:
    """Whose command is running, with its process number; empty for nobody's."""
    return f"{row.operator} (pid {processes.number(row.operator_process)})" if row.operator else ""
