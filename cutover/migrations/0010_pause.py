"""Pauses, and on the fence how many there are to read."""

from collections.abc import Callable

from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor


def as_the_other_tables(*names: str) -> Callable[[Apps, BaseDatabaseSchemaEditor], None]:
    """On MySQL and MariaDB: have texts in these new tables told apart byte by byte, as 0005_mysql has those before."""

    def convert(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
        connection = schema_editor.connection
        if connection.vendor != "mysql":
            return
        is_mariadb = connection.mysql_is_mariadb  # type: ignore[attr-defined]  # of that vendor's connections alone
        collation = "utf8mb4_nopad_bin" if is_mariadb else "utf8mb4_0900_bin"
        for name in names:
            table = schema_editor.quote_name(apps.get_model("cutover", name)._meta.db_table)
            schema_editor.execute(f"ALTER TABLE {table} CONVERT TO CHARACTER SET utf8mb4 COLLATE {collation}")

    return convert


class Migration(migrations.Migration):
    """Before the new release: the old one reads neither, and writes rows of the fence that have none."""

    dependencies = [("cutover", "0009_run_error")]

    operations = [
        migrations.CreateModel(
            name="Pause",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("entry", models.CharField(blank=True, max_length=200)),
                ("paused_at", models.DateTimeField()),
                ("until", models.DateTimeField(null=True)),
                ("paused_by", models.CharField(max_length=255)),
                ("reason", models.CharField(blank=True, max_length=200)),
                ("ended_at", models.DateTimeField(null=True)),
                ("ended_by", models.CharField(blank=True, max_length=255)),
            ],
            options={"ordering": ["-paused_at"]},
        ),
        migrations.AddField("fence", "pauses", models.IntegerField(db_default=0, default=0)),
        migrations.RunPython(as_the_other_tables("Pause"), migrations.RunPython.noop, atomic=False),
    ]
