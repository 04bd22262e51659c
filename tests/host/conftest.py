"""People and requests for the host's tests, and its command line."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from prayer_room_api.models import PrayerPraiseRequest, UserProfile

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def make_reader(db):
    """Create a user who chose a digest."""

    def make(name: str, digest: str) -> User:
        user = User.objects.create_user(name, f"{name}@example.org")
        UserProfile.objects.create(user=user, digest=digest)
        return user

    return make


@pytest.fixture
def moderator(db) -> User:
    return User.objects.create_superuser("mod", "mod@example.org", "pw")


@pytest.fixture
def make_request(db):
    """Create a request; approved where asked for."""

    def make(content: str = "Rain, please", *, approved: bool = False, **fields) -> PrayerPraiseRequest:
        if approved:
            fields["approved_at"] = timezone.now()
        return PrayerPraiseRequest.objects.create(content=content, **fields)

    return make


@pytest.fixture
def api(client, settings):
    """A client that is not sent to HTTPS first."""
    settings.SECURE_SSL_REDIRECT = False
    return client


@pytest.fixture
def manage():
    """Run a management command in a process of its own, with only the environment given."""

    def run(*args: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "manage.py", *args],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], **environment},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run
