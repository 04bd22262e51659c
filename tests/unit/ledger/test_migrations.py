"""A migration is frozen: databases that have applied it never see an edit of it."""

import hashlib
from pathlib import Path

import pytest
from django.apps import apps
from django.db.migrations.autodetector import MigrationAutodetector
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.state import ProjectState

FOLDER = Path(apps.get_app_config("cutover").path) / "migrations"
FROZEN = {
    "0001_initial": "8c3649d2a77d0da36fe38d9204634341de6a959a1e74872464d19c2d0873b0e9",
    "0002_evidence": "3f093b27e68dce7f6f9c9197d650b383cab95af15dd68b1c1e65107183b5197d",
    "0003_run_attempt": "91f166bef32ce382e1fdfd819cab16f0c27d3659121f18d46b082e348a24e307",
    "0004_slotless_senders": "044a00532b891c77f5c8d9216aa978097b8cde474afa300fd20c4517ea980bd7",
    "0005_mysql": "6a090cbce4eb189c377b72bb8af62e9fd84152561d38ef490bf1f6df8870441d",
    "0006_run_outcome": "daa623e3f44e0675621a41976a93014f924072730be9a8764525e5ac54b919d9",
    "0007_deduplicated": "48188d7dc89e57a4f4a78f8f2af2acb3812252cf48071404c65806a337365a91",
    "0008_overview": "dbd35389d362a68bf7addd107b5813273c99dab0617f61eb9701aa3272d05c4f",
    "0009_run_error": "56fe302271a0b4b1881a67d9833e9622e1fe83daed8dfc8d042b445c4d702e57",
    "0010_pause": "bc74f339fb8f08e4cecc265e431588f20bdafe72f5b035c0620674cb5d68e869",
    "0011_replay": "be77dbb6abdabfca3c413ad0cea42cecb9845815ed7b0d06fd65b70b3a15a73a",
    "0012_guard": "bc2b32b39478bc9caddee34b1e9d93ea9cc62c568d3781e2efe7d96a1c57a239",
}


@pytest.mark.parametrize("name", FROZEN)
def test_a_migration_that_may_have_been_applied_is_what_it_was(name):
    digest = hashlib.sha256((FOLDER / f"{name}.py").read_bytes()).hexdigest()
    assert digest == FROZEN[name], f"leave {name} as it was, and make a new migration: `manage.py makemigrations`"


def test_every_migration_is_frozen():
    assert {path.stem for path in FOLDER.glob("[0-9]*.py")} == set(FROZEN), "add its digest here"


def test_the_tables_are_those_of_the_models():
    written = MigrationLoader(None)
    needed = MigrationAutodetector(written.project_state(), ProjectState.from_apps(apps)).changes(written.graph)
    assert [operation.describe() for m in needed.get("cutover", ()) for operation in m.operations] == []
