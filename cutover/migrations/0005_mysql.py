"""MySQL and MariaDB: texts that are told apart byte by byte, and indexes that begin with what partial ones fix."""

from __future__ import annotations

from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

# Django leaves the condition out there, so that these would be indexes of all slots by their time.
INDEXES = {
    "cutover_slot_unpublished": ["state", "due_at", "entry"],
    "cutover_slot_unstarted": ["state", "run_started_at", "due_at"],
    "cutover_slot_missed": ["state", "due_at"],
}


def adapt(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Once more changes nothing: a migration that fails half-way is not undone there.

    The usual collations take ``Report``, ``report`` and ``report `` for one name. What a table's is, a column that is
    added or altered later has too.
    """
    connection = schema_editor.connection
    if connection.vendor != "mysql":
        return
    collation = "utf8mb4_nopad_bin" if connection.mysql_is_mariadb else "utf8mb4_0900_bin"  # type: ignore[attr-defined]
    for model in apps.get_app_config("cutover").get_models():
        table = schema_editor.quote_name(model._meta.db_table)
        schema_editor.execute(f"ALTER TABLE {table} CONVERT TO CHARACTER SET utf8mb4 COLLATE {collation}")
    slots = apps.get_model("cutover", "Slot")
    with connection.cursor() as cursor:
        there = connection.introspection.get_constraints(cursor, slots._meta.db_table)
    for name, fields in INDEXES.items():
        index, columns = models.Index(fields=fields, name=name), there[name]["columns"] if name in there else None
        if columns != fields:
            if columns is not None:
                schema_editor.remove_index(slots, index)
            schema_editor.add_index(slots, index)


class Migration(migrations.Migration):
    dependencies = [("cutover", "0004_slotless_senders")]

    operations = [migrations.RunPython(adapt, migrations.RunPython.noop, atomic=False)]
