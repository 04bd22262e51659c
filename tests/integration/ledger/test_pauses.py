"""Pauses beside the fence, on real databases: from the commit on nothing of it is claimed, whoever leads."""

import datetime as dt
import threading

import pytest
from django.db import connections
from django.test.utils import CaptureQueriesContext

from cutover import clock, models
from cutover.ledger import Ledger
from cutover.ledger.database import transaction
from cutover.ledger.pauses import SITE
from cutover.ledger.single_rows import make_missing
from cutover.types import Claim, Missed, Side
from demo.waiting import wait_until
from tests.integration.conftest import NAMESPACE, RETENTION
from tests.support.ledger import HOUR, SECOND, name, slot
from tests.support.rooms import in_threads

pytestmark = [pytest.mark.integration, pytest.mark.mariadb, pytest.mark.usefixtures("nothing_left")]


def end_now(alias: str) -> None:
    """Let the time of every pause be over, by the database's clock."""
    models.Pause.objects.using(alias).update(until=clock.now() - SECOND)


def test_under_a_pause_nothing_is_claimed_and_nothing_recorded_as_missed(ledger, lead, rows):
    term = lead()
    ledger.pauses.pause(SITE, None, "alice@host", "the database moves")
    late = Missed(slot("b"), "late")
    assert ledger.claims.claim(term, [slot()], [late]) == {slot(): Claim.PAUSED, late.slot: Claim.PAUSED}
    assert rows() == {}
    assert ledger.pauses.resume(SITE, "bob@host").reason == "the database moves"
    assert ledger.claims.claim(term, [slot()]) == {slot(): Claim.CLAIMED}
    assert ledger.pauses.resume(SITE, "bob@host") is None


def test_an_entry_is_paused_by_itself_and_nothing_of_it_is_written(ledger, lead, rows):
    term = lead()
    ledger.pauses.pause(name("a"), None, "alice@host", "")
    outcomes = ledger.claims.claim(term, [slot("a"), slot("b")], [Missed(slot("a", HOUR), "late")])
    assert outcomes == {slot("a"): Claim.PAUSED, slot("a", HOUR): Claim.PAUSED, slot("b"): Claim.CLAIMED}
    assert {entry for entry, _ in rows()} == {"b"}
    ledger.pauses.resume(SITE, "alice@host")
    assert ledger.claims.claim(term, [slot("a")]) == {slot("a"): Claim.PAUSED}, "the site was not what was paused"


def test_a_switch_of_side_and_a_new_leader_change_no_pause(ledger, lead):
    ledger.pauses.pause(SITE, None, "alice@host", "")
    ledger.fence.switch(Side.DATABASE)
    assert ledger.claims.claim(lead(Side.DATABASE), [slot()]) == {slot(): Claim.PAUSED}


def test_a_pause_ends_by_itself_by_the_databases_clock_and_its_end_is_recorded(ledger, lead, alias, monkeypatch):
    term = lead()
    pause = ledger.pauses.pause(SITE, HOUR, "alice@host", "")
    assert abs(pause.until - pause.paused_at - HOUR) < SECOND / 1000
    monkeypatch.setattr(clock, "now", lambda: dt.datetime.now(dt.UTC) + 2 * HOUR)
    assert ledger.claims.claim(term, [slot()]) == {slot(): Claim.PAUSED}, "a host's own clock does not count"
    monkeypatch.undo()
    end_now(alias)
    assert ledger.claims.claim(term, [slot()]) == {slot(): Claim.CLAIMED}
    row = models.Pause.objects.using(alias).get()
    assert (row.ended_at, row.ended_by) == (row.until, "")
    assert ledger.fence.read().pauses == 0
    assert ledger.pauses.resume(SITE, "bob@host") is None


def test_pausing_again_says_the_end_and_the_reason_anew_and_is_the_same_pause(ledger, alias):
    first = ledger.pauses.pause(SITE, None, "alice@host", "")
    again = ledger.pauses.pause(SITE, HOUR, "bob@host", "the broker moves")
    assert (again.paused_at, again.paused_by, again.reason) == (first.paused_at, "bob@host", "the broker moves")
    end_now(alias)
    other = ledger.pauses.pause(SITE, None, "bob@host", "")
    assert other.paused_at > first.paused_at
    assert models.Pause.objects.using(alias).count() == 2
    assert [pause.paused_at for pause in ledger.pauses.read()] == [other.paused_at]


def test_a_claim_that_waits_for_the_fence_while_a_pause_is_committed_is_refused(ledger, lead, alias):
    """A statement that waits for a lock is answered by what was there when it began: the pause is read after it."""
    term, claimed, held = lead(), [], threading.Event()

    def claim() -> None:
        held.wait(10)
        claimed.append(Ledger(alias, NAMESPACE, RETENTION).claims.claim(term, [slot()]))

    def pause() -> None:
        with transaction(alias):
            ledger.fence.held()
            held.set()
            wait_until(lambda: _waits_for_a_lock(alias), "the claim waits for the fence", poll_s=0.2)
            ledger.pauses.pause(SITE, None, "alice@host", "")

    in_threads(claim, pause)
    assert claimed == [{slot(): Claim.PAUSED}]


def _waits_for_a_lock(alias: str) -> bool:
    """Whether a session does; of SQLite, whose writers wait before their first statement, nobody can say.

    InnoDB answers one who asks more often than ten times a second from what it has said before.
    """
    asked = {
        "postgresql": "SELECT count(*) FROM pg_locks WHERE NOT granted",
        "mysql": "SELECT count(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'",
        "sqlite": "SELECT 1",
    }
    with connections[alias].cursor() as cursor:
        cursor.execute(asked[connections[alias].vendor])
        return bool(cursor.fetchone()[0])


def test_pauses_cost_a_claim_no_statement_where_there_are_none(ledger, lead, alias):
    term, counts = lead(), []
    for entry in (None, name("z")):
        if entry:
            ledger.pauses.pause(entry, None, "alice@host", "")
        with CaptureQueriesContext(connections[alias]) as statements:
            ledger.claims.claim(term, [slot(f"of {entry}")])
        counts.append(sum("cutover_pause" in each["sql"] for each in statements))
    assert counts == [0, 1]


def test_what_a_pause_kept_back_is_named_so_and_nothing_else_is(ledger, alias):
    pause = ledger.pauses.pause(name("a"), None, "alice@host", "the database moves")
    rows = models.Pause.objects.using(alias)
    rows.update(paused_at=pause.paused_at - 3 * HOUR, ended_at=pause.paused_at - HOUR)
    found = ledger.pauses.explain([Missed(slot(entry, ago), "late") for entry in "ab" for ago in (4 * HOUR, 2 * HOUR)])
    assert [missed.reason for missed in found] == ["late", "paused (the database moves): late", "late", "late"]
    assert ledger.pauses.explain([Missed(slot("a"), "late")])[0].reason == "late", "it had ended by then"
    assert ledger.pauses.explain([]) == []


def test_a_fence_that_was_lost_alone_still_knows_of_its_pauses(ledger, lead, alias):
    lead()
    ledger.pauses.pause(SITE, None, "alice@host", "")
    models.Fence.objects.using(alias).all().delete()
    make_missing(using=alias)
    assert [pause.entry for pause in ledger.pauses.read()] == [SITE]


def test_pauses_that_are_long_over_are_forgotten_and_one_that_is_not_stays(ledger, alias):
    for entry in (name("a"), SITE):
        ledger.pauses.pause(entry, None, "alice@host", "")
    rows = models.Pause.objects.using(alias)
    rows.update(paused_at=clock.now() - 2 * RETENTION)
    ledger.pauses.resume(name("a"), "alice@host")
    rows.exclude(ended_at=None).update(ended_at=clock.now() - RETENTION - SECOND)
    ledger.retention.prune(100)
    assert [row.entry for row in rows] == [SITE]
