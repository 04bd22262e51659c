"""The two single rows: the fence at epoch 0 with the code side active, and the cutover before its first phase."""

from __future__ import annotations

from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor


def create(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Create what is not there yet; a fence that has moved on is left as it is."""
    alias = schema_editor.connection.alias
    apps.get_model("cutover", "Fence").objects.using(alias).get_or_create(id=1)
    apps.get_model("cutover", "Cutover").objects.using(alias).get_or_create(id=1)


class Migration(migrations.Migration):
    dependencies = [("cutover", "0001_initial")]

    operations = [migrations.RunPython(create, migrations.RunPython.noop)]
