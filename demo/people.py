"""People and a request, so that a digest that falls due has someone to reach: ``python -m demo.people``."""

import os

import django

MODERATOR = "moderator"
PASSWORD_FROM = "DEMO_PASSWORD"  # noqa: S105 - a name
"""The environment variable of the moderator's password; without it there is none to sign in with."""


def move_in() -> None:
    """One moderator, one reader for each digest, one request that is published and one that waits."""
    from django.contrib.auth.models import User
    from django.utils import timezone

    from prayer_room_api.models import PrayerPraiseRequest, UserProfile

    User.objects.create_superuser(MODERATOR, "moderator@example.org", password=os.environ.get(PASSWORD_FROM))
    for digest in (UserProfile.Digest.DAILY, UserProfile.Digest.WEEKLY):
        reader = User.objects.create_user(f"{digest}-reader", f"{digest}@example.org")
        UserProfile.objects.update_or_create(user=reader, defaults={"digest": digest})
    PrayerPraiseRequest.objects.create(content="For all who are on call tonight.", approved_at=timezone.now())
    PrayerPraiseRequest.objects.create(content="For a quiet cutover.")


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "prayer_room_api.settings")
    django.setup()
    move_in()
