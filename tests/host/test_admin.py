"""The moderators' desk."""

import pytest
from django.urls import reverse
from django.utils import timezone

from demo.processes import ROOT
from prayer_room_api.models import EmailLog, PrayerPraiseRequest, UserProfile

pytestmark = pytest.mark.django_db

CHANGELIST = "admin:prayer_room_api_prayerpraiserequest_changelist"


@pytest.fixture
def desk(api, moderator):
    api.force_login(moderator)
    return api


@pytest.fixture
def rows(moderator, make_request) -> list:
    now = timezone.now()
    return [
        make_request("Rain, please", author=moderator),
        UserProfile.objects.create(user=moderator, digest="daily"),
        EmailLog.objects.create(kind="user_digest", period="daily", window=now, to="a@example.org", covered_until=now),
        moderator,
    ]


def test_lists_and_details_load(desk, rows):
    for row in rows:
        meta = row._meta
        listing = reverse(f"admin:{meta.app_label}_{meta.model_name}_changelist")
        detail = reverse(f"admin:{meta.app_label}_{meta.model_name}_change", args=[row.pk])
        assert desk.get(listing, {"q": "rain"}).status_code == 200
        assert desk.get(detail).status_code == 200


def test_schedules_are_managed_here_too(desk):
    assert desk.get(reverse("admin:django_celery_beat_periodictask_changelist")).status_code == 200


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("pending", {"new", "flagged"}),
        ("flagged", {"flagged"}),
        ("published", {"published"}),
        ("archived", {"archived"}),
        (None, {"new", "flagged", "published", "archived"}),
    ],
)
def test_requests_are_filtered_by_where_they_stand(desk, make_request, choice, expected):
    make_request("new")
    make_request("flagged", flagged_at=timezone.now())
    make_request("published", approved=True)
    make_request("archived", approved=True, archived_at=timezone.now())

    page = desk.get(reverse(CHANGELIST), {"moderation": choice} if choice else {})

    assert {request.content for request in page.context["cl"].queryset} == expected


def test_actions_move_requests_along(desk, make_request):
    request = make_request()

    def act(action: str) -> tuple[bool, bool, bool]:
        desk.post(reverse(CHANGELIST), {"action": action, "_selected_action": [request.pk]})
        row = PrayerPraiseRequest.objects.get()
        return row.approved_at is not None, row.flagged_at is not None, row.archived_at is not None

    assert act("flag") == (False, True, False)
    assert act("approve") == (True, False, False)
    assert act("archive") == (True, False, True)


def test_the_mail_log_is_read_only(desk, rows):
    log = rows[2]

    assert desk.get(reverse("admin:prayer_room_api_emaillog_add")).status_code == 403
    desk.post(reverse("admin:prayer_room_api_emaillog_change", args=[log.pk]), {"to": "b@example.org"})
    log.refresh_from_db()
    assert log.to == "a@example.org"


@pytest.mark.parametrize(("scheduler", "warns"), [("CodeScheduler", True), ("DatabaseScheduler", False)])
def test_what_the_list_of_schedules_warns_of_is_what_the_runbook_says(desk, settings, scheduler, warns):
    """django-celery-beat reads the setting of the web process, whoever leads."""
    settings.CELERY_BEAT_SCHEDULER = f"cutover.schedulers:{scheduler}"
    page = desk.get(reverse("admin:django_celery_beat_periodictask_changelist"))
    assert page.context["wrong_scheduler"] is warns
    assert "won't be dispatched" not in page.content.decode(), "the runbook says that 2.9 does not show it"
    runbook = (ROOT / "runbooks" / "phase3.md").read_text()
    assert "Periodic tasks won't be dispatched" in runbook
    assert 'CELERY_BEAT_SCHEDULER = "cutover.schedulers:DatabaseScheduler"' in runbook
