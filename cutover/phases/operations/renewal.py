"""A sign of life in the database: a thread renews it for as long as the command is there."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

from django.db import connections
from django.db.models import QuerySet

from cutover.errors import LedgerUnavailable
from cutover.ledger.database import outages
from cutover.ledger.fence import Fence

RENEW_S: Final = 2.0
"""How often it is renewed: several times before anybody takes the command for gone."""


@contextmanager
def renewed(rows: QuerySet[Any], field: str, thread: str) -> Iterator[None]:
    """Have ``field`` of ``rows`` be the present instant by the database's clock, by a thread of that name, meanwhile.

    An outage is waited out.
    """
    stopped, alias = threading.Event(), rows.db

    def renew() -> None:
        fence = Fence(alias)  # its own: the command's is read by the command
        while not stopped.wait(RENEW_S):
            with suppress(LedgerUnavailable), outages(alias):  # the next time it may be reached again
                rows.update(**{field: fence.read_now()})
        connections[alias].close()

    renewing = threading.Thread(target=renew, name=thread, daemon=True)
    renewing.start()
    try:
        yield
    finally:
        stopped.set()
        renewing.join()
