"""Rows that somebody else has locked while their slots are sent, as a long transaction does."""

import datetime as dt
from contextlib import AbstractContextManager
from typing import Any

import pytest
from django.db import transaction
from django.db.models import QuerySet
from django_celery_beat.models import IntervalSchedule, PeriodicTask, PeriodicTasks

from cutover import clock
from cutover.beats.sources import upkeep
from cutover.schedules import rows
from tests.support.locked import locked_by_another

pytestmark = [pytest.mark.integration, pytest.mark.mariadb]
HOUR = dt.timedelta(hours=1)


@pytest.fixture
def tasks(alias: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, PeriodicTask]:
    """Two rows of the database under test."""
    for module in (upkeep, rows):
        monkeypatch.setattr(module, "rows_database", lambda: alias)
    hourly = IntervalSchedule.objects.using(alias).create(every=1, period="hours")
    made = PeriodicTask.objects.using(alias).bulk_create(
        PeriodicTask(name=name, task="demo.tasks.note", interval=hourly) for name in ("locked", "free")
    )
    return {row.name: row for row in made}


def changed_by_another(rows: QuerySet[Any], **changed_to: Any) -> AbstractContextManager[None]:
    """Another session has changed rows, and does not commit until the block ends; longer than any test may take."""
    return locked_by_another(transaction.atomic(using=rows.db), lambda: rows.update(**changed_to))


@pytest.mark.parametrize("alias", ["postgres", "mariadb"], indirect=True)
@pytest.mark.django_db(transaction=True, databases=["default", "postgres", "mariadb"])
@pytest.mark.parametrize("is_late", [False, True])
def test_a_row_that_another_has_locked_is_passed_over_and_the_others_are_noted(alias, tasks, is_late):
    sent, now = [*tasks.values()], clock.now()
    with changed_by_another(PeriodicTask.objects.using(alias).filter(name="locked"), description="being edited"):
        began_s = clock.monotonic_s()
        upkeep.published([] if is_late else sent, [(row, now - HOUR) for row in sent] if is_late else [], now)
        assert clock.monotonic_s() - began_s < 30, "it has waited for the other one"
    counts = dict(PeriodicTask.objects.using(alias).values_list("name", "total_run_count"))
    assert counts == {"locked": 0, "free": 1}
    upkeep.published(sent, [], now)
    counts = dict(PeriodicTask.objects.using(alias).values_list("name", "total_run_count"))
    assert counts == {"locked": 1, "free": 2}


@pytest.mark.parametrize("alias", ["postgres", "mariadb"], indirect=True)
@pytest.mark.django_db(transaction=True, databases=["default", "postgres", "mariadb"])
def test_a_row_that_is_sent_once_ends_though_another_has_saved_some_row_and_not_committed(alias, tasks):
    """``save()`` says in one row for all that something has changed; a transaction has it locked from then on."""
    saved, now = PeriodicTasks.objects.using(alias), clock.now()
    saved.update_or_create(ident=1, defaults={"last_update": now - HOUR})
    once = tasks["free"]
    PeriodicTask.objects.using(alias).filter(pk=once.pk).update(one_off=True)
    once.one_off = True
    with changed_by_another(saved.filter(ident=1), last_update=now + HOUR):
        began_s = clock.monotonic_s()
        assert upkeep.published([once], [], now) == ["free"]
        assert clock.monotonic_s() - began_s < 30, "it has waited for the other one"
    assert not PeriodicTask.objects.using(alias).get(pk=once.pk).enabled
    assert abs(saved.get().last_update - (now + HOUR)) < dt.timedelta(seconds=1), "the other one has said so"
    PeriodicTask.objects.using(alias).filter(pk=once.pk).update(enabled=True)
    upkeep.published([once], [], now + 2 * HOUR)
    assert abs(saved.get().last_update - (now + 2 * HOUR)) < dt.timedelta(seconds=1), "nobody else does"
