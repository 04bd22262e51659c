"""Who sends scheduled tasks without a slot: what workers count, and what the operator says of it."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("cutover", "0003_run_attempt"),
    ]

    operations = [
        migrations.CreateModel(
            name="OperatorWord",
            fields=[
                ("task", models.CharField(max_length=200, primary_key=True, serialize=False)),
                (
                    "sent_by",
                    models.CharField(choices=[("beats_alone", "beats_alone"), ("hand", "hand")], max_length=11),
                ),
                ("said_at", models.DateTimeField()),
            ],
            options={
                "ordering": ["task"],
            },
        ),
        migrations.CreateModel(
            name="SlotlessSender",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("task", models.CharField(max_length=200)),
                ("entry", models.CharField(blank=True, max_length=200)),
                ("origin", models.CharField(max_length=255)),
                ("messages", models.PositiveBigIntegerField(default=0)),
                ("at_slots", models.PositiveBigIntegerField(default=0)),
                ("first_seen_at", models.DateTimeField()),
                ("last_seen_at", models.DateTimeField(db_index=True)),
            ],
            options={
                "ordering": ["-last_seen_at"],
                "constraints": [
                    models.UniqueConstraint(fields=("task", "entry", "origin"), name="cutover_slotless_once")
                ],
            },
        ),
    ]
