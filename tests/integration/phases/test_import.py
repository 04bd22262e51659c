"""The code schedule in the rows: whole, disabled, once; and nothing of anybody else's written over."""

from collections.abc import Callable
from typing import Any

import pytest
from celery.schedules import crontab, solar
from django.db import connections
from django_celery_beat.models import CrontabSchedule, IntervalSchedule, PeriodicTask, PeriodicTasks
from pytest_django import Settings

from cutover.errors import PhaseFailed
from cutover.models import Cutover, ImportedEntry, Transition
from cutover.observe import status
from cutover.phases import phase2
from cutover.phases.context import Context
from cutover.phases.evidence import edits
from cutover.phases.gates import imported
from cutover.schedules import rows
from cutover.schedules.importer import Import, import_entries
from cutover.schedules.project import CLEANUP
from cutover.schedules.refusals import EntriesRefused

pytestmark = pytest.mark.integration

Surroundings = Callable[[], Context]


def run(context: Context, adopt: bool = False) -> Import:
    return import_entries(context.app, context.config, context.entries, adopt=adopt)


def differences(context: Context) -> list[object]:
    return list(imported.differences(context, edits.read(context.alias)))


def task(context: Context, name: str) -> PeriodicTask:
    return PeriodicTask.objects.using(context.alias).get(name=name)


@pytest.mark.mariadb
def test_every_entry_becomes_a_disabled_row_that_fires_and_sends_alike(context: Surroundings) -> None:
    done = run(context())
    assert sorted(done.created) == ["hourly", "ticking", "yearly"]
    assert differences(context()) == []
    rows = PeriodicTask.objects.using(context().alias)
    assert set(rows.values_list("enabled", "last_run_at")) == {(False, None)}
    assert task(context(), "hourly").expire_seconds == 600
    assert ImportedEntry.objects.using(context().alias).filter(created=True).count() == 3


def test_a_second_run_changes_nothing(context: Surroundings) -> None:
    run(context())
    changed_at = PeriodicTasks.last_change()
    done = run(context())
    assert (done.changed, len(done.unchanged)) == (0, 3)
    assert PeriodicTasks.last_change() == changed_at


def test_the_change_is_seen_also_where_no_change_was_ever_recorded(context: Surroundings) -> None:
    assert PeriodicTasks.last_change() is None
    run(context())
    assert PeriodicTasks.last_change() is not None


def test_an_entry_that_celery_cannot_send_is_to_be_fixed_in_the_code(
    context: Surroundings, schedule: dict[str, dict[str, Any]]
) -> None:
    schedule["short"] = {"task": "demo.tasks.note", "schedule": 60}
    run(context())
    parity = imported.same_parity(context())[-1]
    assert "short: message is not to be sent" in parity.detail
    assert parity.remedy.startswith("fix short in the code, which celery cannot send")


@pytest.mark.mariadb
def test_a_change_in_code_is_imported_by_the_next_run(
    context: Surroundings, schedule: dict[str, dict[str, Any]]
) -> None:
    run(context())
    schedule["hourly"]["schedule"] = 60
    del schedule["yearly"]
    done = run(context())
    assert (done.updated, done.forgotten, done.unchanged) == (["hourly"], ["yearly"], ["ticking"])
    row = task(context(), "hourly")
    assert (row.crontab, row.interval.every, row.enabled) == (None, 60, False)
    assert not task(context(), "yearly").enabled
    assert differences(context()) == []


def test_rows_have_their_schedules_where_a_database_does_not_say_which_keys_it_has_given(
    context: Surroundings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As MySQL."""
    features = type(connections[context().alias].features)  # on SQLite it is a property of the class
    monkeypatch.setattr(features, "can_return_rows_from_bulk_insert", False)
    run(context())
    assert [row.scheduler is None for row in PeriodicTask.objects.using(context().alias)] == [False] * 3


def test_duplicates_of_a_schedule_are_borne_and_none_is_added(context: Surroundings) -> None:
    for _ in range(2):
        CrontabSchedule.objects.using(context().alias).create(minute="0", timezone="UTC")
        IntervalSchedule.objects.using(context().alias).create(every=500_000, period="microseconds")
    run(context())
    assert CrontabSchedule.objects.using(context().alias).filter(minute="0", hour="*").count() == 2
    assert IntervalSchedule.objects.using(context().alias).count() == 2
    assert task(context(), "ticking").interval == IntervalSchedule.objects.using(context().alias).order_by("pk").first()


def test_all_refusals_come_together_and_nothing_is_written(
    context: Surroundings, schedule: dict[str, dict[str, Any]]
) -> None:
    schedule["sunset"] = {"task": "demo.tasks.note", "schedule": solar("sunset", 51.12345678, 0)}
    schedule["late"] = {"task": "demo.tasks.note", "schedule": 5, "options": {"queue": 5, "link": object()}}
    with pytest.raises(EntriesRefused) as refused:
        run(context())
    assert [(r.entry, r.field) for r in refused.value.refusals] == [
        ("sunset", "schedule"),
        ("late", "options['queue']"),
        ("late", "options['link']"),
    ]
    assert "\n" not in str(refused.value)
    assert not PeriodicTask.objects.using(context().alias).exists()
    assert not ImportedEntry.objects.using(context().alias).exists()


def test_an_entry_that_celery_itself_cannot_read_is_named(
    context: Surroundings, schedule: dict[str, dict[str, Any]]
) -> None:
    schedule["odd"] = {"task": "demo.tasks.note", "schedule": 5, "qeue": "slow"}
    with pytest.raises(EntriesRefused, match=r"odd: entry .*qeue"):
        run(context())


@pytest.mark.parametrize("enabled", [True, False])
def test_a_row_of_the_same_name_is_not_written_over_unless_adopted(context: Surroundings, enabled: bool) -> None:
    weekly = CrontabSchedule.objects.using(context().alias).create(minute="5", day_of_week="1", timezone="UTC")
    theirs = {"task": "demo.tasks.note", "crontab": weekly, "args": '["theirs"]', "queue": "slow", "enabled": enabled}
    PeriodicTask.objects.using(context().alias).create(name="ticking", **theirs)
    with pytest.raises(EntriesRefused) as refused:
        run(context())
    fields = [refusal.field for refusal in refused.value.refusals]
    assert fields == ["queue", "args", "schedule", *(["enabled"] if enabled else [])]
    assert all(refusal.remedy for refusal in refused.value.refusals)
    assert PeriodicTask.objects.using(context().alias).count() == 1

    assert run(context(), adopt=True).adopted == ["ticking"]
    row = task(context(), "ticking")
    assert (row.enabled, row.crontab, row.queue, row.interval.every) == (False, None, None, 500_000)
    assert differences(context()) == []
    assert not ImportedEntry.objects.using(context().alias).get(name="ticking").created


def test_an_equal_row_is_taken_over_as_it_is_when_it_is_disabled(context: Surroundings) -> None:
    run(context())
    ImportedEntry.objects.using(context().alias).all().delete()
    done = run(context())
    assert (done.changed, sorted(done.unchanged)) == (0, ["hourly", "ticking", "yearly"])
    assert ImportedEntry.objects.using(context().alias).filter(created=False).count() == 3


def test_an_equal_row_that_is_enabled_is_refused(context: Surroundings) -> None:
    run(context())
    PeriodicTask.objects.using(context().alias).filter(name="hourly").update(enabled=True)
    with pytest.raises(EntriesRefused) as refused:
        run(context())
    assert [(r.entry, r.field) for r in refused.value.refusals] == [("hourly", "enabled")]
    assert run(context(), adopt=True).adopted == ["hourly"]
    assert not task(context(), "hourly").enabled


@pytest.mark.mariadb
def test_what_a_person_wrote_into_our_row_is_not_written_over(context: Surroundings) -> None:
    run(context())
    PeriodicTask.objects.using(context().alias).filter(name="hourly").update(queue="slow")
    with pytest.raises(EntriesRefused, match="hourly: queue"):
        run(context())


def test_a_row_that_was_deleted_is_made_again(context: Surroundings) -> None:
    run(context())
    PeriodicTask.objects.using(context().alias).filter(name="hourly").delete()
    assert run(context()).created == ["hourly"]


def test_celerys_own_clean_up_is_imported_where_celery_adds_it(context: Surroundings, settings: Settings) -> None:
    settings.CELERY_RESULT_EXPIRES = 3600  # on a backend that needs help with it
    assert isinstance(context().entries[CLEANUP].schedule, crontab)
    run(context())
    assert task(context(), CLEANUP).expire_seconds == 12 * 3600
    assert differences(context()) == []


def test_a_row_that_somebody_else_makes_meanwhile_ends_the_phase_in_one_line_and_nothing_is_written(
    context: Surroundings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the comparison and the write: the database's answer is that the name is taken, and no outage."""
    site, write = context(), rows.write

    def late(alias: str, fresh: Any, changed: Any) -> None:
        PeriodicTask.objects.using(alias).bulk_create([PeriodicTask(name="hourly", task="t")])
        write(alias, fresh, changed)

    monkeypatch.setattr(rows, "write", late)
    Cutover.objects.using(site.alias).update(phase=1)
    with pytest.raises(PhaseFailed, match=r"^The database refuses a row: .* run phase2 again\.$"):
        phase2.run(site)
    assert not PeriodicTask.objects.using(site.alias).exists()
    assert Transition.objects.using(site.alias).latest("pk").outcome == "failed"


ROWS = "django_celery_beat_periodictask MODIFY name varchar(200) CHARACTER SET utf8mb4"


@pytest.fixture
def alike(schedule: dict[str, dict[str, Any]]) -> set[str]:
    """Two more entries in code, of names that differ in case alone from one another's or that of a row."""
    schedule["Hourly"] = {**schedule["hourly"], "schedule": 60}
    schedule["by hand"] = schedule["hourly"]
    return {"hourly", "Hourly", "by hand"}


@pytest.mark.mariadb
def test_names_that_differ_in_case_alone_are_two_entries(context: Surroundings, alike: set[str], alias: str) -> None:
    """Where the rows' table knows no case, which is not ours to change, that is said before anything is written."""
    PeriodicTask.objects.using(alias).create(name="By Hand", task="t", interval=every(alias), enabled=False)
    mysql = connections[alias].vendor == "mysql"
    assert PeriodicTask.objects.using(alias).filter(name="BY HAND").exists() == mysql
    if mysql:
        with pytest.raises(EntriesRefused) as refused:
            run(context())
        assert {(refusal.entry, refusal.field) for refusal in refused.value.refusals} == {
            (name, "name") for name in alike
        }
        [said] = [str(refusal) for refusal in refused.value.refusals if refusal.entry == "by hand"]
        assert "is that of 'By Hand' to the rows' table, which knows no case" in said
        _, _, statement = said.partition("ALTER TABLE ")
        with connections[alias].cursor() as cursor:
            cursor.execute(f"ALTER TABLE {statement}")
    try:
        assert alike <= set(run(context()).created)
        assert task(context(), "Hourly").interval.every == 60
        assert task(context(), "hourly").crontab is not None
        assert differences(context()) == []
        assert status.run(context()).data["without_entry"] == [], "the rows are compared with the ledger's names"
    finally:
        if mysql:
            PeriodicTask.objects.using(alias).all().delete()
            with connections[alias].cursor() as cursor:
                cursor.execute("SELECT @@collation_database")
                cursor.execute(f"ALTER TABLE {ROWS} COLLATE {cursor.fetchone()[0]} NOT NULL")


def every(alias: str) -> IntervalSchedule:
    return IntervalSchedule.objects.using(alias).create(every=5, period="seconds")
