"""What the ledger knows of entries, on real SQLite and real PostgreSQL; what it is to know says ``beats.reconcile``."""

from collections.abc import Callable

import pytest
from django.db import connections, transaction
from django.test.utils import CaptureQueriesContext

from cutover import clock, models
from cutover.ledger import Ledger
from cutover.ledger.entries import KnownEntry
from cutover.types import Limits, Side
from tests.support.ledger import DAY, name, settle
from tests.support.rooms import in_threads

pytestmark = [pytest.mark.integration, pytest.mark.mariadb, pytest.mark.usefixtures("nothing_left")]


def test_an_entry_that_stays_keeps_what_it_is_owed_across_terms_and_switches(ledger, lead):
    entries = {name("a"): "f"}
    first = settle(ledger, lead(), entries)
    assert settle(ledger, lead(), entries) == first
    ledger.fence.switch(Side.DATABASE)
    assert settle(ledger, lead(Side.DATABASE), entries) == first


def test_who_is_fenced_learns_nothing_and_changes_nothing(ledger, lead, alias):
    old, _ = lead(), lead()
    assert settle(ledger, old, {name("a"): "f"}) is None
    assert not models.Entry.objects.using(alias).exists()


def test_two_thousand_entries_are_settled_at_once(ledger, lead):
    term, entries = lead(), {name(f"e{i}"): "f" for i in range(2_000)}
    first = settle(ledger, term, entries)
    assert settle(ledger, term, entries) == first
    assert all(at > first[n] for n, at in settle(ledger, term, dict.fromkeys(entries, "g")).items())


def test_who_watches_the_projects_queries_may_count_and_read_the_rows_before_they_are_written(ledger, lead, alias):
    many = []

    def watch(execute, sql, params, is_many, context):
        if is_many:
            many.append((len(params), len([*params])))
        return execute(sql, params, is_many, context)

    term, entries = lead(), {name(f"e{i}"): "f" for i in range(1_200)}
    with connections[alias].execute_wrapper(watch):
        first = settle(ledger, term, entries)
        settle(ledger, term, dict.fromkeys(entries, "g"))
    assert many
    assert all(counted == read for counted, read in many)
    assert settle(ledger, term, dict.fromkeys(entries, "g")).keys() == first.keys() == entries.keys()


def test_a_standby_reads_what_is_new_of_the_entries_and_not_all_of_them_again(ledger, lead, standby, read):
    term = lead()
    settle(ledger, term, dict.fromkeys([name("a"), name("b")], "f"))
    assert read(standby.entries.refresh) == (1, {"a", "b"})
    settle(ledger, term, dict.fromkeys([name("a"), name("b"), name("c")], "f"))
    assert read(standby.entries.refresh) == (2, {"c"})
    settle(ledger, term, {name("a"): "g", name("b"): "f"})
    assert read(standby.entries.refresh) == (3, {"a", "c"})
    assert standby.entries.known == ledger.entries.known
    assert [n for n, known in standby.entries.known.items() if known.is_active] == [name("a"), name("b")]


def test_who_has_polled_the_fence_asks_nothing_when_nothing_has_changed(ledger, lead, standby, alias):
    settle(ledger, lead(), {name("a"): "f"})
    view = standby.fence.read()
    assert standby.entries.refresh(view.schedule_revision) == view.schedule_revision == 1
    with CaptureQueriesContext(connections[alias]) as asked:
        standby.entries.refresh(view.schedule_revision)
    assert asked.captured_queries == []


def test_the_revision_rises_with_a_change_alone(ledger, lead):
    term, entries = lead(), {name("a"): "f"}
    settle(ledger, term, entries)
    for _ in range(2):
        settle(ledger, term, entries)
        assert ledger.fence.read().schedule_revision == 1
    settle(ledger, term, {})
    assert ledger.fence.read().schedule_revision == 2


def test_a_revision_that_went_back_has_everything_read_again(ledger, lead, standby, read, alias):
    """The database was put back from a copy: what was known of it since is not true any more."""
    term = lead()
    for fingerprint in "fgh":
        settle(ledger, term, dict.fromkeys([name("a"), name("b")], fingerprint))
    standby.entries.refresh()
    models.Entry.objects.using(alias).filter(name="b").delete()
    models.Entry.objects.using(alias).update(fingerprint="f", revision=1)
    models.Fence.objects.using(alias).update(schedule_revision=1)
    assert read(standby.entries.refresh) == (1, {"a"})
    assert {n: known.fingerprint for n, known in standby.entries.known.items()} == {"a": "f"}
    assert settle(ledger, term, {name("b"): "f"}) is not None, "its leader reads them again too"
    assert set(models.Entry.objects.using(alias).values_list("name", "active")) == {("a", False), ("b", True)}


def test_what_is_decided_is_written_once_and_handed_back(ledger, lead, alias):
    term = lead()
    entry = KnownEntry("f", clock.now(), Limits(None, clock.now() + DAY))
    seen = []

    def decide(known):
        seen.append(dict(known))
        return {name("a"): entry}

    assert ledger.entries.revise(term, decide) == {name("a"): entry}
    with CaptureQueriesContext(connections[alias]) as asked:
        assert ledger.entries.revise(term, decide) == {name("a"): entry}
    assert seen == [{}, {name("a"): entry}]
    assert not [query for query in asked if "cutover_entry" in query["sql"]]
    assert Ledger(alias, "tests", DAY).entries.revise(term, lambda known: {}) == {name("a"): entry}


def test_the_fence_is_not_held_while_it_is_decided(ledger, lead, alias):
    """Of many entries that takes seconds, and a database ends the session of who holds the fence in silence."""
    term, held = lead(), []

    def decide(known):
        held.append(connections[alias].in_atomic_block)
        return {name("a"): KnownEntry("f", clock.now())}

    ledger.entries.revise(term, decide)
    assert held == [False]


def test_what_somebody_changed_meanwhile_has_it_decided_again(ledger, lead, standby, alias):
    term, asked = lead(), []

    def decide(known):
        asked.append(set(known))
        if len(asked) == 1:
            settle(standby, term, {name("b"): "f"})
        return {name("a"): KnownEntry("f", clock.now())}

    assert ledger.entries.revise(term, decide).keys() == {"a", "b"}
    assert asked == [set(), {"b"}]
    assert ledger.fence.read().schedule_revision == 2


def test_what_was_not_committed_is_not_known(ledger, lead, alias):
    term = lead()

    class Killed(Exception):
        pass

    with pytest.raises(Killed), transaction.atomic(using=alias):
        settle(ledger, term, {name("a"): "f"})
        raise Killed
    assert ledger.entries.refresh() == 0
    assert ledger.entries.known == {}


def test_leaders_that_fence_one_another_leave_one_truth(ledger, identity, alias):
    """Each is elected, settles its own schedule, and is succeeded; readers come to know what is in the table."""
    ledgers = [Ledger(alias, "tests", DAY) for _ in range(4)]

    def usurp(own: Ledger, fingerprint: str) -> None:
        for i in range(5):
            term = own.fence.open_term(identity(), Side.CODE)
            settle(own, term, {name(f"e{n}"): fingerprint for n in range(i, i + 3)})

    in_threads(*[lambda own=own, i=i: usurp(own, f"f{i}") for i, own in enumerate(ledgers)])
    rows = {r.name: (r.fingerprint, r.active) for r in models.Entry.objects.using(alias)}
    for each in [ledger, *ledgers]:
        each.entries.refresh()
        assert {n: (known.fingerprint, known.is_active) for n, known in each.entries.known.items()} == rows


@pytest.fixture
def standby(alias) -> Ledger:
    """The ledger as another process sees it."""
    return Ledger(alias, "tests", DAY)


@pytest.fixture
def read(alias) -> Callable[..., tuple[int, set[str]]]:
    """What a call returns, and the names of the entries that it has read."""

    def read(call: Callable[[], int]) -> tuple[int, set[str]]:
        with CaptureQueriesContext(connections[alias]) as asked:
            result = call()
        (query,) = [query["sql"] for query in asked if "cutover_entry" in query["sql"]]
        with connections[alias].cursor() as cursor:
            cursor.execute(query)
            return result, {row[0] for row in cursor.fetchall()}

    return read
