"""The tables, and the two single rows: the fence at epoch 0 with the code side active, the cutover before phase 1.

Frozen: a test knows this file by its digest. What the tables need from now on is a migration of its own.
"""

from __future__ import annotations

import django.db.models.deletion
from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor


def create_single_rows(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Create what is not there yet; a fence that has moved on is left as it is."""
    alias = schema_editor.connection.alias
    apps.get_model("cutover", "Fence").objects.using(alias).get_or_create(id=1)
    apps.get_model("cutover", "Cutover").objects.using(alias).get_or_create(id=1)


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="ImportedEntry",
            fields=[
                ("name", models.CharField(max_length=200, primary_key=True, serialize=False)),
                ("fingerprint", models.TextField()),
                ("created", models.BooleanField()),
                ("options", models.JSONField(default=dict)),
                ("relative", models.BooleanField(default=False)),
                ("row", models.JSONField(default=dict)),
                ("key_before", models.BigIntegerField(null=True)),
                ("row_before", models.JSONField(null=True)),
                ("enabled_before", models.BooleanField(null=True)),
                ("last_run_at_before", models.DateTimeField(null=True)),
            ],
            options={
                "verbose_name_plural": "imported entries",
                "ordering": ["name"],
            },
        ),
        migrations.CreateModel(
            name="Entry",
            fields=[
                ("name", models.CharField(max_length=200, primary_key=True, serialize=False)),
                ("fingerprint", models.TextField()),
                ("not_before", models.DateTimeField(null=True)),
                ("not_after", models.DateTimeField(null=True)),
                ("eligible_since", models.DateTimeField()),
                ("active", models.BooleanField(default=True)),
                ("revision", models.BigIntegerField(db_index=True, default=0)),
            ],
            options={
                "verbose_name_plural": "entries",
                "ordering": ["name"],
            },
        ),
        migrations.CreateModel(
            name="ShadowRun",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("asked_at", models.DateTimeField()),
                ("seconds", models.PositiveIntegerField()),
                ("holder", models.CharField(blank=True, max_length=255)),
                ("began_at", models.DateTimeField(null=True)),
                ("ended_at", models.DateTimeField(null=True)),
            ],
            options={
                "ordering": ["-id"],
            },
        ),
        migrations.CreateModel(
            name="Term",
            fields=[
                ("epoch", models.BigIntegerField(primary_key=True, serialize=False)),
                ("holder", models.CharField(max_length=255)),
                ("side", models.CharField(choices=[("code", "code"), ("database", "database")], max_length=8)),
                ("host", models.CharField(max_length=255)),
                ("pid", models.PositiveIntegerField()),
                ("release", models.CharField(blank=True, max_length=100)),
                ("started_at", models.DateTimeField()),
                ("first_tick_at", models.DateTimeField(null=True)),
                ("ended_at", models.DateTimeField(null=True)),
                ("end_reason", models.CharField(blank=True, max_length=100)),
            ],
            options={
                "ordering": ["-epoch"],
            },
        ),
        migrations.CreateModel(
            name="Transition",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("phase", models.CharField(max_length=20)),
                ("step", models.CharField(max_length=40)),
                ("outcome", models.CharField(default="begun", max_length=10)),
                ("detail", models.TextField(blank=True)),
                ("operator", models.CharField(max_length=255)),
                ("begun_at", models.DateTimeField()),
                ("ended_at", models.DateTimeField(null=True)),
            ],
            options={
                "ordering": ["-id"],
            },
        ),
        migrations.CreateModel(
            name="UnmanagedBeat",
            fields=[
                ("origin", models.CharField(max_length=255, primary_key=True, serialize=False)),
                ("first_heard_at", models.DateTimeField()),
                ("last_heard_at", models.DateTimeField()),
            ],
            options={
                "ordering": ["-last_heard_at"],
            },
        ),
        migrations.CreateModel(
            name="Cutover",
            fields=[
                ("id", models.SmallIntegerField(default=1, primary_key=True, serialize=False)),
                ("phase", models.PositiveSmallIntegerField(default=0)),
                ("plan_hash", models.CharField(blank=True, max_length=64)),
                ("switched_at", models.DateTimeField(null=True)),
                ("switch_epoch", models.BigIntegerField(null=True)),
                ("operator", models.CharField(blank=True, max_length=255)),
                ("operator_process", models.CharField(blank=True, max_length=255)),
                ("operator_seen_at", models.DateTimeField(null=True)),
            ],
            options={
                "constraints": [models.CheckConstraint(condition=models.Q(("id", 1)), name="cutover_cutover_single")],
            },
        ),
        migrations.CreateModel(
            name="Fence",
            fields=[
                ("id", models.SmallIntegerField(default=1, primary_key=True, serialize=False)),
                ("epoch", models.BigIntegerField(default=0)),
                (
                    "side",
                    models.CharField(
                        choices=[("code", "code"), ("database", "database")], default="code", max_length=8
                    ),
                ),
                ("switched_at", models.DateTimeField(null=True)),
                ("guarded_since", models.DateTimeField(null=True)),
                ("schedule_revision", models.BigIntegerField(default=0)),
            ],
            options={
                "constraints": [models.CheckConstraint(condition=models.Q(("id", 1)), name="cutover_fence_single")],
            },
        ),
        migrations.CreateModel(
            name="Slot",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("entry", models.CharField(max_length=200)),
                ("due_at", models.DateTimeField()),
                ("epoch", models.BigIntegerField()),
                ("side", models.CharField(choices=[("code", "code"), ("database", "database")], max_length=8)),
                (
                    "state",
                    models.CharField(
                        choices=[("claimed", "claimed"), ("published", "published"), ("missed", "missed")], max_length=9
                    ),
                ),
                ("task_id", models.UUIDField()),
                ("claimed_at", models.DateTimeField()),
                ("published_at", models.DateTimeField(null=True)),
                ("run_started_at", models.DateTimeField(null=True)),
                ("run_ended_at", models.DateTimeField(null=True)),
                ("run_by", models.CharField(blank=True, max_length=255)),
                ("sender", models.CharField(max_length=255, null=True)),
                ("deduplicated", models.PositiveIntegerField(default=0)),
                ("resent", models.PositiveSmallIntegerField(default=0)),
                ("passed_over", models.PositiveIntegerField(default=0)),
                ("reason", models.CharField(blank=True, max_length=200)),
            ],
            options={
                "indexes": [
                    models.Index(fields=["due_at"], name="cutover_slot_due"),
                    models.Index(
                        condition=models.Q(("state", "claimed")),
                        fields=["due_at", "entry"],
                        name="cutover_slot_unpublished",
                    ),
                    models.Index(
                        condition=models.Q(("run_started_at", None), ("state", "published")),
                        fields=["due_at"],
                        name="cutover_slot_unstarted",
                    ),
                    models.Index(
                        condition=models.Q(("state", "missed")), fields=["due_at"], name="cutover_slot_missed"
                    ),
                    models.Index(
                        condition=models.Q(("sender__isnull", False)), fields=["sender"], name="cutover_slot_unmanaged"
                    ),
                ],
                "constraints": [models.UniqueConstraint(fields=("entry", "due_at"), name="cutover_slot_once")],
            },
        ),
        migrations.CreateModel(
            name="ShadowSlot",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("entry", models.CharField(max_length=200)),
                ("due_at", models.DateTimeField()),
                ("seen_at", models.DateTimeField()),
                (
                    "run",
                    models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to="cutover.shadowrun"),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("run", "entry", "due_at"), name="cutover_shadow_slot_once")
                ],
            },
        ),
        migrations.RunPython(create_single_rows, migrations.RunPython.noop),
    ]
