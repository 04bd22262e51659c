"""How the run of a slot has ended, as its worker says."""

from django.db import migrations, models

OUTCOMES = ["running", "succeeded", "failed", "retried", "lost"]


class Migration(migrations.Migration):
    """Before the new release: what the old one writes beside it leaves the column null."""

    dependencies = [("cutover", "0005_mysql")]

    operations = [
        migrations.AddField(
            "slot",
            "outcome",
            models.CharField(choices=[(outcome, outcome) for outcome in OUTCOMES], max_length=9, null=True),
        ),
    ]
