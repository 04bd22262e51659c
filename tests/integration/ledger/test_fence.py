"""The fence and its terms, on real SQLite and real PostgreSQL."""

import datetime as dt
from importlib import import_module

import pytest
from django.apps import apps
from django.db import connections
from django.db.models import Count, Subquery
from django.db.models.sql.compiler import SQLCompiler

from cutover import clock, models
from cutover.errors import LedgerNotMigrated
from cutover.types import Side
from tests.support.ledger import HOUR, SECOND
from tests.support.rooms import in_threads

pytestmark = [pytest.mark.integration, pytest.mark.mariadb, pytest.mark.usefixtures("nothing_left")]


def test_each_leadership_raises_the_epoch_and_ends_the_one_before(ledger, lead, alias):
    first, second = lead(), lead()
    assert (first.epoch, second.epoch) == (1, 2)
    assert ledger.fence.read().epoch == 2
    ended = models.Term.objects.using(alias).get(epoch=1)
    assert (ended.end_reason, ended.ended_at is None) == ("succeeded", False)
    assert models.Term.objects.using(alias).get(epoch=2).ended_at is None


@pytest.mark.parametrize("wrong", [2 * HOUR, -2 * HOUR], ids=["ahead", "behind"])
def test_a_clock_that_is_wrong_is_put_right_by_the_databases(ledger, monkeypatch, wrong):
    true = clock.now
    assert ledger.fence.read().now - true() < SECOND
    with monkeypatch.context() as patch:
        patch.setattr(clock, "now", lambda: true() + wrong)
        ledger.fence.read()
        assert abs(ledger.fence.now() - true()) < SECOND
    ledger.fence.read()
    assert abs(ledger.fence.now() - true()) < SECOND, "right again"


def test_clocks_that_are_as_good_as_equal_are_left_as_they_are(ledger, monkeypatch):
    """The database's is read over a connection: what is corrected by that would jitter."""
    apart, true = dt.timedelta(milliseconds=800), clock.now
    monkeypatch.setattr(clock, "now", lambda: true() + apart)
    ledger.fence.read()
    assert ledger.fence.now() - true() > apart / 2


def test_a_poll_makes_its_sql_once_and_has_its_answers_as_they_are_then(ledger, lead, alias, monkeypatch):
    """It is asked every two seconds for as long as a beat runs; Django takes longer over the SQL than the database."""
    asks = {"fences": Count("pk"), "newest": Subquery(models.Term.objects.order_by("-epoch").values("started_at")[:1])}
    assert ledger.fence.read(asks).answers == {"fences": 1, "newest": None}
    made: list[object] = []
    compile_ = SQLCompiler.as_sql
    monkeypatch.setattr(SQLCompiler, "as_sql", lambda self, *a, **kw: made.append(self) or compile_(self, *a, **kw))
    ledger.fence.read(asks)
    assert not made
    term = lead()
    made.clear()
    found = ledger.fence.read(asks)
    assert not made
    assert (found.epoch, found.answers["newest"]) == (term.epoch, models.Term.objects.using(alias).get().started_at)
    assert ledger.fence.read().answers == {}, "what was asked with another poll"
    models.Fence.objects.using(alias).all().delete()
    with pytest.raises(LedgerNotMigrated):
        ledger.fence.read(asks)


def test_the_other_side_opens_no_term(ledger, identity):
    assert ledger.fence.open_term(identity(), Side.DATABASE) is None
    assert ledger.fence.read().epoch == 0


def test_a_switch_raises_the_epoch_once_however_often_it_is_asked_for(ledger, lead, alias):
    lead()
    assert [ledger.fence.switch(Side.DATABASE) for _ in range(3)] == [2, 2, 2]
    assert ledger.fence.read().side is Side.DATABASE
    assert ledger.fence.read().switched_at is not None
    assert models.Term.objects.using(alias).get(epoch=1).end_reason == "switched to database"


def test_the_newest_term_since_an_epoch_is_found(ledger, lead):
    lead()
    epoch = ledger.fence.switch(Side.DATABASE)
    assert ledger.fence.term_since(epoch) is None
    term = lead(Side.DATABASE)
    assert ledger.fence.term_since(epoch).epoch == term.epoch == 3


def test_the_first_tick_and_the_first_reason_of_an_end_stay(ledger, lead, alias):
    term = lead()
    ledger.fence.record_first_tick(term)
    seen = models.Term.objects.using(alias).get().first_tick_at
    ledger.fence.record_first_tick(term)
    for reason in ("fenced", "stopped"):
        ledger.fence.end_term(term, reason)
    row = models.Term.objects.using(alias).get()
    assert (row.first_tick_at, row.end_reason) == (seen, "fenced")


def test_a_leader_from_before_a_flush_says_nothing_of_a_later_ones_term_of_the_same_number(ledger, lead, alias):
    before = lead()
    for model in (models.Term, models.Fence):
        model.objects.using(alias).all().delete()
    models.Fence.objects.using(alias).create(id=1)
    term = lead()
    assert (term.epoch, term.holder != before.holder) == (before.epoch, True)
    ledger.fence.record_first_tick(before)
    ledger.fence.record_seen(before)
    ledger.fence.end_term(before, "fenced")
    row = models.Term.objects.using(alias).get()
    assert (row.first_tick_at, row.seen_at, row.ended_at) == (None, None, None)


def test_terms_opened_at_the_same_moment_get_epochs_of_their_own(ledger, identity):
    terms = in_threads(*[lambda: ledger.fence.open_term(identity(), Side.CODE)] * 8)
    assert sorted(term.epoch for term in terms) == list(range(1, 9))


def test_the_migration_makes_the_single_rows_and_leaves_those_that_have_moved_on(ledger, lead, alias):
    create = import_module("cutover.migrations.0001_initial").create_single_rows
    lead()
    ledger.fence.switch(Side.DATABASE)
    before = ledger.fence.read()
    models.Cutover.objects.using(alias).update(phase=3)
    with connections[alias].schema_editor() as editor:
        create(apps, editor)
    assert ledger.fence.read() == before
    assert models.Cutover.objects.using(alias).get().phase == 3
    for model in (models.Fence, models.Cutover):
        model.objects.using(alias).all().delete()
    with connections[alias].schema_editor() as editor:
        create(apps, editor)
    assert (ledger.fence.read().epoch, ledger.fence.read().side) == (0, Side.CODE)
    assert models.Cutover.objects.using(alias).get().phase == 0
