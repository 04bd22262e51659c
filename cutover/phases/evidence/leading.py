"""Whether the holder of the lease leads by this ledger: the lease alone says who may try."""

import datetime as dt
from typing import Final

from cutover.phases.context import Context
from cutover.types import Epoch, HolderId

ELECTED_WITHIN: Final = dt.timedelta(seconds=1)
"""How long a beat that holds the lease may take to open its term."""
NOT_HERE: Final = (
    "{} holds the lease and has no term in this database; it cannot reach that, or is of another site with the same "
    "CUTOVER['NAMESPACE'] on this Redis"
)


def epoch_of(context: Context, holder: HolderId) -> int | None:
    """The epoch under which the lease's holder leads by this ledger; None where it does not. Raises LedgerUnavailable.

    Between its election and its commit lie milliseconds, which are waited for.
    """

    def epoch() -> int | None:
        term = context.ledger.fence.term_since(Epoch(0))
        return int(term.epoch) if term is not None and term.holder == holder and term.ended_at is None else None

    return context.wait_for(epoch, ELECTED_WITHIN, "the commit of an election", every_s=0.1)
