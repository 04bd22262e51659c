"""What may be sent: the fence and the slots in the database, where every claim is decided by a commit."""

import datetime as dt

from cutover.ledger.claims import Claims
from cutover.ledger.cursors import Cursors
from cutover.ledger.declarations import Declarations
from cutover.ledger.entries import Entries
from cutover.ledger.fence import Fence
from cutover.ledger.pauses import Pauses
from cutover.ledger.replays import Replays
from cutover.ledger.retention import Retention
from cutover.ledger.runs import Runs
from cutover.ledger.senders import Senders
from cutover.renames import NO_RENAMES, Renames


class Ledger:
    """The ledger in one database, by its parts.

    Every method of every part raises LedgerUnavailable (or LedgerNotMigrated) when the database gives no answer.
    ``renames``: for the pauses alone, which are of an entry by whichever of its names.
    """

    def __init__(
        self,
        alias: str,
        namespace: str,
        retention: dt.timedelta,
        renames: Renames = NO_RENAMES,
    ) -> None:
        self.alias = alias
        self.fence = Fence(alias)
        self.pauses = Pauses(alias, self.fence, renames)
        self.claims = Claims(alias, self.fence, self.pauses, namespace, retention)
        self.runs = Runs(alias, self.fence, namespace, retention)
        self.entries = Entries(alias, self.fence)
        self.cursors = Cursors(alias)
        self.declarations = Declarations(alias, self.fence)
        self.senders = Senders(alias)
        self.replays = Replays(alias, self.fence, self.pauses, namespace)
        self.retention = Retention(alias, self.fence, retention)
