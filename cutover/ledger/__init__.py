"""What may be sent: the fence and the slots in the database, where every claim is decided by a commit."""

import datetime as dt

from cutover.ledger.claims import Claims
from cutover.ledger.cursors import Cursors
from cutover.ledger.declarations import Declarations
from cutover.ledger.entries import Entries
from cutover.ledger.fence import Fence
from cutover.ledger.retention import Retention
from cutover.ledger.runs import Runs
from cutover.ledger.senders import Senders


class Ledger:
    """The ledger in one database, by its parts.

    Every method of every part raises LedgerUnavailable (or LedgerNotMigrated) when the database gives no answer.
    """

    def __init__(self, alias: str, namespace: str, retention: dt.timedelta) -> None:
        self.alias = alias
        self.fence = Fence(alias)
        self.claims = Claims(alias, self.fence, namespace, retention)
        self.runs = Runs(alias, self.fence, namespace, retention)
        self.entries = Entries(alias, self.fence)
        self.cursors = Cursors(alias)
        self.declarations = Declarations(alias, self.fence)
        self.senders = Senders(alias)
        self.retention = Retention(alias, self.fence, retention)
