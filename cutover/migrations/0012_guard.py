"""What a phase 3 waits for and watches over, each in a table of its own; and when parity was proved last."""

from importlib import import_module
from typing import Any

from django.db import migrations, models

as_the_other_tables = import_module("cutover.migrations.0010_pause").as_the_other_tables
ATTENDED: list[tuple[str, "models.Field[Any, Any]"]] = [
    ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
    ("operator", models.CharField(max_length=255)),
    ("process", models.CharField(max_length=255)),
    ("began_at", models.DateTimeField()),
    ("seen_at", models.DateTimeField()),
    ("ended_at", models.DateTimeField(null=True)),
    ("outcome", models.CharField(blank=True, max_length=20)),
    ("detail", models.TextField(blank=True)),
]


class Migration(migrations.Migration):
    """Before or after the new release's beats and workers, which know nothing of it; before its command."""

    dependencies = [("cutover", "0011_replay")]

    operations = [
        migrations.AddField("cutover", "parity_proved_at", models.DateTimeField(null=True)),
        migrations.CreateModel(
            name="QuietWait",
            fields=[
                *((name, field.clone()) for name, field in ATTENDED),
                ("until", models.DateTimeField()),
                ("leaps_at", models.DateTimeField(null=True)),
                ("window_from", models.DateTimeField(null=True)),
                ("window_to", models.DateTimeField(null=True)),
                ("not_before", models.DateTimeField(null=True)),
                ("order", models.CharField(blank=True, max_length=10)),
                ("ordered_by", models.CharField(blank=True, max_length=255)),
                ("asked", models.PositiveIntegerField(default=0)),
                ("answered", models.PositiveIntegerField(default=0)),
            ],
            options={"ordering": ["-id"]},
        ),
        migrations.CreateModel(
            name="SwitchGuard",
            fields=[
                *((name, field.clone()) for name, field in ATTENDED),
                ("switch_epoch", models.BigIntegerField()),
                ("until", models.DateTimeField()),
            ],
            options={"ordering": ["-id"]},
        ),
        migrations.RunPython(as_the_other_tables("QuietWait", "SwitchGuard"), migrations.RunPython.noop, atomic=False),
    ]
