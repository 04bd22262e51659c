"""When an operator has asked for a slot that was missed, and an index of those few."""

from importlib import import_module

from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import ProjectState

AddIndex = import_module("cutover.migrations.0007_deduplicated").AddIndex


class AddField(migrations.AddField):
    """Once, however often it is applied: a migration that is not atomic may have ended half-way."""

    def database_forwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        """See Django."""
        connection, slots = schema_editor.connection, to_state.apps.get_model(app_label, self.model_name)
        if not self.allow_migrate_model(connection.alias, slots):
            return
        table = slots._meta.db_table
        with connection.cursor() as cursor:
            columns = {column.name for column in connection.introspection.get_table_description(cursor, table)}
        if self.name not in columns:
            super().database_forwards(app_label, schema_editor, from_state, to_state)


class Migration(migrations.Migration):
    """Before the new release: what the old one writes beside it leaves the column null."""

    atomic = False
    dependencies = [("cutover", "0010_pause")]

    operations = [
        AddField("slot", "replay_asked_at", models.DateTimeField(null=True)),
        AddIndex(
            "slot",
            models.Index(
                fields=["due_at"], condition=models.Q(replay_asked_at__isnull=False), name="cutover_slot_replay"
            ),
        ),
    ]
