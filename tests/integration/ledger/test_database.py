"""What callers see of a database that is away or has no tables, on real SQLite and real PostgreSQL."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError
from django.db import DataError, IntegrityError, connections
from django.db.transaction import atomic
from django_celery_beat.models import PeriodicTask

from cutover import conf, models
from cutover.beats.resend import unstarted
from cutover.errors import ConfigurationError, LedgerBusy, LedgerNotMigrated, LedgerRefused, LedgerUnavailable
from cutover.ledger import Ledger
from cutover.ledger.database import keep, outages, transaction
from cutover.ledger.runs import RunEnd
from cutover.ledger.single_rows import make_missing
from cutover.types import Claim, Epoch, Identity, RunOutcome, SentBy, Side
from tests.support.ledger import NOW, name, slot
from tests.support.locked import locked_by_another
from tests.support.rooms import in_threads

pytestmark = [pytest.mark.integration, pytest.mark.mariadb, pytest.mark.usefixtures("nothing_left")]

ON_SQLITE = pytest.mark.parametrize("alias", ["default"], indirect=True)

METHODS = {
    "fence": lambda ledger, term: ledger.fence.read(),
    "open_term": lambda ledger, term: ledger.fence.open_term(Identity("h", "h", 1, ""), Side.CODE),
    "switch": lambda ledger, term: ledger.fence.switch(Side.DATABASE),
    "term_since": lambda ledger, term: ledger.fence.term_since(Epoch(1)),
    "end_term": lambda ledger, term: ledger.fence.end_term(term, "r"),
    "first_tick": lambda ledger, term: ledger.fence.record_first_tick(term),
    "seen": lambda ledger, term: ledger.fence.record_seen(term),
    "declare": lambda ledger, term: ledger.declarations.declare(term, Identity("h", "h", 1, ""), {}),
    "declared": lambda ledger, term: ledger.declarations.read(Side.CODE),
    "claim": lambda ledger, term: ledger.claims.claim(term, [slot()]),
    "confirm": lambda ledger, term: ledger.claims.confirm([slot()]),
    "give_up": lambda ledger, term: ledger.claims.give_up(term, {slot(): "r"}),
    "unpublished": lambda ledger, term: ledger.claims.unpublished(),
    "cursors": lambda ledger, term: ledger.cursors.read(),
    "latest_of": lambda ledger, term: ledger.cursors.latest_of([name("a")]),
    "follow": lambda ledger, term: ledger.cursors.follow(0),
    "revise": lambda ledger, term: ledger.entries.revise(term, lambda known: {}),
    "refresh": lambda ledger, term: ledger.entries.refresh(),
    "unstarted": lambda ledger, term: unstarted(ledger, NOW, NOW, NOW),
    "start_run": lambda ledger, term: ledger.runs.start(slot(), Epoch(1), "w"),
    "run": lambda ledger, term: ledger.runs.read(slot()),
    "resume_run": lambda ledger, term: ledger.runs.resume(slot(), "d", "w"),
    "end_run": lambda ledger, term: ledger.runs.end([RunEnd(slot(), "w", RunOutcome.FAILED)]),
    "deduplicated": lambda ledger, term: ledger.runs.count_deduplicated(slot()),
    "heard": lambda ledger, term: ledger.runs.record_heard("o"),
    "prune": lambda ledger, term: ledger.retention.prune(1),
}
TABLES = [
    m._meta.db_table
    for m in (models.Slot, models.Fence, models.Term, models.Entry, models.Declaration, models.UnmanagedBeat)
]


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
            with pytest.raises(
                LedgerNotMigrated, match=rf"^The database has no ledger yet: run `{conf.migrate(alias)}`\.$"
            ):
                method(ledger, term)
    assert ledger.claims.claim(term, [slot()]) == {slot(): Claim.CLAIMED}


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
    assert ledger.claims.claim(term, [slot()]) == {slot(): Claim.CLAIMED}


def test_a_connection_that_the_server_has_cut_is_replaced_by_the_next_call(ledger, lead, alias):
    if connections[alias].vendor == "sqlite":
        pytest.skip("a file has no connection to cut")
    term = lead()
    with connections[alias].cursor() as cursor:
        mysql = connections[alias].vendor == "mysql"
        cursor.execute("SELECT connection_id()" if mysql else "SELECT pg_backend_pid()")
        pid = cursor.fetchone()[0]

    def cut() -> None:
        with connections[alias].cursor() as cursor:
            cursor.execute("KILL %s" if mysql else "SELECT pg_terminate_backend(%s)", [pid])

    in_threads(cut)
    with pytest.raises(LedgerUnavailable):
        ledger.claims.claim(term, [slot()])
    assert ledger.claims.claim(term, [slot()]) == {slot(): Claim.CLAIMED}


def test_a_database_that_refuses_is_there_and_said_to_be(ledger, lead, alias):
    """It has the tables, and no longer the column: its answer is not silence, nor that nothing is there."""
    term, there = lead(), "ALTER TABLE cutover_slot RENAME COLUMN {} TO {}"
    with connections[alias].cursor() as cursor:
        cursor.execute(there.format("state", "state_away"))
    try:
        for method in (METHODS["claim"], METHODS["unpublished"]):
            with pytest.raises(LedgerRefused) as raised:
                method(ledger, term)
            assert "start the database" not in raised.value.remedy
            assert str(raised.value).startswith(f"The database ({alias}) refuses: ")
            assert "state" in str(raised.value)
    finally:
        with connections[alias].cursor() as cursor:
            cursor.execute(there.format("state_away", "state"))
    assert ledger.claims.claim(term, [slot()]) == {slot(): Claim.CLAIMED}


def test_a_server_that_only_reads_refuses(ledger, lead, alias):
    term, write = (
        lead(),
        {
            "sqlite": "PRAGMA query_only = on",
            "postgresql": "SET default_transaction_read_only = on",
            "mysql": "SET SESSION TRANSACTION READ ONLY",
        },
    )
    with connections[alias].cursor() as cursor:
        cursor.execute(write[connections[alias].vendor])
    with pytest.raises(LedgerUnavailable, match=r"(?i)read.?only") as told:
        ledger.claims.claim(term, [slot()])
    assert type(told.value) is LedgerRefused
    assert ledger.claims.claim(term, [slot()]) == {slot(): Claim.CLAIMED}, "the next connection may write"


@ON_SQLITE
@pytest.mark.django_db(transaction=True)
def test_a_full_disk_is_no_outage(ledger, lead, alias):
    term = lead()
    with connections[alias].cursor() as cursor:
        cursor.execute("VACUUM")  # pages that other tests have left empty are room
        cursor.execute("PRAGMA max_page_count = 1")  # as many as there are, in effect: none can be added
    slots = [slot(entry=f"{number:0>190}") for number in range(500)]
    with pytest.raises(LedgerRefused, match="refuses: database or disk is full"):
        ledger.claims.claim(term, slots)
    connections[alias].close()
    assert set(ledger.claims.claim(term, slots).values()) == {Claim.CLAIMED}, "there is room again"


def test_what_violates_the_tables_rules_is_an_answer_and_not_an_outage(ledger, lead, alias):
    """IntegrityError and DataError are about what was asked; the connection stays, and so does a transaction on it."""
    ledger.claims.claim(lead(), [slot()])
    row = models.Slot.objects.using(alias).get()
    row.pk = None
    for guard in (outages, transaction):
        with pytest.raises(IntegrityError), guard(alias):
            row.save(using=alias, force_insert=True)
    if connections[alias].vendor != "sqlite":  # which has no lengths
        with pytest.raises(DataError), transaction(alias):
            models.Slot.objects.using(alias).update(entry="e" * 201)
    with atomic(using=alias):
        models.Slot.objects.using(alias).update(reason="written")
        with pytest.raises(IntegrityError), transaction(alias):
            row.save(using=alias, force_insert=True)
    assert models.Slot.objects.using(alias).get().reason == "written"


def test_an_outage_within_a_callers_transaction_leaves_its_connection_to_the_caller(ledger, lead, alias):
    connection = connections[alias]
    with pytest.raises(LedgerUnavailable), atomic(using=alias):
        ledger.fence.read()
        opened = connection.connection
        try:
            with outages(alias), connection.cursor() as cursor:
                cursor.execute("SELECT nothing FROM cutover_fence")
        finally:
            assert connection.connection is opened
            assert connection.in_atomic_block
    assert ledger.fence.read().epoch == 0


def test_settings_with_which_there_is_no_connection_are_no_outage(alias):
    with pytest.raises(ConfigurationError, match=r"DATABASES\['nowhere'\].*doesn't exist\.$"), outages("nowhere"):
        pass
    with pytest.raises(ConfigurationError, match=r"cannot be used: Please supply the NAME\.$"), outages(alias):
        raise ImproperlyConfigured("Please supply\nthe NAME.")


def test_the_rows_tables_count_too(ledger, alias):
    """The phases ask for django-celery-beat's rows under the same rule."""
    table = PeriodicTask._meta.db_table
    with connections[alias].cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} RENAME TO {table}_away")
    try:
        with pytest.raises(LedgerNotMigrated), outages(alias):
            PeriodicTask.objects.using(alias).count()
    finally:
        with connections[alias].cursor() as cursor:
            cursor.execute(f"ALTER TABLE {table}_away RENAME TO {table}")


def read_and_write(ledger: Ledger, alias: str) -> None:
    with transaction(alias):
        ledger.fence.read()
        models.Fence.objects.using(alias).update(guarded_since=NOW)


READ_FIRST = {
    "a transaction": read_and_write,
    "an operator's word": lambda ledger, alias: ledger.senders.set_sent_by(["a.task"], SentBy.BEATS_ALONE),
    "the rows after a flush": lambda ledger, alias: make_missing(using=alias),
}


@ON_SQLITE
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("what", READ_FIRST)
def test_what_reads_first_waits_for_another_writer_on_sqlite_too(ledger, alias, monkeypatch, what):
    """With Django's own settings SQLite refuses it the write lock at once: "database is locked"."""
    if what == "the rows after a flush":
        models.Cutover.objects.using(alias).all().delete()
    connections[alias].close()
    monkeypatch.setitem(connections[alias].settings_dict, "OPTIONS", {"timeout": 20})
    with locked_by_another(transaction(alias), for_s=0.3):
        READ_FIRST[what](ledger, alias)
    assert models.Cutover.objects.using(alias).exists()
    connections[alias].close()


@ON_SQLITE
@pytest.mark.django_db(transaction=True)
def test_a_lock_that_is_kept_for_too_long_is_not_said_to_be_an_outage(alias, ledger):
    with connections[alias].cursor() as cursor:
        cursor.execute("PRAGMA busy_timeout = 50")
    models.Cutover.objects.using(alias).all().delete()
    with locked_by_another(transaction(alias), for_s=10):
        with pytest.raises(LedgerBusy, match="is kept locked by somebody else"):
            ledger.fence.set_guarded(NOW)
        with connections[alias].cursor() as cursor:  # that of a new connection
            cursor.execute("PRAGMA busy_timeout = 50")
        with pytest.raises(CommandError, match=r"kept locked by somebody else: .* -> try again"):
            make_missing(using=alias)
    connections[alias].close()


@pytest.mark.parametrize("alias", ["postgres"], indirect=True)
@pytest.mark.django_db(transaction=True, databases=["default", "postgres"])
def test_a_kept_connection_that_the_network_forgets_is_given_up_unless_the_project_says_otherwise(alias, monkeypatch):
    connection = connections[alias]
    connection.close()
    options = {**connection.settings_dict["OPTIONS"], "keepalives_idle": 60}
    monkeypatch.setitem(connection.settings_dict, "OPTIONS", options)
    monkeypatch.setitem(connection.settings_dict, "CONN_MAX_AGE", 0)
    keep(alias)
    connection.ensure_connection()
    told = connection.connection.info.get_parameters()
    assert connection.close_at is None
    assert (told["tcp_user_timeout"], told["connect_timeout"], told["keepalives_idle"]) == ("10000", "10", "60")
    connection.close()


@ON_SQLITE
@pytest.mark.django_db(transaction=True)
def test_a_file_has_nothing_of_the_network_to_be_told(alias, monkeypatch):
    settings = connections[alias].settings_dict
    monkeypatch.setitem(settings, "CONN_MAX_AGE", 0)
    options = settings["OPTIONS"]
    keep(alias)
    assert (settings["OPTIONS"], settings["CONN_MAX_AGE"]) == (options, None)


@pytest.mark.parametrize("alias", ["postgres"], indirect=True)
@pytest.mark.django_db(transaction=True, databases=["default", "postgres"])
def test_a_pool_stays_as_it_is(alias, monkeypatch):
    settings = connections[alias].settings_dict
    monkeypatch.setitem(settings, "CONN_MAX_AGE", 0)
    monkeypatch.setitem(settings, "OPTIONS", {"pool": True})
    keep(alias)
    assert (settings["OPTIONS"], settings["CONN_MAX_AGE"]) == ({"pool": True}, 0)
