"""Who gets which digest, and the promise that nobody gets one twice.

A digest is named by its kind, its period and its window: the instant it was due. For each recipient the log
row of that name is inserted before the mail goes out, and a unique constraint lets one insert through. So a
retry, a redelivery and a second worker send only what has not been sent.

What is not promised: a process killed between handing a mail over and noting it leaves the row at
``sending``. That mail is not sent again; should it have been lost, its items stand in the recipient's next
digest, which begins after the last mail known to be sent.
"""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, time, timedelta

from django.conf import settings
from django.contrib.auth.models import User
from django.core.mail import EmailMultiAlternatives, get_connection
from django.core.mail.backends.base import BaseEmailBackend
from django.db import IntegrityError, transaction
from django.db.models import Max, QuerySet
from django.template.loader import render_to_string
from django.utils import timezone

from .models import EmailLog, PrayerPraiseRequest, UserProfile

SPANS = {"daily": timedelta(days=1), "weekly": timedelta(weeks=1)}


@dataclass(frozen=True)
class Digest:
    """One digest of one window: how it is named, and what it may hold."""

    kind: EmailLog.Kind
    period: str
    window: datetime
    subject: str
    template: str
    """The text and HTML templates' common path, without its suffix."""
    source: QuerySet[PrayerPraiseRequest]
    moment: str
    """The field of ``source`` by which an item is new or not."""
    horizon: datetime | None
    """Where a recipient's first digest begins; None: with everything in ``source``."""

    @property
    def name(self) -> dict[str, object]:
        return {"kind": self.kind, "period": self.period, "window": self.window}


def moderator_digest(window: datetime) -> int:
    """Tell the moderators what came in; return how many were mailed. Nothing new: nobody is.

    Moderators are the active users who may change requests.
    """
    digest = Digest(
        kind=EmailLog.Kind.MODERATOR_DIGEST,
        period="hourly",
        window=window,
        subject="Prayer room: requests to review",
        template="prayer_room_api/email/moderator_digest",
        source=PrayerPraiseRequest.objects.pending(),
        moment="created_at",
        horizon=None,
    )
    moderators = User.objects.with_perm("prayer_room_api.change_prayerpraiserequest").filter(is_active=True)
    return deliver(digest, _addresses(moderators))


def user_digest(period: str, window: datetime) -> int:
    """Send what was published to those who chose ``period``, daily or weekly; return how many were mailed.

    Raises:
        ValueError: ``period`` is neither.
    """
    if period not in SPANS:
        raise _unknown(period)
    digest = Digest(
        kind=EmailLog.Kind.USER_DIGEST,
        period=period,
        window=window,
        subject=f"Prayer room: your {period} digest",
        template="prayer_room_api/email/user_digest",
        source=PrayerPraiseRequest.objects.published(),
        moment="approved_at",
        horizon=timezone.now() - SPANS[period],
    )
    readers = User.objects.filter(is_active=True, profile__digest=UserProfile.Digest(period))
    return deliver(digest, _addresses(readers))


def period_start(instant: datetime, period: str) -> datetime:
    """The start of the hour, local day or local week (Monday) that ``instant`` falls in.

    Raises:
        ValueError: ``period`` is none of ``hourly``, ``daily`` and ``weekly``.
    """
    if period == "hourly":
        return instant.replace(minute=0, second=0, microsecond=0)
    if period not in SPANS:
        raise _unknown(period)
    day = timezone.localdate(instant)
    if period == "weekly":
        day -= timedelta(days=day.weekday())
    return timezone.make_aware(datetime.combine(day, time.min))


def deliver(digest: Digest, recipients: Iterable[str]) -> int:
    """Mail each recipient what they have not had yet; return how many were mailed.

    One recipient's failure does not keep the others waiting: it is logged, and raised when all were tried.

    Raises:
        OSError: the mail server is away, or refused a mail (``SMTPException`` is an ``OSError``).
    """
    begins = _begins(digest, recipients)
    items = _items(digest, begins.values())
    failure: OSError | None = None
    mailed = 0
    connection = get_connection()
    try:
        for to, begin in begins.items():
            new = [item for item in items if begin is None or getattr(item, digest.moment) > begin]
            if not new:
                continue
            connection.open()
            # Not "now": an item that commits a little late must not fall between two digests.
            entry = _claim(digest, to, covered_until=getattr(new[-1], digest.moment))
            if entry is None:
                continue
            try:
                _message(digest, new, to, connection).send()
            except OSError as error:
                # It may be in any state; the next recipient gets a fresh one.
                connection.close()
                failure = failure or error
                entry.status, entry.error = EmailLog.Status.FAILED, str(error)
            else:
                mailed += 1
                entry.status, entry.error, entry.sent_at = EmailLog.Status.SENT, "", timezone.now()
            entry.save(update_fields=["status", "error", "sent_at"])
    finally:
        connection.close()
    if failure:
        raise failure
    return mailed


def _addresses(users: QuerySet[User]) -> list[str]:
    return list(users.exclude(email="").order_by("email").values_list("email", flat=True).distinct())


def _begins(digest: Digest, recipients: Iterable[str]) -> dict[str, datetime | None]:
    """After which instant an item is new to each recipient: the end of the last digest known to be sent."""
    sent = EmailLog.objects.filter(kind=digest.kind, period=digest.period, status=EmailLog.Status.SENT)
    ends = dict(sent.order_by().values_list("to").annotate(Max("covered_until")))
    return {to: ends.get(to, digest.horizon) for to in recipients}


def _items(digest: Digest, begins: Iterable[datetime | None]) -> list[PrayerPraiseRequest]:
    """What is new to any of the recipients, oldest first."""
    source = digest.source.order_by(digest.moment, "pk")
    known = list(begins)
    if not known:
        return []
    if None not in known:
        source = source.filter(**{f"{digest.moment}__gt": min(known)})
    return list(source)


def _claim(digest: Digest, to: str, covered_until: datetime) -> EmailLog | None:
    """The log row that entitles this run, and no other, to send; None where another run has, or had, it."""
    with suppress(IntegrityError), transaction.atomic():
        return EmailLog.objects.create(**digest.name, to=to, subject=digest.subject, covered_until=covered_until)
    failed = EmailLog.objects.filter(**digest.name, to=to, status=EmailLog.Status.FAILED)
    if failed.update(status=EmailLog.Status.SENDING, covered_until=covered_until):
        return EmailLog.objects.get(**digest.name, to=to)
    return None


def _message(
    digest: Digest, items: list[PrayerPraiseRequest], to: str, connection: BaseEmailBackend
) -> EmailMultiAlternatives:
    context = {"period": digest.period, "items": items, "site_url": settings.SITE_URL}
    text, html = (render_to_string(f"{digest.template}.{suffix}", context) for suffix in ("txt", "html"))
    message = EmailMultiAlternatives(digest.subject, text, to=[to], connection=connection)
    message.attach_alternative(html, "text/html")
    return message


def _unknown(period: str) -> ValueError:
    return ValueError(f"Unknown digest period {period!r}: choose one of {', '.join(SPANS)}.")
