"""What the prayer room keeps: requests, who wants which digest, and every e-mail sent."""

from django.conf import settings
from django.db import models
from django.db.models.functions import Now


class RequestQuerySet(models.QuerySet["PrayerPraiseRequest"]):
    """The three sets that the site speaks of."""

    def published(self) -> "RequestQuerySet":
        """What everyone may read: approved, and not archived."""
        return self.filter(approved_at__isnull=False, archived_at__isnull=True)

    def pending(self) -> "RequestQuerySet":
        """What waits for a moderator: neither approved nor archived. Flagged requests wait too."""
        return self.filter(approved_at__isnull=True, archived_at__isnull=True)


class PrayerPraiseRequest(models.Model):
    """A request for prayer, or a word of praise. It is read by others once a moderator approved it."""

    class Type(models.TextChoices):
        PRAYER = "prayer", "Prayer"
        PRAISE = "praise", "Praise"

    type = models.CharField(max_length=6, choices=Type, default=Type.PRAYER)
    author = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="requests",
        help_text="The account that wrote it, if it was written while logged in.",
    )
    name = models.CharField(max_length=100, blank=True, help_text="Shown as the author. Empty: anonymous.")
    content = models.TextField(max_length=4000)
    response = models.TextField(max_length=4000, blank=True, help_text="The team's answer, shown with it.")
    created_at = models.DateTimeField(auto_now_add=True, db_index=True)
    updated_at = models.DateTimeField(auto_now=True)
    flagged_at = models.DateTimeField(null=True, blank=True)
    approved_at = models.DateTimeField(null=True, blank=True)
    archived_at = models.DateTimeField(null=True, blank=True)

    objects = RequestQuerySet.as_manager()

    class Meta:
        verbose_name = "request"
        ordering = ["-created_at", "-pk"]
        indexes = [
            models.Index(
                fields=["-approved_at", "-id"],
                condition=models.Q(archived_at__isnull=True),
                name="request_published",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_type_display()} by {self.display_name}"

    @property
    def display_name(self) -> str:
        """The name to show to readers."""
        return self.name or "Anonymous"


class UserProfile(models.Model):
    """What a user chose. A user without a profile gets no digest."""

    class Digest(models.TextChoices):
        NONE = "none", "No digest"
        DAILY = "daily", "Every day"
        WEEKLY = "weekly", "Every week"

    user = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="profile")
    digest = models.CharField(max_length=6, choices=Digest, default=Digest.NONE, db_index=True)

    def __str__(self) -> str:
        return f"{self.user}: {self.get_digest_display().lower()}"


class EmailLog(models.Model):
    """One e-mail to one person. The row is written before the mail is sent, and is the claim to send it."""

    class Kind(models.TextChoices):
        MODERATOR_DIGEST = "moderator_digest", "Moderator digest"
        USER_DIGEST = "user_digest", "User digest"

    class Status(models.TextChoices):
        SENDING = "sending", "Being sent"
        SENT = "sent", "Sent"
        FAILED = "failed", "Failed"

    kind = models.CharField(max_length=20, choices=Kind)
    period = models.CharField(max_length=6, help_text="hourly, daily or weekly")
    window = models.DateTimeField(help_text="The digest that this mail belongs to: the instant it was due.")
    to = models.EmailField(max_length=254)
    subject = models.CharField(max_length=200)
    status = models.CharField(max_length=7, choices=Status, default=Status.SENDING)
    error = models.TextField(blank=True)
    covered_until = models.DateTimeField(help_text="The newest item in the mail; the next one starts after it.")
    created_at = models.DateTimeField(db_default=Now())
    sent_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = "e-mail"
        ordering = ["-created_at", "-pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["kind", "period", "window", "to"],
                name="email_once_per_window_and_recipient",
            ),
        ]
        indexes = [models.Index(fields=["kind", "period", "status", "to"], name="email_last_sent")]

    def __str__(self) -> str:
        return f"{self.subject} to {self.to}"
