"""Lanes and the course of a site, from a real ledger on SQLite and PostgreSQL."""

import datetime as dt
from collections.abc import Callable

import pytest
from django.db import connections
from django.test.utils import CaptureQueriesContext

from cutover.ledger.fence import SUCCEEDED
from cutover.models import Entry, Slot, Term, Transition
from cutover.observe import course, lanes
from cutover.phases.context import Context
from cutover.types import EntryName, Side
from tests.browser.scene import at_this_minute, slot

pytestmark = pytest.mark.integration

Surroundings = Callable[[], Context]
SECOND = dt.timedelta(seconds=1)
OFTEN, SELDOM, NEVER, UNKNOWN = (EntryName(name) for name in ("often", "seldom", "never", "unknown"))


def test_an_entry_of_a_second_hides_none_of_an_hour(context: Surroundings) -> None:
    site, now = context(), at_this_minute()
    Entry.objects.using(site.alias).bulk_create(
        Entry(name=name, fingerprint="f", eligible_since=now) for name in (OFTEN, SELDOM, NEVER)
    )
    due = {OFTEN: range(-2, 60), SELDOM: (50, 3600), UNKNOWN: (7,)}
    Slot.objects.using(site.alias).bulk_create(
        slot(name, now - ago * SECOND, Side.CODE, 1) for name, agos in due.items() for ago in agos
    )
    since = now - 3000 * SECOND
    with CaptureQueriesContext(connections[site.alias]) as asked:
        found = lanes.read(site, [OFTEN, SELDOM, NEVER, UNKNOWN], since, now, most=5)
    assert len(asked) == 2
    assert {lane.entry: [(now - life.due_at) // SECOND for life in lane.slots] for lane in found} == {
        OFTEN: [4, 3, 2, 1, 0],
        SELDOM: [50],
        NEVER: [],
        UNKNOWN: [7],
    }
    assert [lane.since for lane in found] == [now - 4 * SECOND, since, since, since]
    assert lanes.read(site, [], since, now) == []


def test_a_successor_is_no_sign_of_life_of_a_leader_that_was_killed(context: Surroundings) -> None:
    site, now = context(), at_this_minute()
    one = {"side": Side.CODE, "holder": "h:1:x", "host": "h", "pid": 1, "started_at": now - 90 * SECOND}
    signs = {"seen_at": now - 60 * SECOND, "ended_at": now}
    for epoch, reason in ((1, SUCCEEDED), (2, "stopped")):
        Term.objects.using(site.alias).create(epoch=epoch, **one, **signs, end_reason=reason)
    killed, stopped = course.latest(site).terms
    assert (killed.known_until(now), stopped.known_until(now)) == (now - 60 * SECOND, now)


def test_the_course_is_told_in_its_order(context: Surroundings) -> None:
    site, now = context(), at_this_minute()
    for epoch in (1, 2):
        Term.objects.using(site.alias).create(
            epoch=epoch, side=Side.CODE, holder="h:1:x", host="h", pid=1, started_at=now
        )
    for step, outcome in (("import", "done"), ("finish", "refused"), ("finish", "done")):
        Transition.objects.using(site.alias).create(
            phase="phase2", step=step, outcome=outcome, operator="o", begun_at=now
        )
    found = course.latest(site)
    assert [one.epoch for one in found.terms] == [1, 2]
    assert [(one.step, one.is_end_of_phase) for one in found.steps] == [
        ("import", False),
        ("finish", False),
        ("finish", True),
    ]
