"""The page in the admin: a name for it, and no table."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("cutover", "0007_deduplicated")]

    operations = [
        migrations.CreateModel(
            name="Overview",
            fields=[],
            options={
                "verbose_name": "at a glance",
                "verbose_name_plural": "at a glance",
                "proxy": True,
                "default_permissions": (),
                "indexes": [],
                "constraints": [],
            },
            bases=("cutover.slot",),
        ),
    ]
