"""Status: who leads, what is late, and what was missed."""

import datetime as dt
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connections, transaction
from django.db.models import F
from django_celery_beat.models import IntervalSchedule, PeriodicTask
from pytest_django import Settings

from cutover import checks, clock, models
from cutover.ledger.fence import SUCCEEDED
from cutover.models import Cutover, Declaration, Entry, Fence, Slot, UnmanagedBeat
from cutover.observe import status
from cutover.phases import phase2, phase3, plan, rollback
from cutover.phases.context import Context
from cutover.phases.evidence import lateness
from cutover.phases.operations import snapshot
from cutover.phases.report import Outcome, Report
from cutover.phases.wording import instant
from cutover.schedules.fingerprint import fingerprint
from cutover.types import EntryName, HolderId, Identity, Missed, Side, Term
from cutover.types import Slot as SlotName
from demo.waiting import wait_until
from tests.integration.phases.conftest import Beat, led
from tests.support.ledger import CROWD, give_past, new_slot
from tests.support.plans import assert_by_index, plans
from tests.support.site import Site

pytestmark = pytest.mark.integration

Surroundings = Callable[[], Context]
Beats = Callable[[Side], Beat]


def shown(slot: SlotName) -> str:
    """When it was due, as a problem has it."""
    return instant(slot.due_at.replace(microsecond=0))


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
    (problem,) = report.data["problems"]
    assert problem.startswith("nobody leads for the code side: start a beat with the scheduler cutover.schedulers:Code")
    assert status.run(context()).outcome is Outcome.DONE


def test_a_lease_of_a_beat_that_leads_nothing_here_is_no_leader(context: Surroundings) -> None:
    """As of another site's beat, with the same namespace on the same Redis: of a daily entry nothing is overdue yet."""
    site = context()
    other_site = Identity(HolderId("theirs:1:x"), "theirs", 1, "")
    assert site.lease.acquire(other_site, Side.CODE, int(site.redis.client_id())) is None
    (problem,) = status.run(site, check=True).data["problems"]
    assert problem.startswith("nobody leads for the code side: theirs:1:x holds the lease and has no term in this")
    led(site.alias, Term(site.ledger.fence.read().epoch, Side.CODE, other_site.holder))
    assert site.lease.acquire(other_site, Side.CODE, int(site.redis.client_id())) is None
    seen = status.run(context()).data
    assert (seen["problems"], seen["lease"]["epoch"]) == ([], 0)


@pytest.mark.parametrize(
    ("limits", "known", "late"),
    [
        ((-48, None), (-48, None), True),
        ((-48, 48), (-48, 48), True),
        ((None, -1), (None, -1), True),  # what fell due before its end and was not sent is missed: nobody has said so
        ((None, -3), (None, -3), False),
        ((48, None), (48, None), False),
        ((-48, None), (None, None), False),  # no leader has read that start yet
    ],
)
def test_an_entry_with_a_start_and_an_end_is_overdue_like_any_other(
    context: Surroundings,
    limits: tuple[int | None, int | None],
    known: tuple[int | None, int | None],
    late: bool,
) -> None:
    site, now = context(), clock.now()
    Fence.objects.using(site.alias).update(side="database")
    start, end, not_before, not_after = (
        None if hours is None else now + dt.timedelta(hours=hours) for hours in (*limits, *known)
    )
    PeriodicTask.objects.using(site.alias).all().delete()
    hourly = IntervalSchedule.objects.using(site.alias).create(every=1, period="hours")
    told = {"task": "demo.tasks.note", "start_time": start, "expires": end}
    row = PeriodicTask.objects.using(site.alias).create(name="limited", interval=hourly, **told)
    PeriodicTask.objects.using(site.alias).update(enabled=True)
    Entry.objects.using(site.alias).create(
        name="limited",
        fingerprint=fingerprint(row.schedule),
        eligible_since=now - dt.timedelta(hours=2.5),
        not_before=not_before,
        not_after=not_after,
    )
    assert [one["entry"] for one in status.run(site).data["overdue"]] == ["limited"] * late
    assert [name for name, _ in lateness.overdue(site, Side.DATABASE)] == ["limited"] * late


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
    assert f"hourly is overdue since {instant(began + dt.timedelta(hours=2))}" in data["problems"]
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
    of_the_broker = f"1 claimed slot is not published, the oldest of yearly, due {shown(claimed)}: look at the"
    of_the_workers = f"1 published slot is started by no worker, the oldest of yearly, due {shown(published)}"
    problem, also = [problem for problem in status.run(context()).data["problems"] if problem.startswith("1 ")]
    assert problem.startswith(of_the_broker)
    assert also.startswith("1 published slot has no recorded run, the oldest of yearly"), "nobody has asked the workers"
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
    assert [
        one
        for one in seen["problems"]
        if f"the last one of ticking, due {instant(last.due_at.replace(microsecond=0))}" in one
    ]
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


def test_a_row_that_the_database_side_alone_sends_is_named_once_the_code_side_does(context: Surroundings) -> None:
    alias = context().alias
    minutes = IntervalSchedule.objects.using(alias).create(every=1, period="minutes")
    for name, enabled in {"tenants": True, "off": False, "never-sent": True}.items():
        PeriodicTask.objects.using(alias).create(name=name, task="t", interval=minutes, enabled=enabled)
    for name in ("tenants", "off"):
        Entry.objects.using(alias).create(name=name, fingerprint="f", eligible_since=clock.now())
    Fence.objects.using(alias).update(side="database")
    Cutover.objects.using(alias).update(phase=3)
    assert status.run(context()).data["without_entry"] == [], "the database side sends it"
    said = (
        "other rows",
        "enabled and no entry of the code, so nobody sends them once the code side leads (1): tenants",
    )
    looked = rollback.run(context(), force=True, dry_run=True)
    assert said in [(check.name, check.detail) for check in looked.checks]
    back = rollback.run(context(), force=True)
    assert said in [(check.name, check.detail) for check in back.checks]
    data = status.run(context()).data
    assert data["without_entry"] == ["tenants"]
    assert "tenants is an enabled row that no entry of the code has: nothing sends it" in data["problems"]


@pytest.fixture(params=["utf8mb4_bin", "utf8mb4_unicode_ci", "latin1_bin"])
def collation(request: pytest.FixtureRequest, alias: str, context: Surroundings) -> Iterator[str]:
    """The rows' names have one that is not the ledger's: the database's own, or one that tells letters' case apart."""
    rows = "django_celery_beat_periodictask MODIFY name varchar(200) CHARACTER SET"
    charset = request.param.partition("_")[0]
    with connections[alias].cursor() as cursor:
        cursor.execute(f"ALTER TABLE {rows} {charset} COLLATE {request.param} NOT NULL")
    yield request.param
    PeriodicTask.objects.using(alias).all().delete()
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT @@collation_database")
        cursor.execute(f"ALTER TABLE {rows} utf8mb4 COLLATE {cursor.fetchone()[0]} NOT NULL")


@pytest.mark.mariadb(alone=True)
@pytest.mark.usefixtures("collation")
def test_rows_in_another_collation_than_the_ledgers_are_known_to_it(context: Surroundings) -> None:
    test_a_row_that_the_database_side_alone_sends_is_named_once_the_code_side_does(context)


@pytest.mark.mariadb(alone=True)
@pytest.mark.usefixtures("collation")
def test_rows_in_another_collation_than_the_ledgers_are_enabled_and_put_back(context: Surroundings, alias: str) -> None:
    Cutover.objects.using(alias).update(phase=1)
    assert phase2.run(context()).outcome is Outcome.DONE
    rows = PeriodicTask.objects.using(alias)
    assert rows.exists()
    snapshot.keep(context())
    snapshot.enable(context())
    assert not rows.filter(enabled=False).exists()
    snapshot.restore(context(), drop_edits=True)
    assert not rows.filter(enabled=True).exists()


def test_a_check_of_a_database_without_tables_is_silent(context: Surroundings, alias: str) -> None:
    """``migrate`` runs the checks before it makes them."""
    Fence.objects.using(alias).all().delete()
    assert checks.check_rows(databases=[alias]) == []


def _is_seen(site: Site) -> dict[str, Any] | None:
    seen = site.status()
    return seen if (seen.get("term") or {}).get("seen_at") else None


@pytest.mark.mariadb
def test_no_part_of_it_looks_through_the_slots_however_many_there_are(context: Surroundings, alias: str) -> None:
    give_past(alias)
    now = clock.now()
    Fence.objects.using(alias).update(epoch=2, guarded_since=now - dt.timedelta(days=1))
    for epoch in (0, 1):  # the second has recorded all slots, after the first was killed
        began = now - dt.timedelta(days=2 - epoch)
        ended = {"ended_at": began + dt.timedelta(hours=1), "end_reason": SUCCEEDED}
        models.Term.objects.using(alias).create(
            epoch=epoch, holder="h", side="code", host="h", pid=1, started_at=began, first_tick_at=began, **ended
        )
    with plans(alias) as found:
        data = status.run(context()).data
    assert (data["not_read"], data["deduplicated"], data["unpublished"]) == ([], 0, 10)
    assert_by_index(found, 2 * CROWD)


def test_what_a_successor_sweeps_is_no_sign_of_life_of_the_leader_that_was_killed(context: Surroundings) -> None:
    site = context()
    now = site.ledger.fence.read_now()
    at = [now - dt.timedelta(seconds=seconds) for seconds in (60, 30, 25, 20, 11, 10)]
    common = {"side": "code", "host": "h", "pid": 1, "release": ""}
    terms = models.Term.objects.using(site.alias)
    killed = {"started_at": at[0], "first_tick_at": at[0], "seen_at": at[1], "ended_at": at[3], "end_reason": SUCCEEDED}
    terms.create(epoch=1_001, holder="h:1:a", **common, **killed)
    terms.create(epoch=1_002, holder="h:1:b", **common, started_at=at[3], first_tick_at=at[5])
    new_slot(site.alias, "hourly", at[2], epoch=1_001, published_at=at[4])
    data = status.run(site).data
    assert (data["last_gap_ms"], data["last_gap_since"]) == (15_000, "last sign of life")
