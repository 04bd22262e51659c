"""Where routers keep the ledger's tables out of a database, and where a connection does not take every character."""

from typing import Any

import pytest
from django.db import connections
from django.db.migrations.loader import MigrationLoader

from cutover import models
from tests.support.ledger import NOW, new_slot

pytestmark = [pytest.mark.integration, pytest.mark.mariadb]
CLEF = "\N{MUSICAL SYMBOL G CLEF}"


class Nowhere:
    """Lets no table of the ledger be made."""

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        return False if app_label == "cutover" else None


def test_no_migration_touches_a_database_that_the_ledger_is_not_in(alias: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("django.db.router.routers", [Nowhere()])
    connection = connections[alias]
    loader = MigrationLoader(connection)
    state = loader.project_state([])
    plan = [key for leaf in loader.graph.leaf_nodes("cutover") for key in loader.graph.forwards_plan(leaf)]
    assert ("cutover", "0001_initial") in plan
    for key in plan:
        migration = loader.graph.nodes[key]
        if key[0] == "cutover":
            with connection.schema_editor(collect_sql=True, atomic=False) as editor:
                migration.apply(state, editor, collect_sql=True)
            touched = [line for line in editor.collected_sql if not line.startswith("--")]
            assert touched == [], key
        else:
            state = migration.mutate_state(state, preserve=False)


@pytest.mark.parametrize("charset", ["utf8", "utf8mb4"])
def test_what_others_have_said_is_kept_by_a_connection_that_does_not_take_every_character(
    alias: str, charset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = connections[alias]
    given = connection.get_connection_params()
    monkeypatch.setattr(connection, "get_connection_params", lambda: {**given, "charset": charset})
    if connection.vendor == "mysql":
        connection.close()
    said = f"the broker says {CLEF}, \0 and \ud834"
    row = new_slot(alias, "a", NOW, reason=said)
    models.Slot.objects.using(alias).update(error=said)
    pause = models.Pause.objects.using(alias).create(paused_at=NOW, paused_by="me", reason=said)
    for kept in (row, pause):
        kept.refresh_from_db()
    expected = said.replace("\0", "\ufffd").replace("\ud834", "\ufffd")
    if (connection.vendor, charset) == ("mysql", "utf8"):
        expected = expected.replace(CLEF, "\ufffd")
    assert {row.reason, row.error, pause.reason} == {expected}
    connection.close()
