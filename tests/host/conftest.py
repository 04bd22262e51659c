"""People and requests for the host's tests, and its command line."""

import os
import signal
import subprocess
import sys

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from prayer_room_api.models import PrayerPraiseRequest, UserProfile


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
def manage(fork_server, tmp_path):
    """Run a management command in a process of its own, with only the environment given."""

    def run(*args: str, **environment: str) -> subprocess.CompletedProcess[str]:
        files = [tmp_path / name for name in ("stdout", "stderr")]
        env = {"PATH": os.environ["PATH"], **environment}
        with files[0].open("wb") as output, files[1].open("wb") as errors:
            command = fork_server.start([sys.executable, "manage.py", *args], env, output, errors)
        try:
            code = command.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(command.pid, signal.SIGKILL)
            raise
        return subprocess.CompletedProcess(args, code, *(file.read_text() for file in files))

    return run
