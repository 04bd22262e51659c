"""The tables in the admin: every one can be looked at, none can be written."""

from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.apps import apps
from django.contrib.auth.models import Permission, User
from django.db.models import Model
from django.test import Client
from django.urls import reverse
from django.utils.formats import localize
from pytest_django import Settings

from cutover import clock
from cutover.admin import PAGED, SEARCHED
from cutover.models import (
    Cutover,
    Declaration,
    Entry,
    Fence,
    ImportedEntry,
    OperatorWord,
    Pause,
    QuietWait,
    ShadowRun,
    ShadowSlot,
    Slot,
    SlotlessSender,
    SwitchGuard,
    Term,
    Transition,
    UnmanagedBeat,
)
from tests.support.ledger import give_past
from tests.support.plans import assert_by_index, plans

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

NOW = clock.now()
MODELS = [one._meta.model_name for one in apps.get_app_config("cutover").get_models() if not one._meta.proxy]


@pytest.fixture
def admin(client: Client) -> Client:
    client.force_login(User.objects.create_superuser("root"))
    Fence.objects.get_or_create(
        id=1
    )  # as the migration has made it; a test before this one may have emptied the tables
    Cutover.objects.get_or_create(id=1)
    Term.objects.create(epoch=1, holder="h:1:x", side="code", host="h", pid=1, started_at=NOW)
    Entry.objects.create(name="e", fingerprint="f", eligible_since=NOW)
    Declaration.objects.create(side="code", holder="h:1:x", declared_at=NOW)
    Slot.objects.create(entry="e", due_at=NOW, epoch=1, side="code", state="claimed", task_id="0" * 32, claimed_at=NOW)
    Transition.objects.create(phase="phase1", step="finish", operator="o", begun_at=NOW)
    UnmanagedBeat.objects.create(origin="1@h", first_heard_at=NOW, last_heard_at=NOW)
    SlotlessSender.objects.create(task="t", origin="1@h", messages=1, first_seen_at=NOW, last_seen_at=NOW)
    OperatorWord.objects.create(task="t", sent_by="hand", said_at=NOW)
    ImportedEntry.objects.create(name="e", fingerprint="f", created=True)
    stays = {"operator": "o", "process": "h:1:1", "began_at": NOW, "seen_at": NOW, "until": NOW}
    QuietWait.objects.create(**stays)
    Pause.objects.create(entry="e", paused_at=NOW, paused_by="o")
    SwitchGuard.objects.create(**stays, switch_epoch=1)
    run = ShadowRun.objects.create(asked_at=NOW, seconds=1)
    ShadowSlot.objects.create(run=run, entry="e", due_at=NOW, seen_at=NOW)
    return client


@pytest.mark.parametrize("model", ["slot", "term", "shadowslot"])
@pytest.mark.parametrize("use_tz", [True, False])
def test_instants_are_in_the_sites_zone_as_those_of_other_tables_are(
    admin: Client, settings: Settings, model: str, use_tz: bool
) -> None:
    settings.USE_TZ, settings.TIME_ZONE = use_tz, "Asia/Kolkata"
    row = apps.get_model("cutover", model)._default_manager.get()
    pages = reverse(f"admin:cutover_{model}_changelist"), reverse(f"admin:cutover_{model}_change", args=[row.pk])
    for page in pages:
        shown = admin.get(page, secure=True).content.decode()
        assert localize(NOW.astimezone(ZoneInfo("Asia/Kolkata"))) in shown
        assert localize(NOW) not in shown


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


class To:
    """Sends every model to one database."""

    def __init__(self, alias: str) -> None:
        self._alias = alias

    def db_for_read(self, model: type[Model], **hints: Any) -> str:
        return self._alias

    db_for_write = db_for_read


@pytest.fixture
def reader(client: Client, alias: str, settings: Settings) -> Client:
    """Somebody who may see slots and nothing else, on either database."""
    settings.DATABASE_ROUTERS = [To(alias)]
    user = User.objects.create_user("reader", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_slot"))
    client.force_login(user)
    return client


LISTED = "admin:cutover_slot_changelist"
PAGES = {
    "": 100,
    "p=3": 100,
    "p=10": 100,
    "all=": 100,
    "o=5": 100,
    "which=unpublished": 10,
    "which=unstarted": 10,
    "which=missed": 10,
    "which=unmanaged": 10,
    "which=nothing": 100,
    "q=e35": 100,
    "q=e0&which=unpublished": 1,
    "q=e": 0,
    "q=no+such+entry": 0,
}


def test_no_page_of_the_ledger_reads_more_of_it_than_can_be_paged_through(reader: Client, alias: str) -> None:
    give_past(alias)
    for page, rows in PAGES.items():
        with plans(alias) as found:
            answer = reader.get(f"{reverse(LISTED)}?{page}", secure=True)
        assert answer.status_code == 200, page
        shown = list(answer.context["cl"].result_list)
        assert len(shown) == rows, page
        assert [each.due_at for each in shown] == sorted((each.due_at for each in shown), reverse=True)
        assert_by_index(found, 2 * SEARCHED if page == "which=unmanaged" else PAGED)
        assert not [plan.sql for plan in found if "COUNT(" in plan.sql]
    slots = Slot.objects.order_by("pk")
    for wanted, held in ((slots.last(), True), (slots.first(), False)):
        with plans(alias) as found:
            answer = reader.get(reverse(LISTED), {"q": f" {wanted.task_id} "}, secure=True)
        assert list(answer.context["cl"].result_list) == ([wanted] if held else [])
        assert_by_index(found, 2 * SEARCHED)


@pytest.mark.parametrize("lookup", ["reason__icontains=x", "state=missed", "entry=e3", "run_by__startswith=w"])
def test_an_address_of_ones_own_making_filters_nothing(admin: Client, lookup: str) -> None:
    answer = admin.get(f"{reverse(LISTED)}?{lookup}", secure=True)
    assert (answer.status_code, answer.headers.get("Location")) in {(400, None), (302, f"{reverse(LISTED)}?e=1")}


def test_who_may_not_see_slots_does_not(client: Client) -> None:
    client.force_login(User.objects.create_user("nobody", is_staff=True))
    assert client.get(reverse(LISTED), secure=True).status_code == 403
