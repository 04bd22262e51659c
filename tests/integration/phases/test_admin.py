"""The tables in the admin: every one can be looked at, none can be written."""

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from cutover import clock
from cutover.models import Entry, ImportedEntry, ShadowRun, ShadowSlot, Slot, Term, Transition, UnmanagedBeat

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

NOW = clock.now()
MODELS = [model._meta.model_name for model in apps.get_app_config("cutover").get_models()]


@pytest.fixture
def admin(client: Client) -> Client:
    client.force_login(User.objects.create_superuser("root"))
    Term.objects.create(epoch=1, holder="h:1:x", side="code", host="h", pid=1, started_at=NOW)
    Entry.objects.create(name="e", fingerprint="f", eligible_since=NOW)
    Slot.objects.create(entry="e", due_at=NOW, epoch=1, side="code", state="claimed", task_id="0" * 32, claimed_at=NOW)
    Transition.objects.create(phase="phase1", step="finish", operator="o", begun_at=NOW)
    UnmanagedBeat.objects.create(origin="1@h", first_heard_at=NOW, last_heard_at=NOW)
    ImportedEntry.objects.create(name="e", fingerprint="f", created=True)
    run = ShadowRun.objects.create(asked_at=NOW, seconds=1)
    ShadowSlot.objects.create(run=run, entry="e", due_at=NOW, seen_at=NOW)
    return client


@pytest.mark.parametrize("model", MODELS)
def test_a_table_is_listed_shown_and_not_written(admin: Client, model: str) -> None:
    kind = apps.get_model("cutover", model)
    listed = admin.get(reverse(f"admin:cutover_{model}_changelist"), secure=True)
    assert listed.status_code == 200
    row = kind._default_manager.get()
    shown = admin.get(reverse(f"admin:cutover_{model}_change", args=[row.pk]), secure=True)
    assert shown.status_code == 200
    assert b'name="_save"' not in shown.content
    for page, arguments in (("add", []), ("delete", [row.pk])):
        assert admin.post(reverse(f"admin:cutover_{model}_{page}", args=arguments), secure=True).status_code == 403
