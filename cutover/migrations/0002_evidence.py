"""What a leader says of itself: what it sends, and that it is alive."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("cutover", "0001_initial"),
    ]

    operations = [
        migrations.CreateModel(
            name="Declaration",
            fields=[
                (
                    "side",
                    models.CharField(
                        choices=[("code", "code"), ("database", "database")],
                        max_length=8,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("holder", models.CharField(max_length=255)),
                ("release", models.CharField(blank=True, max_length=100)),
                ("declared_at", models.DateTimeField()),
                ("entries", models.JSONField(default=dict)),
            ],
        ),
        migrations.AddField(
            model_name="term",
            name="seen_at",
            field=models.DateTimeField(null=True),
        ),
    ]
