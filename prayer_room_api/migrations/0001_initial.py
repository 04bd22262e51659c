"""The tables of the prayer room."""

import django.db.models.deletion
import django.db.models.functions.datetime
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="EmailLog",
            fields=[
                (
                    "id",
                    models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[("moderator_digest", "Moderator digest"), ("user_digest", "User digest")],
                        max_length=20,
                    ),
                ),
                ("period", models.CharField(help_text="hourly, daily or weekly", max_length=6)),
                (
                    "window",
                    models.DateTimeField(help_text="The digest that this mail belongs to: the instant it was due."),
                ),
                ("to", models.EmailField(max_length=254)),
                ("subject", models.CharField(max_length=200)),
                (
                    "status",
                    models.CharField(
                        choices=[("sending", "Being sent"), ("sent", "Sent"), ("failed", "Failed")],
                        default="sending",
                        max_length=7,
                    ),
                ),
                ("error", models.TextField(blank=True)),
                (
                    "covered_until",
                    models.DateTimeField(help_text="The newest item in the mail; the next one starts after it."),
                ),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("sent_at", models.DateTimeField(blank=True, null=True)),
            ],
            options={
                "verbose_name": "e-mail",
                "ordering": ["-created_at", "-pk"],
                "indexes": [models.Index(fields=["kind", "period", "status", "to"], name="email_last_sent")],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("kind", "period", "window", "to"), name="email_once_per_window_and_recipient"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="UserProfile",
            fields=[
                (
                    "id",
                    models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
                ),
                (
                    "digest",
                    models.CharField(
                        choices=[("none", "No digest"), ("daily", "Every day"), ("weekly", "Every week")],
                        db_index=True,
                        default="none",
                        max_length=6,
                    ),
                ),
                (
                    "user",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="profile",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="PrayerPraiseRequest",
            fields=[
                (
                    "id",
                    models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
                ),
                (
                    "type",
                    models.CharField(
                        choices=[("prayer", "Prayer"), ("praise", "Praise")], default="prayer", max_length=6
                    ),
                ),
                (
                    "name",
                    models.CharField(blank=True, help_text="Shown as the author. Empty: anonymous.", max_length=100),
                ),
                ("content", models.TextField(max_length=4000)),
                (
                    "response",
                    models.TextField(blank=True, help_text="The team's answer, shown with it.", max_length=4000),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True, db_index=True)),
                ("updated_at", models.DateTimeField(auto_now=True)),
                ("flagged_at", models.DateTimeField(blank=True, null=True)),
                ("approved_at", models.DateTimeField(blank=True, null=True)),
                ("archived_at", models.DateTimeField(blank=True, null=True)),
                (
                    "author",
                    models.ForeignKey(
                        blank=True,
                        help_text="The account that wrote it, if it was written while logged in.",
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="requests",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "verbose_name": "request",
                "ordering": ["-created_at", "-pk"],
                "indexes": [
                    models.Index(
                        condition=models.Q(("archived_at__isnull", True)),
                        fields=["-approved_at", "-id"],
                        name="request_published",
                    )
                ],
            },
        ),
    ]
