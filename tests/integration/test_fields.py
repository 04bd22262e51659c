"""Instants stay instants where the project keeps local, naive times; also in the hour that comes twice."""

import datetime as dt
from collections.abc import Iterator
from zoneinfo import ZoneInfo

import pytest
from django.db import connections
from django.db.models import Max
from pytest_django import Settings

from cutover import clock, fields, models
from cutover.ledger import Ledger

pytestmark = [pytest.mark.integration, pytest.mark.mariadb]

ZONE = "America/New_York"
INSTANTS = [dt.datetime(2026, 11, 1, hour, 30, tzinfo=dt.UTC) for hour in (4, 5, 6, 7)]
"""Half past midnight, half past one, half past one once more, half past two."""


@pytest.fixture(params=[True, False], ids=["aware", "naive"])
def kept(request: pytest.FixtureRequest, settings: Settings, alias: str) -> Iterator[str]:
    """The alias of a database, in a project with and without ``USE_TZ``."""
    connections[alias].close()
    settings.TIME_ZONE, settings.USE_TZ = ZONE, request.param
    yield alias
    connections[alias].close()


def test_every_instant_is_read_as_it_was_written(kept: str) -> None:
    for at in INSTANTS:
        models.Slot.objects.using(kept).create(
            entry="hourly",
            due_at=at,
            epoch=1,
            side="code",
            state="published",
            task_id="00000000-0000-0000-0000-000000000000",
            claimed_at=at.astimezone(ZoneInfo(ZONE)),
        )
    slots = models.Slot.objects.using(kept)
    assert [slot.due_at for slot in slots.order_by("due_at")] == INSTANTS
    assert [slot.claimed_at for slot in slots.order_by("due_at")] == INSTANTS
    assert slots.filter(due_at__gt=INSTANTS[1], due_at__in=INSTANTS).count() == 2
    assert slots.aggregate(last=Max("due_at"))["last"] == INSTANTS[-1]
    slots.update(published_at=INSTANTS[2])
    assert set(slots.values_list("published_at", flat=True)) == {INSTANTS[2]}


def test_an_instant_that_is_read_as_a_number_is_the_same(kept: str) -> None:
    least, none = dt.datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=dt.UTC), None
    for at in (least, *INSTANTS, INSTANTS[-1] + dt.timedelta(microseconds=123_457)):
        models.Term.objects.using(kept).create(
            epoch=at.timestamp() * 1_000_000, holder="h", side="code", host="h", pid=1, started_at=at, ended_at=none
        )
    terms = models.Term.objects.using(kept).order_by("epoch")
    read = list(terms.values_list(fields.Quickly("started_at"), fields.Quickly("ended_at")))
    assert read == list(terms.values_list("started_at", "ended_at"))
    assert all(at.utcoffset() == dt.timedelta() for at, _ in read)


def test_another_apps_fields_get_what_they_take(kept: str, settings: Settings) -> None:
    stored = fields.stored(INSTANTS[0])
    assert (stored.tzinfo is not None) == settings.USE_TZ
    assert fields.as_instant(stored) == INSTANTS[0]


@pytest.mark.parametrize("zone", [None, ZONE], ids=["columns in UTC", "columns in a zone"])
def test_the_databases_clock_is_read_as_an_instant_whatever_zone_its_columns_are_in(
    kept: str, ledger: Ledger, settings: Settings, zone: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if zone is not None and not settings.USE_TZ:
        pytest.skip("Django refuses a zone for the columns then")
    connection = connections[kept]
    monkeypatch.setitem(connection.settings_dict, "TIME_ZONE", zone)
    for cached in ("timezone", "timezone_name"):
        connection.__dict__.pop(cached, None)
    try:
        connection.close()
        assert abs(ledger.fence.read().now - clock.now()) < dt.timedelta(seconds=1)
    finally:
        connection.close()
        for cached in ("timezone", "timezone_name"):
            connection.__dict__.pop(cached, None)


def test_the_databases_clock_is_read_right_whatever_its_sessions_time_zone(kept: str) -> None:
    models.Cutover.objects.using(kept).update_or_create(id=1)
    if connections[kept].vendor == "mysql":  # Django sets PostgreSQL's itself
        with connections[kept].cursor() as cursor:
            cursor.execute("SET time_zone = '+09:00'")
    row = models.Cutover.objects.using(kept).annotate(at=fields.DatabaseNow()).get(id=1)
    assert abs(row.at - dt.datetime.now(dt.UTC)) < dt.timedelta(minutes=1)
