"""The public API."""

import pytest
from django.utils import timezone

from prayer_room_api.api import CreateThrottle
from prayer_room_api.models import PrayerPraiseRequest

pytestmark = pytest.mark.django_db

URL = "/api/requests/"


def test_only_what_is_published_is_listed(api, make_request):
    make_request("pending")
    make_request("archived", approved=True, archived_at=timezone.now())
    make_request("first", approved=True, name="Ada")
    make_request("second", approved=True)

    page = api.get(URL).json()

    assert [item["content"] for item in page["results"]] == ["second", "first"]
    assert page["count"] == 2
    assert set(page["results"][0]) == {"id", "type", "name", "content", "response", "created_at"}


def test_the_list_comes_in_pages(api, make_request):
    for number in range(3):
        make_request(str(number), approved=True)

    page = api.get(URL, {"page_size": 2}).json()

    assert len(page["results"]) == 2
    assert len(api.get(page["next"]).json()["results"]) == 1


def test_anyone_may_hand_in_a_request(api):
    answer = api.post(URL, {"type": "praise", "content": "It rained"}, content_type="application/json")

    assert answer.status_code == 201
    request = PrayerPraiseRequest.objects.get()
    assert (request.type, request.content, request.author) == ("praise", "It rained", None)
    assert request.approved_at is None


def test_nobody_approves_or_answers_their_own(api):
    api.post(
        URL,
        {"content": "x", "response": "done", "approved_at": "2026-01-01T00:00:00Z"},
        content_type="application/json",
    )

    request = PrayerPraiseRequest.objects.get()
    assert (request.response, request.approved_at) == ("", None)


def test_an_account_is_remembered_as_the_author(api, moderator):
    api.force_login(moderator)

    api.post(URL, {"content": "x"}, content_type="application/json")

    assert PrayerPraiseRequest.objects.get().author == moderator


@pytest.mark.parametrize("body", [{}, {"content": ""}, {"content": "x" * 4001}, {"content": "x", "type": "y"}])
def test_what_makes_no_sense_is_refused(api, body):
    assert api.post(URL, body, content_type="application/json").status_code == 400
    assert not PrayerPraiseRequest.objects.exists()


def test_one_address_is_slowed_down_another_is_not(api, monkeypatch, settings):
    settings.CACHES = {
        **settings.CACHES,
        "throttle": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
    }
    monkeypatch.setattr(CreateThrottle, "rate", "2/minute", raising=False)

    def post(address: str) -> int:
        return api.post(
            URL, {"content": "x"}, content_type="application/json", headers={"X-Forwarded-For": address}
        ).status_code

    assert [post("192.0.2.1") for _ in range(3)] == [201, 201, 429]
    assert post("192.0.2.2") == 201


def test_without_a_cache_requests_are_taken_uncounted(api, monkeypatch, settings):
    throttle = settings.CACHES["throttle"] | {"LOCATION": "redis://127.0.0.1:1/0"}
    settings.CACHES = {**settings.CACHES, "throttle": throttle}
    monkeypatch.setattr(CreateThrottle, "rate", "1/day", raising=False)

    answers = [api.post(URL, {"content": "x"}, content_type="application/json") for _ in range(2)]

    assert [answer.status_code for answer in answers] == [201, 201]
