"""The digests: the right people, once."""

from datetime import UTC, datetime, timedelta
from smtplib import SMTPServerDisconnected

import pytest
from django.contrib.auth.models import Permission, User
from django.core import mail
from django.core.mail.backends.locmem import EmailBackend
from django.utils import timezone

from prayer_room_api import digests
from prayer_room_api.models import EmailLog, PrayerPraiseRequest
from prayer_room_api.tasks import send_moderator_digest, send_user_digest

pytestmark = pytest.mark.django_db

TEN = "2026-03-02T10:00:00+00:00"
ELEVEN = "2026-03-02T11:00:00+00:00"


def run(task, *args, due_at: str | None = None, retry: bool = False):
    """Run a task as a worker would, without its retries where ``retry`` is not asked for."""
    headers = {"cutover_due_at": due_at} if due_at else None
    retries = 0 if retry else task.max_retries
    return task.apply(args=args, headers=headers, retries=retries, throw=not retry)


def recipients() -> list[str]:
    return sorted(to for message in mail.outbox for to in message.to)


class FlakyBackend(EmailBackend):
    """A mail server that drops the connection for the addresses in ``away``."""

    away: set[str] = set()

    def send_messages(self, messages):
        if any(to in self.away for message in messages for to in message.to):
            raise SMTPServerDisconnected("gone")
        return super().send_messages(messages)


@pytest.fixture
def flaky_mail(monkeypatch):
    """Addresses for which the mail server drops the connection."""
    monkeypatch.setattr(digests, "get_connection", FlakyBackend)
    away: set[str] = set()
    monkeypatch.setattr(FlakyBackend, "away", away)
    return away


def test_moderators_get_what_is_pending(moderator, make_reader, make_request):
    make_reader("reader", "daily")
    make_request("Rain, please", name="Ada")
    make_request("Published already", approved=True)

    assert run(send_moderator_digest).result == 1

    (message,) = mail.outbox
    assert message.to == ["mod@example.org"]
    assert "Rain, please" in message.body
    assert "Published already" not in message.body
    ((html, mimetype),) = message.alternatives
    assert mimetype == "text/html"
    assert "Prayer by Ada" in html
    log = EmailLog.objects.get()
    assert (log.to, log.kind, log.status) == ("mod@example.org", "moderator_digest", "sent")
    assert log.sent_at is not None


def test_who_may_change_requests_is_a_moderator(make_request):
    plain = User.objects.create_user("plain", "plain@example.org", is_staff=True)
    trusted = User.objects.create_user("trusted", "trusted@example.org", is_staff=True)
    gone = User.objects.create_superuser("gone", "gone@example.org", is_active=False)
    trusted.user_permissions.add(Permission.objects.get(codename="change_prayerpraiserequest"))
    make_request()

    run(send_moderator_digest)

    assert recipients() == [trusted.email]
    assert plain.email not in recipients()
    assert gone.email not in recipients()


def test_moderators_are_left_alone_when_nothing_is_new(moderator, make_request):
    make_request()
    run(send_moderator_digest, due_at=TEN)

    assert run(send_moderator_digest, due_at=ELEVEN).result == 0

    assert len(mail.outbox) == 1


def test_the_next_digest_holds_only_what_came_since(moderator, make_request):
    make_request("first")
    run(send_moderator_digest, due_at=TEN)
    make_request("second")

    run(send_moderator_digest, due_at=ELEVEN)

    assert "second" in mail.outbox[1].body
    assert "first" not in mail.outbox[1].body


@pytest.mark.parametrize("period", ["daily", "weekly"])
def test_users_get_the_digest_they_chose(period, make_reader, make_request):
    for digest in ("none", "daily", "weekly"):
        make_reader(digest, digest)
    make_reader("mailless", period)
    User.objects.filter(username="mailless").update(email="")
    make_request("Thanks for the rain", approved=True, type=PrayerPraiseRequest.Type.PRAISE)
    make_request("Not for everyone")

    run(send_user_digest, period)

    assert recipients() == [f"{period}@example.org"]
    assert "Thanks for the rain" in mail.outbox[0].body
    assert "Not for everyone" not in mail.outbox[0].body


def test_a_first_digest_reaches_back_one_period(make_reader, make_request):
    make_reader("daily", "daily")
    make_reader("weekly", "weekly")
    make_request(approved_at=timezone.now() - timedelta(days=2))

    run(send_user_digest, "daily")
    run(send_user_digest, "weekly")

    assert recipients() == ["weekly@example.org"]


def test_html_is_escaped_and_text_is_not(make_reader, make_request):
    make_reader("reader", "daily")
    make_request("Rain & <b>sun</b>", approved=True)

    run(send_user_digest, "daily")

    (message,) = mail.outbox
    assert "Rain & <b>sun</b>" in message.body
    assert "Rain &amp; &lt;b&gt;sun&lt;/b&gt;" in message.alternatives[0][0]


def test_a_second_run_of_a_digest_mails_nobody(make_reader, make_request):
    make_reader("reader", "daily")
    make_request("first", approved=True)
    run(send_user_digest, "daily", due_at=TEN)
    make_request("second", approved=True)

    assert run(send_user_digest, "daily", due_at=TEN).result == 0

    assert len(mail.outbox) == 1


def test_a_late_digest_and_the_next_one_both_go_out(make_reader, make_request):
    """Two slots are two digests, though both run on the same day."""
    make_reader("reader", "daily")
    make_request("first", approved=True)
    run(send_user_digest, "daily", due_at="2026-03-01T08:00:00+00:00")
    make_request("second", approved=True)
    run(send_user_digest, "daily", due_at="2026-03-02T08:00:00+00:00")

    assert len(mail.outbox) == 2


def test_one_failure_does_not_keep_the_others_waiting(make_reader, make_request, flaky_mail):
    for name in ("anna", "bert", "carl"):
        make_reader(name, "daily")
    make_request(approved=True)
    flaky_mail.add("bert@example.org")

    with pytest.raises(SMTPServerDisconnected):
        digests.user_digest("daily", datetime(2026, 3, 2, 8, tzinfo=UTC))

    assert recipients() == ["anna@example.org", "carl@example.org"]
    failed = EmailLog.objects.get(status="failed")
    assert (failed.to, failed.error, failed.sent_at) == ("bert@example.org", "gone", None)


def test_a_retry_mails_only_those_who_were_missed(make_reader, make_request, flaky_mail, monkeypatch):
    for name in ("anna", "bert"):
        make_reader(name, "daily")
    make_request(approved=True)
    flaky_mail.add("bert@example.org")
    # The server comes back before the retry, and something new was approved meanwhile.
    deliver = digests.deliver

    def recover(*args):
        try:
            return deliver(*args)
        finally:
            flaky_mail.clear()
            make_request("meanwhile", approved=True)

    monkeypatch.setattr(digests, "deliver", recover)

    result = run(send_user_digest, "daily", due_at=TEN, retry=True)

    assert result.successful()
    assert recipients() == ["anna@example.org", "bert@example.org"]
    assert set(EmailLog.objects.values_list("status", flat=True)) == {"sent"}


def test_a_mail_of_unknown_fate_is_not_sent_again_but_its_items_are(make_reader, make_request):
    """A worker that was killed in between leaves the row at "sending"."""
    make_reader("reader", "daily")
    item = make_request("first", approved=True)
    eight = datetime(2026, 3, 2, 8, tzinfo=UTC)
    EmailLog.objects.create(
        kind="user_digest",
        period="daily",
        window=eight,
        to="reader@example.org",
        covered_until=item.approved_at,
    )

    assert digests.user_digest("daily", eight) == 0
    assert digests.user_digest("daily", eight + timedelta(days=1)) == 1

    assert "first" in mail.outbox[0].body


@pytest.mark.parametrize("due_at", [None, TEN])
def test_an_unknown_period_is_named(due_at):
    with pytest.raises(ValueError, match=r"'monthly'.*daily, weekly"):
        run(send_user_digest, "monthly", due_at=due_at)


@pytest.mark.parametrize(
    ("period", "start"),
    [
        ("hourly", datetime(2026, 3, 4, 23, tzinfo=UTC)),
        ("daily", datetime(2026, 3, 4, 23, tzinfo=UTC)),
        ("weekly", datetime(2026, 3, 1, 23, tzinfo=UTC)),
    ],
)
def test_a_run_without_a_slot_counts_for_its_local_period(period, start):
    thursday_in_berlin = datetime(2026, 3, 4, 23, 30, tzinfo=UTC)

    with timezone.override("Europe/Berlin"):
        assert digests.period_start(thursday_in_berlin, period) == start
