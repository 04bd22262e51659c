"""What was published and started by no worker is said by every view, in every phase; on SQLite and PostgreSQL."""

import datetime as dt
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from pytest_django import Settings

from cutover import clock
from cutover.models import Entry
from cutover.observe import overview, status
from cutover.observe.conditions import Condition, Severity
from cutover.observe.entries import EntryRecord
from cutover.observe.metrics import site as metrics
from cutover.phases.context import Context
from cutover.phases.report import Outcome
from tests.support.ledger import CROWD, give_past, new_slot
from tests.support.plans import assert_by_index, plans

pytestmark = pytest.mark.integration

Surroundings = Callable[[], Context]
MINUTE, SECOND = dt.timedelta(minutes=1), dt.timedelta(seconds=1)
LATER = {"task": "demo.tasks.note", "schedule": 30.0, "args": ("later",), "options": {"countdown": 600}}


@pytest.fixture
def now(context: Surroundings) -> dt.datetime:
    return context().ledger.fence.read_now()


def sent(context: Surroundings, entry: str, ago: Sequence[dt.timedelta], **fields: Any) -> None:
    """Let slots of an entry be published so long ago each, and started by nobody unless ``fields`` say so."""
    site = context()
    now = site.ledger.fence.read_now()
    known = {"fingerprint": "f", "eligible_since": now - dt.timedelta(days=1)}
    Entry.objects.using(site.alias).get_or_create(name=entry, defaults=known)
    for one in ago:
        at = {"claimed_at": now - one, "published_at": now - one}
        new_slot(site.alias, entry, now - one, **{"state": "published", "side": "code", **at, **fields})


def stuck(context: Surroundings) -> list[tuple[str, int]]:
    return [(one["entry"], one["count"]) for one in status.run(context()).data["stuck"]]


def seen(context: Surroundings, entry: str) -> EntryRecord:
    (record,) = [one for one in overview.take(context()).entries or () if one.entry == entry]
    return record


def not_run(context: Surroundings, entry: str) -> bool:
    return seen(context, entry).has(Condition.NOT_RUN)


def test_where_no_worker_was_asked_a_slot_without_a_run_is_a_problem_too(context: Surroundings) -> None:
    """In phase 0, with the lock alone, and after a rollback: the broker has lost it, or no worker is there."""
    sent(context, "yearly", [3 * MINUTE])
    report = status.run(context(), check=True)
    assert report.outcome is Outcome.FAILED
    (said,) = [one for one in report.data["problems"] if "yearly" in one]
    assert said.startswith("1 published slot has no recorded run, the oldest of yearly, due ")
    assert said.endswith("python manage.py cutover phase1 asks them")
    assert not report.data["verdict"].startswith("Healthy")
    assert (seen(context, "yearly").severity, not_run(context, "yearly")) == (Severity.PROBLEM, True)
    scraped = metrics.Readings(context).latest().overview
    assert scraped is not None
    assert scraped.stuck == {"published": 1}


def test_once_they_were_asked_what_was_sent_before_is_a_notice(context: Surroundings, now: dt.datetime) -> None:
    sent(context, "yearly", [3 * MINUTE])
    context().ledger.fence.set_guarded(now - MINUTE)
    assert stuck(context) == []
    (finding,) = seen(context, "yearly").findings
    assert str(finding) == "unrecorded: published before the workers were asked, and no run is recorded"
    assert seen(context, "yearly").severity is Severity.NOTICE
    (line,) = [line for line in status.run(context()).lines if line.startswith("No record ")]
    assert line.startswith("No record 1 slot has no recorded run, the latest of yearly, due ")
    context().ledger.fence.set_guarded(None)
    assert not [line for line in status.run(context()).lines if line.startswith("No record ")], "it is a problem then"


@pytest.mark.parametrize("is_asked", [False, True])
def test_an_entry_whose_latest_slot_is_always_young_is_found_by_one_before_it(
    context: Surroundings, now: dt.datetime, is_asked: bool
) -> None:
    if is_asked:
        context().ledger.fence.set_guarded(now - 60 * MINUTE)
    sent(context, "ticking", [3 * MINUTE, 2 * MINUTE + SECOND, MINUTE, SECOND])
    assert not_run(context, "ticking")
    assert stuck(context) == [("ticking", 2)]


def test_an_entry_that_goes_on_being_run_is_well_though_one_was_lost(context: Surroundings) -> None:
    sent(context, "ticking", [5 * MINUTE, SECOND])
    sent(context, "ticking", [3 * MINUTE], run_started_at=clock.now(), run_by="w")
    assert not not_run(context, "ticking")
    assert stuck(context) == [("ticking", 1)]


@pytest.mark.parametrize(("ago", "is_late"), [(11 * MINUTE, False), (13 * MINUTE, True)])
def test_a_message_that_is_to_be_started_later_has_that_much_longer(
    context: Surroundings, schedule: dict[str, dict[str, Any]], ago: dt.timedelta, is_late: bool
) -> None:
    schedule["later"] = LATER
    sent(context, "later", [ago])
    assert not_run(context, "later") is is_late
    assert stuck(context) == [("later", 1)] * is_late


def test_nobody_knows_when_one_of_an_instant_is_late(
    context: Surroundings, schedule: dict[str, dict[str, Any]]
) -> None:
    schedule["later"] = {**LATER, "options": {"eta": clock.now()}}
    sent(context, "later", [60 * MINUTE])
    assert (not_run(context, "later"), stuck(context)) == (False, [])


def test_a_short_catch_up_window_hides_none(context: Surroundings, settings: Settings) -> None:
    settings.CUTOVER = {**settings.CUTOVER, "CATCH_UP_WINDOW": 60}
    sent(context, "yearly", [3 * MINUTE])
    assert (not_run(context, "yearly"), stuck(context)) == (True, [("yearly", 1)])


def test_those_that_were_replayed_are_counted_too(context: Surroundings, now: dt.datetime) -> None:
    sent(context, "yearly", [3 * MINUTE, 4 * MINUTE])
    old = {"replay_asked_at": now - 5 * MINUTE, "published_at": now - 4 * MINUTE}
    sent(context, "hourly", [40 * 24 * 60 * MINUTE], **old)
    assert stuck(context) == [("yearly", 2), ("hourly", 1)]
    scraped = metrics.Readings(context).latest().overview
    assert scraped is not None
    assert scraped.stuck == {"published": 3}


def test_it_is_found_by_an_index(context: Surroundings, alias: str) -> None:
    give_past(alias)
    sent(context, "ticking", [3 * MINUTE, SECOND])
    with plans(alias) as found:
        assert not_run(context, "ticking")
    assert_by_index(found, 2 * CROWD)
