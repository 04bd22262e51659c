"""Where MySQL and MariaDB differ from the others, held to the same promises; what concerns all is asked of all."""

import datetime as dt
import threading

import pytest
from django.db import DataError, connections
from django.db.transaction import atomic

from cutover import checks, conf, models
from cutover.errors import LedgerUnavailable
from cutover.ledger import bulk
from cutover.ledger.database import SILENCE_S, silence_bounded, transaction, tried_again
from cutover.phases.context import Context
from cutover.phases.gates import servers
from cutover.types import Claim, Epoch, Sender, Side, Start
from tests.servers import PRODUCT
from tests.support.ledger import NOW, name, settle, slot
from tests.support.rooms import in_threads

pytestmark = [pytest.mark.integration, pytest.mark.mariadb, pytest.mark.usefixtures("nothing_left")]

ALIKE = ("report", "Report", "repört", "report ", "report\u200b")
"""To the usual collations of MySQL one name, or few."""


def test_names_that_differ_in_case_alone_are_entries_of_their_own(ledger, lead):
    term, slots = lead(), [slot(each) for each in ALIKE]
    assert settle(ledger, term, {name(each): f"f{each}" for each in ALIKE}).keys() == set(ALIKE)
    assert ledger.claims.claim(term, slots) == dict.fromkeys(slots, Claim.CLAIMED)
    ledger.claims.confirm(slots[:1])
    assert {claim.slot for claim in ledger.claims.unpublished()} == set(slots[1:])
    assert ledger.runs.start(slots[0], term.epoch, "w") is Start.STARTED
    assert [ledger.runs.read(each).worker for each in slots] == ["w", "", "", "", ""]
    assert ledger.cursors.latest_of([name("REPORT")]) == {}
    assert {known.fingerprint for known in ledger.entries.known.values()} == {f"f{each}" for each in ALIKE}


@pytest.mark.mariadb(alone=True)
def test_every_text_is_told_apart_byte_by_byte(alias):
    """Also what later migrations bring: a table's collation is that of its new columns, a new table needs one too."""
    collation = "utf8mb4_0900_bin" if PRODUCT.is_mysql else "utf8mb4_nopad_bin"
    ours = "table_schema = DATABASE() AND table_name LIKE 'cutover\\_%%'"
    with connections[alias].cursor() as cursor:
        cursor.execute(f"SELECT table_name, table_collation FROM information_schema.tables WHERE {ours}")
        tables = dict(cursor.fetchall())
        cursor.execute(f"SELECT DISTINCT collation_name FROM information_schema.columns WHERE {ours}")
        columns = {collation for (collation,) in cursor.fetchall()}
    assert tables == {m._meta.db_table: collation for m in models.Slot._meta.app_config.get_models()}
    assert columns == {collation, None}


@pytest.mark.mariadb(alone=True)
def test_a_session_is_left_as_it_was_found(ledger, lead, alias):
    """The bound on its silence is there within a transaction of ours, and nowhere else."""

    def bound() -> int:
        with connections[alias].cursor() as cursor:
            cursor.execute("SELECT @@SESSION.wait_timeout")
            return cursor.fetchone()[0]

    with connections[alias].cursor() as cursor:
        cursor.execute("SET SESSION wait_timeout = 1234")
    ledger.claims.claim(lead(), [slot()])
    assert bound() == 1234
    with pytest.raises(ZeroDivisionError), transaction(alias):
        assert bound() == SILENCE_S
        raise ZeroDivisionError
    assert bound() == 1234
    with atomic(using=alias):
        ledger.fence.switch(Side.DATABASE)
        assert bound() == 1234, "the caller's transaction is not ours"
    with silence_bounded(alias), atomic(using=alias):
        ledger.fence.switch(Side.CODE)
        assert bound() == SILENCE_S, "until the outermost has ended"
    assert bound() == 1234


@pytest.mark.mariadb(alone=True)
def test_a_session_that_has_ended_takes_its_bound_along(ledger, lead, alias):
    term = lead()
    with pytest.raises(LedgerUnavailable), transaction(alias):
        with connections[alias].cursor() as cursor:
            cursor.execute("SELECT connection_id()")
            (number,) = cursor.fetchone()
        in_threads(lambda: connections[alias].cursor().execute("KILL %s", [number]))
        ledger.fence.admits(term)
    assert ledger.claims.claim(term, [slot()]) == {slot(): Claim.CLAIMED}


def test_what_is_inserted_unless_it_is_there_is_whole_or_an_error(ledger, lead, alias):
    ledger.claims.claim(lead(), [slot()])
    row = models.Slot.objects.using(alias).get()
    row.pk, row.run_by = None, "another"
    bulk.insert_new(alias, [row], models.SLOT_KEY)
    assert models.Slot.objects.using(alias).get().run_by == ""
    row.entry, row.reason = "b", "r" * 201
    if connections[alias].vendor != "sqlite":  # which has no lengths
        with pytest.raises(DataError):
            bulk.insert_new(alias, [row], models.SLOT_KEY)
        assert models.Slot.objects.using(alias).get().entry == "a"


def test_a_deadlock_is_tried_again(ledger, lead, alias):
    if connections[alias].vendor == "sqlite":
        pytest.skip("SQLite has one writer at a time")
    ledger.claims.claim(lead(), [slot("a"), slot("b")])
    together, tries = threading.Barrier(2), []

    @tried_again
    def change(first: str, second: str) -> None:
        tries.append(first)
        with transaction(alias):
            rows = models.Slot.objects.using(alias)
            rows.filter(entry=first, due_at=NOW).update(reason=f"{first} first")
            if tries.count(first) == 1:
                together.wait(30)
            rows.filter(entry=second, due_at=NOW).update(reason=f"{first} first")

    in_threads(lambda: change("a", "b"), lambda: change("b", "a"))
    assert len(tries) == 3
    assert len({row.reason for row in models.Slot.objects.using(alias)}) == 1, "one after the other"


@pytest.mark.mariadb(alone=True)
def test_under_repeatable_read_each_slot_is_claimed_and_started_once(ledger, lead, identity, alias):
    """As a project may have set it: what is decided is read under a lock."""
    connection = connections[alias]
    options = connection.settings_dict["OPTIONS"]
    connection.close()
    connection.settings_dict["OPTIONS"] = {**options, "isolation_level": "repeatable read"}
    connection.__dict__.pop("isolation_level", None)
    try:
        term, wanted = lead(), [slot(str(i)) for i in range(20)]
        start = [lambda: [ledger.runs.start(one, Epoch(1), "w", Sender("stock", "m")) for one in wanted]] * 2
        *claims, first, second = in_threads(*[lambda: ledger.claims.claim(term, wanted)] * 2, *start)
        for one, *started in zip(wanted, first, second, strict=True):
            assert [outcome[one] for outcome in claims].count(Claim.CLAIMED) <= 1
            assert started.count(Start.STARTED) == 1
        assert models.Slot.objects.using(alias).count() == 20
        ledger.fence.open_term(identity(), Side.CODE)
        assert ledger.claims.claim(term, [slot("late")]) == {slot("late"): Claim.FENCED}
    finally:
        connection.close()
        connection.settings_dict["OPTIONS"] = options


def test_a_time_is_kept_to_the_microsecond(ledger, lead, alias):
    one = slot(ago=dt.timedelta(microseconds=1))
    ledger.claims.claim(lead(), [one])
    assert models.Slot.objects.using(alias).get().due_at == one.due_at


@pytest.mark.mariadb(alone=True)
@pytest.mark.parametrize("engine", ["MyISAM", "MEMORY" if PRODUCT.is_mysql else "Aria"])
def test_a_storage_engine_without_transactions_is_refused_by_a_check_and_by_phase_1(settings, alias, engine):
    settings.CUTOVER = {"DATABASE": alias}
    settings.DATABASE_ROUTERS = [Rows(alias)]
    table = models.Fence._meta.db_table
    assert (checks.check_tables(databases=[alias]), servers.database(Context(conf.load())).ok) == ([], True)
    try:
        with connections[alias].cursor() as cursor:
            cursor.execute(f"ALTER TABLE {table} ENGINE={engine}")
        [error] = checks.check_tables(databases=[alias])
        refused = servers.database(Context(conf.load()))
    finally:
        with connections[alias].cursor() as cursor:
            cursor.execute(f"ALTER TABLE {table} ENGINE=InnoDB")
    assert (error.id, refused.ok) == ("cutover.E012", False)
    for said, remedy in ((error.msg, error.hint), (refused.detail, refused.remedy)):
        assert said.rstrip(".").endswith(f": {table}")
        assert remedy.startswith(f"ALTER TABLE {table} ENGINE=InnoDB")
    assert checks.check_tables() == [], "a check asks the database only where Django does"


class Rows:
    """Routes everything to one database."""

    def __init__(self, alias):
        self.alias = alias

    def db_for_write(self, model, **hints):
        return self.alias
