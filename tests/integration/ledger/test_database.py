"""What callers see of a database that is away or has no tables, on real SQLite and real PostgreSQL."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.db import connections

from cutover import models
from cutover.errors import LedgerNotMigrated, LedgerUnavailable
from cutover.types import Claim, Epoch, Identity, Side
from tests.support.ledger import name, slot
from tests.support.rooms import in_threads

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("nothing_left")]


METHODS = {
    "fence": lambda ledger, term: ledger.fence.read(),
    "open_term": lambda ledger, term: ledger.fence.open_term(Identity("h", "h", 1, ""), Side.CODE),
    "switch": lambda ledger, term: ledger.fence.switch(Side.DATABASE),
    "term_since": lambda ledger, term: ledger.fence.term_since(Epoch(1)),
    "end_term": lambda ledger, term: ledger.fence.end_term(term, "r"),
    "first_tick": lambda ledger, term: ledger.fence.first_tick(term),
    "claim": lambda ledger, term: ledger.claim(term, [slot()]),
    "confirm": lambda ledger, term: ledger.confirm([slot()]),
    "give_up": lambda ledger, term: ledger.give_up(term, {slot(): "r"}),
    "unpublished": lambda ledger, term: ledger.unpublished(),
    "last_slots": lambda ledger, term: ledger.last_slots(),
    "eligible_since": lambda ledger, term: ledger.entries.eligible_since(term, {name("a"): "f"}, {}),
    "standings": lambda ledger, term: ledger.standings(),
    "start_run": lambda ledger, term: ledger.runs.start(slot(), Epoch(1), "w"),
    "run": lambda ledger, term: ledger.runs.read(slot()),
    "resume_run": lambda ledger, term: ledger.runs.resume(slot(), "d", "w"),
    "end_run": lambda ledger, term: ledger.runs.end(slot(), "w"),
    "deduplicated": lambda ledger, term: ledger.runs.count_deduplicated(slot()),
    "heard": lambda ledger, term: ledger.runs.heard("o"),
    "prune": lambda ledger, term: ledger.prune(1),
}
TABLES = [m._meta.db_table for m in (models.Slot, models.Fence, models.Term, models.Entry, models.UnmanagedBeat)]


@contextmanager
def without_tables(alias: str) -> Iterator[None]:
    """As before ``migrate``: the tables bear other names meanwhile."""
    with connections[alias].cursor() as cursor:
        for table in TABLES:
            cursor.execute(f"ALTER TABLE {table} RENAME TO {table}_away")
    connections[alias].close()
    try:
        yield
    finally:
        connections[alias].close()
        with connections[alias].cursor() as cursor:
            for table in TABLES:
                cursor.execute(f"ALTER TABLE {table}_away RENAME TO {table}")


def test_before_the_migration_every_method_says_what_to_do_and_afterwards_works(ledger, lead, alias):
    term = lead()
    with without_tables(alias):
        for method in METHODS.values():
            with pytest.raises(LedgerNotMigrated, match=r"^The database has no ledger yet: run `manage.py migrate`\.$"):
                method(ledger, term)
    assert ledger.claim(term, [slot()]) == {slot(): Claim.CLAIMED}


def test_a_fence_row_that_is_missing_is_a_migration_that_is_missing(ledger, alias):
    models.Fence.objects.using(alias).all().delete()
    for method in (ledger.fence.read, lambda: ledger.fence.switch(Side.DATABASE)):
        with pytest.raises(LedgerNotMigrated):
            method()


@contextmanager
def database_away(alias: str) -> Iterator[None]:
    """The server takes no connection: its address is wrong meanwhile."""
    connection = connections[alias]
    right = dict(connection.settings_dict)
    connection.close()
    connection.settings_dict.update(NAME="/no/such/folder/db" if connection.vendor == "sqlite" else "no_such_database")
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict.update(right)


@pytest.mark.parametrize("method", METHODS)
def test_without_a_database_every_method_says_so_in_one_line_and_recovers(ledger, lead, alias, method):
    term = lead()
    with database_away(alias), pytest.raises(LedgerUnavailable) as told:
        METHODS[method](ledger, term)
    assert type(told.value) is LedgerUnavailable
    assert str(told.value).startswith(f"The database ({alias}) gives no answer: ")
    assert "\n" not in str(told.value)
    assert ledger.claim(term, [slot()]) == {slot(): Claim.CLAIMED}


def test_a_connection_that_the_server_has_cut_is_replaced_by_the_next_call(ledger, lead, alias):
    if connections[alias].vendor == "sqlite":
        pytest.skip("a file has no connection to cut")
    term = lead()
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        pid = cursor.fetchone()[0]

    def cut() -> None:
        with connections[alias].cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s)", [pid])

    in_threads(cut)
    with pytest.raises(LedgerUnavailable):
        ledger.claim(term, [slot()])
    assert ledger.claim(term, [slot()]) == {slot(): Claim.CLAIMED}
