"""Which attempt of a slot's run was started last: a task's retry is another attempt, and each runs once."""

from django.db import migrations, models


class Migration(migrations.Migration):
    """Before the new release: what the old one inserts has the default."""

    dependencies = [("cutover", "0002_evidence")]

    operations = [
        migrations.AddField("slot", "run_attempt", models.IntegerField(default=0, db_default=0)),
    ]
