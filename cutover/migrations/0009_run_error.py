"""Why the run of a slot failed, or asked for a retry, as its worker says."""

from django.db import migrations, models


class Migration(migrations.Migration):
    """Before the new release: what the old one writes beside it leaves the column as it is."""

    dependencies = [("cutover", "0008_overview")]

    operations = [
        migrations.AddField("slot", "error", models.CharField(max_length=200, null=True)),
    ]
