"""The carried rows around a switch: how they stood is kept, they are enabled, they are put back.

Each function is one transaction, does nothing where it was done before, and touches no other row. Rows are written by
``update``: ``save()`` clears the last run of a disabled row, and runs the signals of every single one.
"""

from __future__ import annotations

from collections import defaultdict

from django.db import transaction
from django_celery_beat.models import PeriodicTask, PeriodicTasks

from cutover import rows
from cutover.models import CarriedEntry
from cutover.phases.context import Context
from cutover.phases.state import outages


def keep_snapshot(context: Context) -> int:
    """Remember ``enabled`` and last run of every carried row that has no snapshot yet; returns how many.

    One that is there stays: it is from before the first attempt, and the rows have been changed since.
    """
    with outages(context.alias), transaction.atomic(using=context.alias):
        bare = list(CarriedEntry.objects.using(context.alias).filter(enabled_before__isnull=True).select_for_update())
        standing = rows.periodic_tasks(context.alias, {entry.name for entry in bare})
        for entry in bare:
            row = standing.get(entry.name)  # type: ignore[call-overload]
            entry.enabled_before = row.enabled if row is not None else False
            entry.last_run_at_before = row.last_run_at if row is not None else None
        CarriedEntry.objects.using(context.alias).bulk_update(
            bare, ["enabled_before", "last_run_at_before"], batch_size=100
        )
    return len(bare)


def enable(context: Context) -> int:
    """Enable every carried row and touch ``PeriodicTasks``; returns how many were not enabled yet.

    Nothing fires by this: the database side does not lead, and its ledger says where each entry stands.
    """
    with outages(context.alias), transaction.atomic(using=context.alias):
        names = CarriedEntry.objects.using(context.alias).values_list("name", flat=True)
        disabled = PeriodicTask.objects.using(context.alias).filter(name__in=names, enabled=False)
        changed = disabled.update(enabled=True)
        if changed or not PeriodicTasks.objects.using(context.alias).exists():
            PeriodicTasks.update_changed()
    return int(changed)


def restore(context: Context) -> int:
    """Put every carried row back as the snapshot has it, and forget the snapshot; returns how many rows there were."""
    with outages(context.alias), transaction.atomic(using=context.alias):
        kept = CarriedEntry.objects.using(context.alias).filter(enabled_before__isnull=False).select_for_update()
        alike = defaultdict(list)
        for entry in kept:
            alike[entry.enabled_before, entry.last_run_at_before].append(entry.name)
        changed = 0
        for (enabled, last_run_at), names in alike.items():
            for start in range(0, len(names), 500):
                some = PeriodicTask.objects.using(context.alias).filter(name__in=names[start : start + 500])
                changed += some.update(enabled=enabled, last_run_at=last_run_at)
        if alike:
            CarriedEntry.objects.using(context.alias).update(enabled_before=None, last_run_at_before=None)
            PeriodicTasks.update_changed()
    return changed
