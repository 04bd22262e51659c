"""The page in the admin: who may see it, on which admin site, what it says, and what it costs."""

import datetime as dt
import re
from collections.abc import Callable
from types import ModuleType
from typing import Any, TypeVar
from urllib.parse import urlencode

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.db import OperationalError, connections
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import path, reverse
from django.utils import timezone
from django.utils.html import escape
from django_celery_beat.models import PeriodicTask
from pytest_django import Settings

from cutover.admin import LinksToSlots, OverviewAdmin
from cutover.errors import LedgerUnavailable
from cutover.models import Entry, Overview, Slot, Term
from cutover.observe import overview
from cutover.observe.page.pages import ROWS
from cutover.phases.context import Context
from cutover.schedules import timetable
from cutover.types import EntryName
from tests.browser import scene

pytestmark = [pytest.mark.integration, pytest.mark.mariadb]

Surroundings = Callable[[], Context]
HOUR = dt.timedelta(hours=1)
SITE = "/admin/cutover/overview/"
ENTRY, SLOT = f"{SITE}entry/", f"{SITE}slot/"

Test = TypeVar("Test", bound=Callable[..., None])


def on_sqlite(test: Test) -> Test:
    """For a test of what no database has a part in."""
    alone: Test = pytest.mark.parametrize("alias", ["default"], indirect=True)(test)
    return pytest.mark.django_db(transaction=True)(alone)


@pytest.fixture
def played(context: Surroundings, schedule: dict[str, dict[str, Any]]) -> dt.datetime:
    """A site an hour after its switch, whose leader is gone."""
    hourly = schedule["hourly"]
    schedule.clear()
    schedule |= dict.fromkeys((*scene.EVERY, *scene.CRONTABS), hourly)
    return scene.play(context().alias)


@pytest.fixture
def person(client: Client, settings: Settings, context: Surroundings) -> User:
    """Somebody of the staff, signed in, who may do nothing yet."""
    settings.SECURE_SSL_REDIRECT = False
    user = User.objects.create(username="person", is_staff=True)
    client.force_login(user)
    return user


def permit(user: User, *codenames: str) -> None:
    user.user_permissions.add(*Permission.objects.filter(codename__in=codenames))


@pytest.fixture
def reader(person: User) -> User:
    """May view slots."""
    permit(person, "view_slot")
    return person


@on_sqlite
@pytest.mark.parametrize("page", [SITE, ENTRY, SLOT])
def test_who_may_view_slots_may_see_the_page(client: Client, person: User, page: str) -> None:
    client.logout()
    answer = client.get(page)
    assert (answer.status_code, answer["Location"].split("?")[0]) == (302, "/admin/login/")
    client.force_login(person)
    assert client.get(page).status_code == 403
    permit(person, "view_term")
    assert SITE not in client.get("/admin/").content.decode()
    permit(person, "view_slot")
    assert client.get(page).status_code == (200 if page == SITE else 404)
    assert SITE in client.get("/admin/").content.decode()
    assert client.get(f"{SITE}add/").status_code == 404


def test_what_went_wrong_is_each_in_its_place(client: Client, reader: User, played: dt.datetime) -> None:
    shown = client.get(SITE)
    assert shown.context["first"].verdict.startswith("Not healthy: nobody leads for the database side")
    lines = {one.name: one for one in shown.context["entries"]}
    assert [(one.name, one.word) for one in shown.context["entries"]][:2] == [
        ("user-digest-weekly", "problem"),
        ("import-requests", "problem"),
    ]
    assert lines["prayer-reminders"].findings == ["deduplicated: 1 further message in the last day, run once"]
    marks = {
        (lane.name, mark.shape, mark.side)
        for lane in shown.context["drawing"].lanes
        for mark in lane.marks
        if mark.shape != "ok" or mark.is_deduplicated
    }
    assert marks == {
        ("import-requests", "failed", "database"),
        ("notify-moderators", "missed", "database"),
        ("prayer-reminders", "retried", "database"),
        ("prayer-reminders", "ok", "database"),
    }
    assert [(one.epoch, one.end) for one in shown.context["terms"]] == [(2, "stopped"), (1, "stopped")]
    assert len(shown.context["drawing"].phases) == 3
    text = shown.content.decode()
    assert "<script>" not in text
    assert "style=" not in text
    assert "Reload the page to see what is newer." in text


def test_from_an_entry_to_its_row_and_to_the_life_of_a_slot(client: Client, reader: User, played: dt.datetime) -> None:
    entry = client.get(ENTRY, {"name": "prayer-reminders"})
    assert "/admin/django_celery_beat/" not in entry.content.decode(), "this person may not see rows"
    permit(reader, "view_periodictask")
    entry = client.get(ENTRY, {"name": "prayer-reminders"})
    row = PeriodicTask.objects.get(name="prayer-reminders")
    assert f'href="/admin/django_celery_beat/periodictask/{row.pk}/change/"' in entry.content.decode()
    [twice] = [one for one in entry.context["slots"] if "further messages dropped: 1" in one.notes]
    slot = client.get(f"{SLOT}?{twice.query}")
    assert [event.name for event in slot.context["events"]] == [
        *("Due", "Claimed", "Published", "Started", "Deduplicated", "Ended")
    ]
    assert slot.context["events"][3].said == "on celery@vm, 70 ms after it was due"


def test_why_a_run_failed_is_said_wherever_its_outcome_is(client: Client, reader: User, played: dt.datetime) -> None:
    name, error = "import-requests", escape(scene.FAILURE)
    failed = {"entry": name, "due": played.isoformat()}
    for page in (client.get(SITE), client.get(ENTRY, {"name": name}), client.get(SLOT, failed)):
        assert error in page.content.decode()
    retried = {"entry": "prayer-reminders", "due": (played - 15 * scene.MINUTE).isoformat()}
    assert "Ended: it asked for a retry, took 1.3 s: smtplib." in client.get(SLOT, retried).content.decode()
    assert scene.FAILURE not in client.get(ENTRY, {"name": "heartbeat"}).content.decode()


def test_older_slots_are_a_page_away(client: Client, reader: User, played: dt.datetime) -> None:
    found, query = [], urlencode({"name": "heartbeat"})
    while query:
        page = client.get(f"{ENTRY}?{query}")
        found += [one.due.iso for one in page.context["slots"]]
        query = page.context["older"]
    assert len(found) == 60
    assert found == sorted(set(found), reverse=True)


@pytest.mark.parametrize(
    "address",
    [
        f"{ENTRY}?name=no+such",
        f"{ENTRY}?name=a%00b",
        f"{ENTRY}?name=heartbeat&before=never",
        f"{SLOT}?entry=heartbeat&due=0001-01-01T00:00:00%2B23:00",
        f"{SLOT}?entry=heartbeat&due=9999-12-31T23:59:59%2B00:00",
        f"{SLOT}?entry=heartbeat&due=0001-01-01T00:00:00%2B00:00",
        f"{ENTRY}?name=heartbeat&before=9999-12-31T23:59:59%2B00:00",
        f"{SLOT}?entry=heartbeat&due=2026-01-01T00:00:00",
        f"{SLOT}?entry=heartbeat&due=2026-01-01T00:00:00Z",
    ],
)
@pytest.mark.parametrize("zone", ["Asia/Kolkata", "America/St_Johns"])
def test_what_there_is_not_is_not_found(
    client: Client, reader: User, played: dt.datetime, settings: Settings, address: str, zone: str
) -> None:
    settings.TIME_ZONE = zone
    assert client.get(address).status_code == 404


@on_sqlite
@pytest.mark.parametrize(
    ("zone", "use_tz", "language"), [("Asia/Kolkata", True, "de"), ("Asia/Kolkata", False, "ar"), ("UTC", True, "en")]
)
def test_times_are_those_of_the_site_whatever_its_language(
    client: Client, reader: User, played: dt.datetime, settings: Settings, zone: str, use_tz: bool, language: str
) -> None:
    settings.TIME_ZONE, settings.USE_TZ, settings.LANGUAGE_CODE = zone, use_tz, language
    settings.USE_I18N = settings.USE_THOUSAND_SEPARATOR = language != "en"
    page = client.get(ENTRY, {"name": "heartbeat"})
    first = page.context["slots"][0].due
    hour = (played + (dt.timedelta(hours=5, minutes=30) if zone != "UTC" else dt.timedelta(0))).strftime("%H:%M")
    assert f"{hour}:00 {'IST' if zone != 'UTC' else 'UTC'}" in first.full
    assert 'height="84"' in page.content.decode(), "a number of a drawing is no text of a language"


@on_sqlite
def test_of_a_zone_that_is_activated_for_a_request_is_all_that_it_says(
    client: Client, reader: User, played: dt.datetime, context: Surroundings
) -> None:
    context().ledger.pauses.pause(EntryName("heartbeat"), None, "alice", "")
    with timezone.override("Asia/Tokyo"):
        text = client.get(SITE).content.decode()
    assert re.findall(r"heartbeat is paused since \S+ \S+ (\w+)", text) != []
    assert {*re.findall(r"\d\d:\d\d:\d\d (\w{3})\b", text)} == {"JST"}


@on_sqlite
def test_another_admin_site_has_its_own_addresses(
    client: Client, reader: User, played: dt.datetime, settings: Settings
) -> None:
    class OwnTasks(LinksToSlots, admin.ModelAdmin):
        list_display = ("name",)

    own = admin.AdminSite(name="office")
    own.register(Overview, OverviewAdmin)
    own.register(PeriodicTask, OwnTasks)
    settings.ROOT_URLCONF = ModuleType("urls")
    settings.ROOT_URLCONF.urlpatterns = [path("back/office/", own.urls), path("admin/", admin.site.urls)]
    permit(reader, "view_periodictask")
    there = "/back/office/cutover/overview/"
    assert f'href="{there}entry/?name=heartbeat"' in client.get(there).content.decode()
    assert SITE not in client.get(there).content.decode()
    row = PeriodicTask.objects.get(name="heartbeat")
    change = f"/back/office/django_celery_beat/periodictask/{row.pk}/change/"
    assert change in client.get(f"{there}entry/?name=heartbeat").content.decode()
    for listed in (change, "/back/office/django_celery_beat/periodictask/"):
        assert f'href="{there}entry/?name=heartbeat"' in client.get(listed).content.decode()
    reader.user_permissions.remove(Permission.objects.get(codename="view_slot"))
    assert there not in client.get(change).content.decode()


@on_sqlite
def test_the_rooms_own_list_of_schedules_leads_to_the_slots(client: Client, reader: User, played: dt.datetime) -> None:
    permit(reader, "view_periodictask")
    listed = client.get(reverse("admin:django_celery_beat_periodictask_changelist")).content.decode()
    assert f'href="{ENTRY}?name=heartbeat"' in listed


@on_sqlite
def test_the_link_of_a_row_that_is_off_leads_to_a_page_that_says_so(
    client: Client, reader: User, played: dt.datetime
) -> None:
    row = PeriodicTask.objects.get(name="heartbeat")
    row.pk, row.name, row.enabled = None, "off", False
    row.save()
    off = client.get(ENTRY, {"name": "off"})
    assert off.status_code == 200
    assert "its periodic task may be disabled" in off.content.decode()
    assert client.get(ENTRY, {"name": "nor this"}).status_code == 404


@on_sqlite
def test_what_is_paused_and_that_a_switch_is_watched_stands_on_the_page(
    client: Client, reader: User, played: dt.datetime, context: Surroundings
) -> None:
    context().ledger.pauses.pause(EntryName("heartbeat"), None, "alice", "the <mail> server moves")
    text = client.get(SITE).content.decode()
    assert "<dt>paused</dt><dd>heartbeat is paused since" in text
    assert "the &lt;mail&gt; server moves" in text


def test_the_page_of_one_entry_reads_that_one_alone(
    client: Client, reader: User, played: dt.datetime, alias: str, context: Surroundings
) -> None:
    known = {one.entry: one for one in overview.take(context()).entries or ()}
    for name in ("prayer-reminders", "import-requests", "user-digest-weekly"):
        seen = overview.take_entry(context(), EntryName(name))
        assert [one.entry for one in seen.entries or ()] == [name]
        assert seen.entries is not None
        assert (seen.entries[0].findings, seen.entries[0].last) == (known[name].findings, known[name].last)
    with CaptureQueriesContext(connections[alias]) as asked:
        assert client.get(ENTRY, {"name": "heartbeat"}).status_code == 200
    whole = [one["sql"] for one in asked if "django_celery_beat_periodictask" in one["sql"]]
    assert whole
    assert [sql for sql in whole if "heartbeat" not in sql] == [], "no other row is read"


@on_sqlite
def test_servers_that_are_away_are_said(client: Client, reader: User, settings: Settings) -> None:
    settings.CUTOVER = {**settings.CUTOVER, "REDIS_URL": "redis://127.0.0.1:1/0"}
    shown = client.get(SITE)
    assert shown.status_code == 200
    assert "Redis" in shown.context["first"].verdict
    settings.CUTOVER = {"LEESE": 1}
    for page in (SITE, f"{ENTRY}?name=heartbeat", f"{SLOT}?entry=heartbeat&due=2026-11-29T00:00Z"):
        failed = client.get(page)
        assert "LEESE" in failed.context["failure"]
        assert "<bdi></bdi>" not in failed.content.decode()


@on_sqlite
def test_of_what_was_not_read_nothing_is_said_to_be_none(
    client: Client, reader: User, played: dt.datetime, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*given: object) -> None:
        raise LedgerUnavailable("the database gives no answer")

    Term.objects.update(ended_at=None, end_reason="")
    settings.CUTOVER = {**settings.CUTOVER, "REDIS_URL": "redis://127.0.0.1:1/0"}
    terms = client.get(SITE).context["terms"]
    assert [one.end for one in terms] == ["not known: Redis was not read", "did not say: killed or cut off"]
    monkeypatch.setattr("cutover.phases.evidence.side.read", refuse)
    monkeypatch.setattr("cutover.observe.course.latest", refuse)
    page = client.get(SITE).content.decode()
    assert page.count("ot known: the entries were not read") == 2
    assert page.count("Not known: the database was not read.") == 2, "terms and steps"
    for none in ("Nobody has led yet", "No phase has been run", "0 of 0", "has no entry", "Nobody."):
        assert none not in page
    entry = client.get(ENTRY, {"name": "heartbeat"}).content.decode()
    assert "Nothing that is known" not in entry
    assert "<p>Not known.</p>" in entry


@on_sqlite
def test_a_name_turns_no_sentence_round(client: Client, reader: User, played: dt.datetime) -> None:
    PeriodicTask.objects.filter(name="import-requests").update(name="import \u202estseuqer")
    Entry.objects.filter(name="import-requests").update(name="import \u202estseuqer", eligible_since=played - HOUR)
    shown = client.get(SITE)
    said = [shown.context["first"].verdict, *shown.context["first"].problems]
    assert [line for line in said if "\u202e" in line] == []
    assert [line for line in said if r"import \u202estseuqer is overdue since" in line] != []
    assert "import%20%E2%80%AEstseuqer" in shown.content.decode().replace("+", "%20"), "its address has its own name"


@on_sqlite
def test_a_name_turns_no_title_round_either(client: Client, reader: User, played: dt.datetime) -> None:
    turned, shown = "heart \u202etaeb", r"heart \u202etaeb"
    Slot.objects.filter(entry="heartbeat").update(entry=turned)
    page = client.get(ENTRY, {"name": turned})
    slot = client.get(f"{SLOT}?{page.context['slots'][0].query}")
    assert page.context["title"] == shown
    assert slot.context["title"].startswith(f"{shown}, due 2")
    assert {mark.title.partition(",")[0] for mark in page.context["drawing"].lanes[0].marks} == {shown}


@on_sqlite
def test_where_scripts_and_styles_need_a_nonce_they_have_it(client: Client, reader: User, settings: Settings) -> None:
    [engine] = settings.TEMPLATES
    options = engine["OPTIONS"]
    given = [*options["context_processors"], f"{__name__}.nonce"]
    assert "nonce" not in client.get(SITE).content.decode()
    settings.TEMPLATES = [{**engine, "OPTIONS": {**options, "context_processors": given}}]
    own = re.findall(r"<(?:script|link)[^>]*/cutover/[^>]*>", client.get(SITE).content.decode())
    assert ['nonce="abc"' in tag for tag in own] == [True, True]


def nonce(request: object) -> dict[str, str]:
    """As Django's context processor ``csp``, from 6.0 on."""
    return {"csp_nonce": "abc"}


@on_sqlite
def test_rows_that_cannot_be_read_have_no_link_and_fail_no_page(
    client: Client, reader: User, played: dt.datetime, alias: str
) -> None:
    permit(reader, "view_periodictask")

    def refuse(execute: Any, sql: str, *given: Any) -> Any:
        if "periodictask" in sql:
            raise OperationalError("unable to open database file")
        return execute(sql, *given)

    with connections[alias].execute_wrapper(refuse):
        page = client.get(ENTRY, {"name": "heartbeat"})
    assert page.status_code == 200
    assert "unable to open database file" in page.content.decode()
    assert "Its periodic task" not in page.content.decode()


def test_ten_times_as_many_entries_take_no_more_statements(
    client: Client, reader: User, played: dt.datetime, alias: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[object] = []
    from_db = Slot.from_db
    monkeypatch.setattr(timetable, "timetable", lambda one, make=timetable.timetable: made.append(one) or make(one))
    monkeypatch.setattr(Slot, "from_db", lambda *given: made.append(Slot) or from_db(*given))

    def statements(**asked: str) -> int:
        with CaptureQueriesContext(connections[alias]) as seen:
            shown = client.get(SITE, asked)
        assert len(shown.context["entries"]) <= ROWS
        rows = [one["sql"] for one in seen if "periodictask" in one["sql"] and "crontab_id" in one["sql"]]
        assert len(rows) == 1, "the rows are read once"
        return len(seen)

    few, few_made = statements(), len(made)
    made.clear()
    some = PeriodicTask.objects.filter(name="heartbeat").values().get()
    last = Slot.objects.filter(entry="heartbeat").values().latest("due_at")
    names = [f"entry {number}" for number in range(400)]
    PeriodicTask.objects.bulk_create(PeriodicTask(**{**some, "id": None, "name": name}) for name in names)
    Entry.objects.bulk_create(Entry(name=name, fingerprint="f", eligible_since=played) for name in names)
    Slot.objects.bulk_create(Slot(**{**last, "id": None, "entry": name}) for name in names)
    assert statements() <= few <= 60
    assert len(made) <= few_made + ROWS, "nor more timetables, for they have one schedule, nor slots but those shown"
    shown = client.get(SITE, {"q": "RY 39", "p": "1"})
    assert {one.name for one in shown.context["entries"]} == {f"entry {n}" for n in (39, *range(390, 400))}
    assert client.get(SITE, {"p": "99"}).context["page"].number == 17
    assert {one.word for one in client.get(SITE, {"kind": "ill"}).context["entries"]} <= {"problem", "notice"}
