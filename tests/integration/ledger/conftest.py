"""A term to claim under, and the slots as they stand."""

import datetime as dt
from collections.abc import Callable

import pytest

from cutover import models
from cutover.ledger import Ledger
from cutover.types import Identity, Side, Term


@pytest.fixture
def lead(ledger: Ledger, identity: Callable[..., Identity]) -> Callable[..., Term]:
    """Opens a term, as a candidate does that has won the lease."""

    def lead(side: Side = Side.CODE) -> Term:
        term = ledger.fence.open_term(identity(), side)
        assert term is not None
        return term

    return lead


@pytest.fixture
def rows(ledger: Ledger, alias: str) -> Callable[[], dict[tuple[str, dt.datetime], models.Slot]]:
    """The slots as they stand in the database."""
    return lambda: {(r.entry, r.due_at): r for r in models.Slot.objects.using(alias)}
