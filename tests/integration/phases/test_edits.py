"""An imported row in a person's hands: seen before the switch, shown at the rollback, never lost by accident."""

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connections
from django.test.utils import CaptureQueriesContext
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from cutover.models import Cutover, ImportedEntry
from cutover.phases import facts, phase2, phase3, rollback
from cutover.phases.context import Context
from cutover.phases.evidence import edits
from cutover.phases.operations import snapshot
from cutover.phases.report import Outcome, Report
from cutover.types import Side
from tests.integration.phases.conftest import Beat

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

Surroundings = Callable[[], Context]
Beats = Callable[[Side], Beat]


@pytest.fixture(autouse=True)
def imported(context: Surroundings) -> None:
    """Phase 2 is done."""
    Cutover.objects.using(context().alias).update(phase=1)
    assert phase2.run(context()).outcome is Outcome.DONE


def edit(context: Context, name: str, **fields: Any) -> None:
    assert PeriodicTask.objects.using(context.alias).filter(name=name).update(**fields) == 1


def row(context: Context, name: str) -> PeriodicTask:
    return PeriodicTask.objects.using(context.alias).get(name=name)


def crosses(report: Report) -> list[str]:
    return [check.name for check in report.checks if not check.ok]


@pytest.mark.parametrize(
    "fields",
    [{"args": '["other"]'}, {"enabled": True}, {"expires": dt.datetime(2030, 1, 1, tzinfo=dt.UTC)}, {"queue": "slow"}],
)
def test_an_edit_before_the_switch_is_asked_about(context: Surroundings, beat: Beats, fields: dict[str, Any]) -> None:
    edit(context(), "hourly", **fields)
    with beat(Side.CODE), beat(Side.DATABASE):
        asked = phase3.run(context())
        assert asked.outcome is Outcome.REFUSED
        assert "edited rows" in crosses(asked)
        [said] = [check for check in asked.checks if check.name == "edited rows"]
        [(field, value)] = fields.items()
        assert f"hourly: {field} was" in said.detail
        assert "--accept-edits" in said.remedy
        taken = phase3.run(context(), accept_edits=True)
        assert taken.outcome is Outcome.DONE, taken
        assert getattr(row(context(), "hourly"), field) == value
        assert rollback.run(context()).outcome is Outcome.DONE
    assert getattr(row(context(), "hourly"), field) == value


def test_an_edit_that_still_fires_and_sends_alike_holds_nothing_back(context: Surroundings, beat: Beats) -> None:
    hours = IntervalSchedule.objects.using(context().alias).create(every=1, period="seconds")
    edit(context(), "ticking", interval=hours)
    halves = IntervalSchedule.objects.using(context().alias).create(every=500_000, period="microseconds")
    edit(context(), "ticking", interval=halves, queue="")
    with beat(Side.CODE), beat(Side.DATABASE):
        assert phase3.run(context()).outcome is Outcome.DONE


def test_a_row_that_was_deleted_cannot_be_taken_as_it_is(context: Surroundings, beat: Beats) -> None:
    PeriodicTask.objects.using(context().alias).filter(name="hourly").delete()
    with beat(Side.CODE), beat(Side.DATABASE):
        assert {"edited rows", "parity"} <= set(crosses(phase3.run(context(), accept_edits=True)))
        assert phase2.run(context()).outcome is Outcome.DONE
        assert phase3.run(context()).outcome is Outcome.DONE


def there_edited_and_back(context: Surroundings, beat: Beats, drop_edits: bool) -> Report:
    with beat(Side.CODE), beat(Side.DATABASE):
        assert phase3.run(context()).outcome is Outcome.DONE
        edit(context(), "hourly", args='["edited"]', enabled=False)
        PeriodicTask.objects.using(context().alias).filter(name="yearly").delete()
        back = rollback.run(context(), drop_edits=drop_edits)
        assert back.outcome is Outcome.DONE
    assert facts.read(context()).snapshot == 0
    said = "\n".join(back.lines)
    assert "hourly: args was '[\"h\"]', is '[\"edited\"]'" in said
    assert "hourly: enabled was True, is False" in said
    assert "yearly: row was 'present', is 'deleted'" in said
    assert not PeriodicTask.objects.using(context().alias).filter(enabled=True).exists()
    return back


def test_edits_since_the_switch_are_shown_and_kept(context: Surroundings, beat: Beats) -> None:
    there_edited_and_back(context, beat, drop_edits=False)
    assert row(context(), "hourly").args == '["edited"]'
    with beat(Side.CODE), beat(Side.DATABASE):
        assert "edited rows" in crosses(phase3.run(context()))
        assert phase2.run(context(), adopt=True).outcome is Outcome.DONE
        assert phase3.run(context()).outcome is Outcome.DONE


def test_edits_since_the_switch_are_put_back_where_the_operator_says_so_and_the_next_cutover_needs_no_cleaning(
    context: Surroundings, beat: Beats
) -> None:
    there_edited_and_back(context, beat, drop_edits=True)
    assert row(context(), "hourly").args == '["h"]'
    again = phase2.run(context())
    assert again.outcome is Outcome.ALREADY
    assert "0 rows changed" in "\n".join(again.lines)
    with beat(Side.CODE), beat(Side.DATABASE):
        assert phase3.run(context()).outcome is Outcome.DONE
        assert rollback.run(context()).outcome is Outcome.DONE


def rename(context: Context, taken: bool = False) -> PeriodicTask:
    """Rename the row of ``hourly``; ``taken``: a copy of it gets the old name. Returns the renamed row."""
    renamed, copy = row(context, "hourly"), row(context, "hourly")
    renamed.name, copy.pk = "each hour", None
    renamed.save(using=context.alias)
    if taken:
        copy.save(using=context.alias)
    return renamed


def enabled(context: Context) -> list[str]:
    tasks = PeriodicTask.objects.using(context.alias).filter(enabled=True)
    return sorted(tasks.values_list("name", flat=True))


def test_the_names_of_rows_are_found_as_the_rows_are_with_no_more_of_them_read(context: Surroundings) -> None:
    alias = context().alias
    for entry in ImportedEntry.objects.using(alias):
        ImportedEntry.objects.using(alias).filter(name=entry.name).update(key_before=row(context(), entry.name).pk)
    rename(context())
    PeriodicTask.objects.using(alias).filter(name="yearly").delete()
    PeriodicTask.objects.using(alias).filter(name="ticking").update(name="yearly")  # a name that is imported, too
    whole = edits.read(alias)
    with CaptureQueriesContext(connections[alias]) as asked:
        found = edits.present_names(alias)
    assert found == {
        entry.name: one.name if (one := whole.rows.get(entry.name, whole.renamed.get(entry.name))) else None
        for entry in whole.entries
    }
    assert (found["hourly"], found["yearly"], found["ticking"]) == ("each hour", "yearly", None)
    assert not [query for query in asked if "args" in query["sql"] or "row_before" in query["sql"]]


@pytest.mark.parametrize("drop_edits", [False, True])
def test_a_renamed_row_is_found_again_and_its_job_is_never_sent_by_two_rows(
    context: Surroundings, beat: Beats, drop_edits: bool
) -> None:
    last_run_at = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    edit(context(), "hourly", enabled=True, last_run_at=last_run_at)
    with beat(Side.CODE), beat(Side.DATABASE):
        assert phase3.run(context(), accept_edits=True).outcome is Outcome.DONE
        edit(context(), "hourly", last_run_at=None)
        renamed = rename(context())
        back = rollback.run(context(), drop_edits=drop_edits)
        assert back.outcome is Outcome.DONE
        stands = row(context(), "hourly" if drop_edits else "each hour")
        assert (stands.pk, stands.enabled, stands.last_run_at) == (renamed.pk, drop_edits, last_run_at)
        assert phase2.run(context(), adopt=True).outcome in {Outcome.DONE, Outcome.ALREADY}
        assert phase3.run(context()).outcome is Outcome.DONE
        assert enabled(context()) == ["hourly", "ticking", "yearly"]
    said = "\n".join(back.lines)
    assert "hourly: row was 'present', is 'renamed to each hour'" in said
    assert ("disabled, for the cutover goes by the old one: each hour" in said) is not drop_edits


def test_a_renamed_row_whose_old_name_is_taken_is_left_disabled(context: Surroundings, beat: Beats) -> None:
    with beat(Side.CODE), beat(Side.DATABASE):
        assert phase3.run(context()).outcome is Outcome.DONE
        renamed = rename(context(), taken=True)
        back = rollback.run(context(), drop_edits=True)
        assert enabled(context()) == []
        assert "disabled, for the cutover goes by the old one: each hour" in "\n".join(back.lines)
        assert row(context(), "each hour").pk == renamed.pk
        assert phase3.run(context()).outcome is Outcome.DONE
        assert enabled(context()) == ["hourly", "ticking", "yearly"]


def test_an_unfinished_switch_is_not_taken_up_over_a_renamed_row(context: Surroundings, beat: Beats) -> None:
    snapshot.keep(context())
    snapshot.enable(context())
    rename(context(), taken=True)
    with beat(Side.CODE), beat(Side.DATABASE):
        assert "edited rows" in crosses(phase3.run(context(), accept_edits=True))
        assert rollback.run(context()).outcome is Outcome.DONE
        assert enabled(context()) == []
        assert phase3.run(context()).outcome is Outcome.DONE


def test_rows_that_are_not_part_of_it_are_never_touched(context: Surroundings, beat: Beats) -> None:
    every = IntervalSchedule.objects.using(context().alias).create(every=1, period="days")
    tasks = PeriodicTask.objects.using(context().alias)
    for enabled in (True, False):
        tasks.create(name=f"own-{enabled}", task="demo.tasks.note", args='["own"]', interval=every, enabled=enabled)
    before = list(tasks.filter(name__startswith="own").order_by("name").values())
    with beat(Side.CODE), beat(Side.DATABASE):
        assert phase3.run(context()).outcome is Outcome.DONE
        assert rollback.run(context(), drop_edits=True).outcome is Outcome.DONE
    assert list(tasks.filter(name__startswith="own").order_by("name").values()) == before


def test_an_entry_that_is_gone_from_code_leaves_its_row(
    context: Surroundings, schedule: dict[str, dict[str, Any]]
) -> None:
    del schedule["hourly"]
    assert phase2.run(context()).outcome is Outcome.DONE
    assert not row(context(), "hourly").enabled
    assert not ImportedEntry.objects.using(context().alias).filter(name="hourly").exists()
