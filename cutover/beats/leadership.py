"""Leadership as a value: what belongs to one term. It is made at election and dropped whole at step-down."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from django.db.models.expressions import Combinable

from cutover.beats.agenda import Agenda
from cutover.ledger.fence import FenceView
from cutover.types import Term


@dataclass(frozen=True, slots=True)
class Leadership:
    """One term as its leader has it.

    ``settled_load``: which load of the schedule the ledger has been settled for; 0 for none yet. ``has_ticked``:
    whether the first tick is recorded, which a switchover waits for: it has sent what was due. ``has_declared``:
    whether it has said what it sends.
    """

    term: Term
    settled_load: int = 0
    has_ticked: bool = False
    has_declared: bool = False


class Chore(Protocol):
    """What a leader does besides sending, whenever it polls; each knows by itself when it is due.

    ``asks``: what a poll of the fence is to ask besides.
    """

    @property
    def asks(self) -> Mapping[str, Combinable]: ...

    def run(self, term: Term, fence: FenceView, agenda: Agenda) -> bool:
        """Do what is due; False when ``term`` is fenced. Raises LedgerUnavailable."""
