"""Status: who leads, what is late, and what was missed."""

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connections, transaction
from django.db.models import F
from pytest_django import Settings

from cutover import checks, clock
from cutover.models import Cutover, Declaration, Entry, Fence, Slot, UnmanagedBeat
from cutover.phases import phase2, phase3, plan, status
from cutover.phases.context import Context
from cutover.phases.report import Outcome, Report
from cutover.schedules.fingerprint import fingerprint
from cutover.types import EntryName, HolderId, Missed, Side, Term
from cutover.types import Slot as SlotName
from demo.waiting import wait_until
from tests.integration.phases.conftest import Beat, led
from tests.support.site import Site

pytestmark = pytest.mark.integration

Surroundings = Callable[[], Context]
Beats = Callable[[Side], Beat]


def test_a_site_that_is_led_is_healthy(context: Surroundings, beat: Beats) -> None:
    with beat(Side.CODE), beat(Side.DATABASE):
        wait_until(lambda: status.run(context()).data["healthy"], "the code side is led")
        report = status.run(context(), check=True)
    assert report.outcome is Outcome.DONE
    data = report.data
    assert (data["phase"], data["side"], data["standbys"], data["problems"]) == (0, "code", 1, [])
    assert data["lease"]["side"] == data["term"]["side"] == "code"
    assert data["lease"]["holder"] == data["term"]["holder"]
    assert {beat["side"]: beat["role"] for beat in data["beats"]} == {"code": "leader", "database": "standby"}


def test_a_site_without_a_leader_is_not(context: Surroundings, beat: Beats) -> None:
    with beat(Side.DATABASE):
        report = status.run(context(), check=True)
    assert report.outcome is Outcome.FAILED
    assert report.data["problems"] == ["nobody leads for the code side"]
    assert status.run(context()).outcome is Outcome.DONE


def test_what_is_late_and_what_was_missed_is_shown(context: Surroundings) -> None:
    site = context()
    entry = site.entries[EntryName("hourly")]
    began = clock.now().replace(minute=0, second=0, microsecond=0) - dt.timedelta(hours=3)
    Entry.objects.using(site.alias).create(name="hourly", fingerprint=fingerprint(entry.schedule), eligible_since=began)
    term = led(site.alias, Term(site.ledger.fence.read().epoch, Side.CODE, HolderId("host:1:x")))
    missed = Missed(SlotName(began + dt.timedelta(hours=1), EntryName("hourly")), "older than the catch-up window")
    site.ledger.claims.claim(term, [], [missed])
    data = status.run(context()).data
    overdue = (began + dt.timedelta(hours=2)).isoformat()
    assert data["overdue"] == [{"entry": "hourly", "due_at": overdue}]
    assert f"hourly is overdue since {overdue}" in data["problems"]
    assert [slot["reason"] for slot in data["missed"]] == ["older than the catch-up window"]

    site.ledger.claims.claim(
        term, [SlotName(began + dt.timedelta(hours=hours), EntryName("hourly")) for hours in (2, 3)]
    )
    Slot.objects.using(site.alias).update(deduplicated=2)
    data = status.run(context()).data
    assert (data["overdue"], data["unpublished"], data["deduplicated"]) == ([], 2, 6)


def test_what_is_stuck_on_the_way_is_shown(context: Surroundings) -> None:
    site, now = context(), clock.now()
    term = led(site.alias, Term(site.ledger.fence.read().epoch, Side.CODE, HolderId("host:1:x")))
    claimed, published = (SlotName(now - dt.timedelta(minutes=m), EntryName("yearly")) for m in (4, 3))
    site.ledger.claims.claim(term, [claimed, published])
    site.ledger.claims.confirm([published])
    stuck_since = dt.timedelta(minutes=3)
    Slot.objects.using(site.alias).update(claimed_at=now - stuck_since)
    Slot.objects.using(site.alias).filter(state="published").update(published_at=now - stuck_since)
    of_the_broker = f"1 claimed slots are not published, the oldest yearly of {claimed.due_at.isoformat()}: look at the"
    of_the_workers = f"1 published slots are started by no worker, the oldest yearly of {published.due_at.isoformat()}"
    [problem] = [problem for problem in status.run(context()).data["problems"] if problem.startswith("1 ")]
    assert problem.startswith(of_the_broker)
    site.ledger.fence.set_guarded(now - 2 * stuck_since)
    problem, also = [problem for problem in status.run(context()).data["problems"] if problem.startswith("1 ")]
    assert also.startswith(of_the_workers)
    site.ledger.fence.set_guarded(now - dt.timedelta(days=2))
    Slot.objects.using(site.alias).filter(state="published").update(published_at=now - dt.timedelta(hours=13))
    [problem] = [problem for problem in status.run(context()).data["problems"] if problem.startswith("1 ")]
    assert problem.startswith(of_the_broker), "one that lapsed, or was purged, is shown for half a day"


def test_slots_of_the_future_are_named_and_keep_nothing_back(
    context: Surroundings, beat: Beats, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a leader has left them whose clock was two hours ahead, or the database's own."""
    site, hours = context(), dt.timedelta(hours=2)
    slots = Slot.objects.using(site.alias)
    with beat(Side.CODE):
        wait_until(lambda: slots.filter(entry="ticking", state="published").count() > 1, "it ticks")
    with transaction.atomic(using=site.alias):
        for slot in slots.filter(entry="ticking"):
            slots.filter(pk=slot.pk).update(due_at=slot.due_at + hours)
        first, last = slots.order_by("due_at").first(), slots.order_by("due_at").last()
        slots.filter(pk=first.pk).update(state="missed")
    Entry.objects.using(site.alias).update(eligible_since=F("eligible_since") + hours)
    with beat(Side.CODE):
        wait_until(lambda: slots.filter(due_at__lte=clock.now()).count() > 2, "it goes on")
        seen = status.run(context()).data
    assert (seen["early"]["entry"], seen["early"]["due_at"]) == ("ticking", last.due_at.isoformat())
    assert [one for one in seen["problems"] if f"the last one ticking of {last.due_at.isoformat()}" in one]
    assert not slots.filter(pk=first.pk).exists(), "what was passed over in the future is taken back"
    assert slots.filter(pk=last.pk).exists(), "what was sent is not sent again"


def test_a_leader_whose_clock_is_ahead_sends_by_the_databases(
    context: Surroundings, beat: Beats, monkeypatch: pytest.MonkeyPatch
) -> None:
    site, true = context(), clock.now
    slots = Slot.objects.using(site.alias)
    with beat(Side.CODE):
        wait_until(lambda: slots.filter(state="published").count() > 1, "it ticks")
        wrong = slots.order_by("due_at").last()
        monkeypatch.setattr(clock, "now", lambda: true() + dt.timedelta(hours=2))
        wait_until(lambda: slots.filter(due_at__gt=wrong.due_at).count() > 3, "it goes on")
        monkeypatch.setattr(clock, "now", true)
        again = slots.order_by("due_at").last()
        wait_until(lambda: slots.filter(due_at__gt=again.due_at).count() > 3, "and when its clock is right again")
        assert slots.order_by("due_at").last().due_at < true() + dt.timedelta(seconds=2)
    assert not slots.filter(state="missed", passed_over__gt=0).exists()


def test_a_beat_without_the_lease_is_a_problem(context: Surroundings, alias: str) -> None:
    now = clock.now()
    UnmanagedBeat.objects.using(alias).create(origin="7@old-web", first_heard_at=now, last_heard_at=now)
    assert "a beat without the lease was heard: 7@old-web" in status.run(context()).data["problems"]


@pytest.mark.parametrize("run", [status.run, plan.run])
def test_a_command_that_only_asks_writes_nothing(context: Surroundings, run: Callable[[Context], Report]) -> None:
    """On a site that is migrated and has never seen another command."""
    site, written = context(), []
    Cutover.objects.using(site.alias).all().delete()

    def watch(execute: Any, sql: str, params: Any, many: bool, wrapped: Any) -> Any:
        if not sql.startswith(("SELECT", "EXPLAIN", "PRAGMA")):
            written.append(sql)
        return execute(sql, params, many, wrapped)

    with connections[site.alias].execute_wrapper(watch):
        assert run(site).data["phase"] == 0
    assert written == []


def test_a_leader_that_was_killed_is_not_said_to_lead_and_its_gap_counts_from_its_last_sign_of_life(
    sqlite_site: Site,
) -> None:
    site = sqlite_site
    killed = site.prodserver("legacy-beat")
    leads = wait_until(lambda: _is_seen(site), "the beat leads and has polled", poll_s=0.3)
    killed.kill()
    killed_at = dt.datetime.now(dt.UTC)
    dead = site.status()
    assert dead["lease"]["connected"] is False
    assert [beat["role"] for beat in dead["beats"]] == ["gone"]
    assert dead["standbys"] == 0
    assert dead["healthy"] is False
    assert any(line.startswith("Leader    nobody; ") for line in dead["lines"])
    probed = site.cutover("status", "--check", "--role", "any")
    assert (probed.exit_code, "no beat of this host has reported lately" in probed.output) == (1, True)
    site.prodserver("legacy-beat")
    now = wait_until(lambda: (s := _is_seen(site)) and s["epoch"] > leads["epoch"] and s, "the next one leads")
    began = dt.datetime.fromisoformat(now["term"]["first_tick_at"])
    assert now["last_gap_since"] == "last sign of life"
    gap = dt.timedelta(milliseconds=now["last_gap_ms"])
    assert began - killed_at <= gap <= began - dt.datetime.fromisoformat(leads["term"]["seen_at"])
    assert any("at most: since the last sign of life" in line for line in now["lines"])


CLEANUP = "celery.backend_cleanup"


def test_what_the_code_has_and_no_row_sends_is_named_after_the_switch(
    context: Surroundings, schedule: dict[str, dict[str, Any]], settings: Settings
) -> None:
    alias = context().alias
    Cutover.objects.using(alias).update(phase=1)
    assert phase2.run(context()).outcome is Outcome.DONE
    schedule["added"] = {"task": "demo.tasks.note", "schedule": 60}
    settings.CELERY_RESULT_EXPIRES = 3600
    assert status.run(context()).data["without_row"] == [], "the code side sends it"
    assert checks.check_rows(databases=[alias]) == []
    assert phase3.run(context(), force=True).outcome is Outcome.REFUSED
    Fence.objects.using(alias).update(side="database")
    Cutover.objects.using(alias).update(phase=4)
    Declaration.objects.using(alias).create(
        side="code", holder="h", declared_at=clock.now(), entries={"retired": ["every 60s", ""]}
    )
    data = status.run(context()).data
    assert data["without_row"] == ["added", CLEANUP]
    assert "added is in the code and has no row: nothing sends it" in data["problems"]
    [warning] = checks.check_rows(databases=[alias])
    assert (warning.id, f"added, {CLEANUP}." in warning.msg) == ("cutover.W010", True)
    assert checks.check_rows() == [], "a check asks the database only where Django does"
    Cutover.objects.using(alias).update(phase=3)
    assert status.run(context()).data["without_row"] == ["added", CLEANUP, "retired"]


def test_a_check_of_a_database_without_tables_is_silent(context: Surroundings, alias: str) -> None:
    """``migrate`` runs the checks before it makes them."""
    Fence.objects.using(alias).all().delete()
    assert checks.check_rows(databases=[alias]) == []


def _is_seen(site: Site) -> dict[str, Any] | None:
    seen = site.status()
    return seen if (seen.get("term") or {}).get("seen_at") else None
