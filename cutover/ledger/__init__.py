"""What may be sent: the fence and the slots in the database, where every claim is decided by a commit."""

import datetime as dt
from collections.abc import Mapping
from types import MappingProxyType

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
from cutover.types import EntryName


class Ledger:
    """The ledger in one database, by its parts.

    Every method of every part raises LedgerUnavailable (or LedgerNotMigrated) when the database gives no answer.
    ``renamed``: old names of entries, each to the one that took its place; of their pauses alone.
    """

    def __init__(
        self,
        alias: str,
        namespace: str,
        retention: dt.timedelta,
        renamed: Mapping[EntryName, EntryName] = MappingProxyType({}),
    ) -> None:
        self.alias = alias
        self.fence = Fence(alias)
        self.pauses = Pauses(alias, self.fence, renamed)
        self.claims = Claims(alias, self.fence, self.pauses, namespace, retention)
        self.runs = Runs(alias, self.fence, namespace, retention)
        self.entries = Entries(alias, self.fence)
        self.cursors = Cursors(alias)
        self.declarations = Declarations(alias, self.fence)
        self.senders = Senders(alias)
        self.replays = Replays(alias, self.fence, self.pauses, namespace)
        self.retention = Retention(alias, self.fence, retention)
