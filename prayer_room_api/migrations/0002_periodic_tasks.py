"""The three periodic tasks as rows, disabled: until phase 3 of the cutover the code sends them."""

import json
from typing import NamedTuple

from django.apps.registry import Apps
from django.conf import settings
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.utils import timezone

ANY_DAY = {"day_of_week": "*", "day_of_month": "*", "month_of_year": "*"}

UNSET = ("queue", "exchange", "routing_key", "priority", "expires", "expire_seconds", "start_time", "last_run_at")


class Row(NamedTuple):
    """One row as this migration creates it."""

    name: str
    task: str
    crontab: dict[str, str]
    args: str = "[]"


ROWS = [
    Row(
        "moderator-digest-hourly",
        "prayer_room_api.tasks.send_moderator_digest",
        ANY_DAY | {"minute": "0", "hour": "*"},
    ),
    Row(
        "user-digest-daily",
        "prayer_room_api.tasks.send_user_digest",
        ANY_DAY | {"minute": "0", "hour": "8"},
        json.dumps(["daily"]),
    ),
    Row(
        "user-digest-weekly",
        "prayer_room_api.tasks.send_user_digest",
        ANY_DAY | {"minute": "0", "hour": "8", "day_of_week": "1"},
        json.dumps(["weekly"]),
    ),
]


def create(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Create the rows that are not there; one that is there is somebody's, and stays as it is.

    The zone is the app's: there the code sends at 8 o'clock. Disabled, for the old beat is still running, and a row
    that is enabled now would be sent by a new one too, or at once.
    """
    alias = schema_editor.connection.alias
    tasks = apps.get_model("django_celery_beat", "PeriodicTask").objects.using(alias)
    crontabs = apps.get_model("django_celery_beat", "CrontabSchedule").objects.using(alias)
    for row in ROWS:
        if tasks.filter(name=row.name).exists():
            continue
        fields = row.crontab | {"timezone": settings.CELERY_TIMEZONE}
        # Nothing keeps two equal crontabs from standing here: `get` would raise.
        crontab = crontabs.filter(**fields).order_by("pk").first() or crontabs.create(**fields)
        tasks.create(name=row.name, task=row.task, crontab=crontab, args=row.args, enabled=False)
    _touch(apps, alias)


def remove(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Remove the rows that still are as they were created; one that was enabled, edited or sent is left alone.

    Crontabs stay: who else refers to them cannot be told for certain.
    """
    alias = schema_editor.connection.alias
    tasks = apps.get_model("django_celery_beat", "PeriodicTask").objects.using(alias)
    for row in ROWS:
        crontab = {f"crontab__{field}": value for field, value in row.crontab.items()}
        as_created = tasks.filter(name=row.name, task=row.task, args=row.args, kwargs="{}", headers="{}", **crontab)
        as_created.filter(
            crontab__timezone=settings.CELERY_TIMEZONE,
            enabled=False,
            one_off=False,
            total_run_count=0,
            description="",
            **{f"{column}__isnull": True for column in UNSET},
        ).delete()
    _touch(apps, alias)


def _touch(apps: Apps, alias: str) -> None:
    """Tell running beats: the models of a migration run neither ``save()`` nor signals of the real ones."""
    changes = apps.get_model("django_celery_beat", "PeriodicTasks").objects.using(alias)
    changes.update_or_create(ident=1, defaults={"last_update": timezone.now()})


class Migration(migrations.Migration):
    dependencies = [
        ("prayer_room_api", "0001_initial"),
        ("django_celery_beat", "0018_improve_crontab_helptext"),
    ]

    operations = [migrations.RunPython(create, remove)]
