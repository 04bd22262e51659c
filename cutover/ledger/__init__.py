"""What may be sent: the fence and the slots in the database, where every claim is decided by a commit."""

import datetime as dt

from cutover.ledger.claims import Claims
from cutover.ledger.cursors import Cursors
from cutover.ledger.database import Database
from cutover.ledger.entries import Entries
from cutover.ledger.fence import Fence
from cutover.ledger.retention import Retention
from cutover.ledger.runs import Runs


class Ledger:
    """The ledger in one database, by its parts.

    Every method of every part raises LedgerUnavailable (or LedgerNotMigrated) when the database gives no answer.
    """

    def __init__(self, alias: str, namespace: str, retention: dt.timedelta) -> None:
        self.database = Database(alias)
        self.fence = Fence(self.database)
        self.claims = Claims(self.database, self.fence, namespace, retention)
        self.runs = Runs(self.database, self.fence, namespace, retention)
        self.entries = Entries(self.database, self.fence)
        self.cursors = Cursors(self.database)
        self.retention = Retention(self.database, retention)
