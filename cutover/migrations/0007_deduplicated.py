"""An index of the slots of which further messages came: they are counted without reading all the others."""

from typing import Any

from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import ProjectState


class AddIndex(migrations.AddIndex):
    """An index of a few rows, added while beats run: PostgreSQL builds it beside them, MariaDB and MySQL do so anyway.

    Those two know no conditions: what the condition asks comes first there, see 0005_mysql.
    """

    def database_forwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        """See Django. Applied again, it drops an index that was left half-built, and builds it."""
        connection, index = schema_editor.connection, self.index
        rows = to_state.apps.get_model(app_label, self.model_name)
        if not self.allow_migrate_model(connection.alias, rows):
            return
        if connection.vendor == "mysql":
            condition: Any = index.condition
            asked = [lookup.partition("__")[0] for lookup, _ in condition.children]
            schema_editor.add_index(rows, models.Index(fields=[*asked, *index.fields], name=index.name))
        elif connection.vendor == "postgresql":  # whose editor alone knows the argument
            schema_editor.remove_index(rows, index, concurrently=True)  # type: ignore[call-arg]
            schema_editor.add_index(rows, index, concurrently=True)  # type: ignore[call-arg]
        else:
            super().database_forwards(app_label, schema_editor, from_state, to_state)


class Migration(migrations.Migration):
    """Before or after the new release: without it the same is counted, more slowly."""

    atomic = False
    dependencies = [("cutover", "0006_run_outcome")]

    operations = [
        AddIndex(
            "slot",
            models.Index(fields=["due_at"], condition=models.Q(deduplicated__gt=0), name="cutover_slot_deduplicated"),
        ),
    ]
