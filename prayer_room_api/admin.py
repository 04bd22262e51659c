"""The moderators' desk."""

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.text import Truncator
from django_celery_beat.admin import PeriodicTaskAdmin
from django_celery_beat.models import PeriodicTask

from cutover.admin import LinksToSlots

from .models import EmailLog, PrayerPraiseRequest, UserProfile


class ModerationFilter(admin.SimpleListFilter):
    title = "moderation"
    parameter_name = "moderation"

    def lookups(self, request, model_admin):
        return [
            ("pending", "Pending"),
            ("flagged", "Flagged"),
            ("published", "Published"),
            ("archived", "Archived"),
        ]

    def queryset(self, request, queryset):
        match self.value():
            case "pending":
                return queryset.pending()
            case "flagged":
                return queryset.filter(flagged_at__isnull=False, archived_at__isnull=True)
            case "published":
                return queryset.published()
            case "archived":
                return queryset.filter(archived_at__isnull=False)
        return queryset


@admin.register(PrayerPraiseRequest)
class PrayerPraiseRequestAdmin(admin.ModelAdmin):
    list_display = [
        "excerpt",
        "type",
        "display_name",
        "created_at",
        "is_flagged",
        "is_approved",
        "is_archived",
    ]
    list_filter = [ModerationFilter, "type", "created_at"]
    search_fields = ["name", "content", "response", "author__username", "author__email"]
    date_hierarchy = "created_at"
    autocomplete_fields = ["author"]
    readonly_fields = ["created_at", "updated_at"]
    actions = ["approve", "flag", "archive"]

    @admin.display(description="request", ordering="content")
    def excerpt(self, obj: PrayerPraiseRequest) -> str:
        return Truncator(obj.content).chars(60)

    @admin.display(description="flagged", boolean=True, ordering="flagged_at")
    def is_flagged(self, obj: PrayerPraiseRequest) -> bool:
        return obj.flagged_at is not None

    @admin.display(description="approved", boolean=True, ordering="approved_at")
    def is_approved(self, obj: PrayerPraiseRequest) -> bool:
        return obj.approved_at is not None

    @admin.display(description="archived", boolean=True, ordering="archived_at")
    def is_archived(self, obj: PrayerPraiseRequest) -> bool:
        return obj.archived_at is not None

    @admin.action(description="Approve: publish, and lift a flag", permissions=["change"])
    def approve(self, request: HttpRequest, queryset: QuerySet[PrayerPraiseRequest]) -> None:
        now = timezone.now()
        # What is published already keeps its date: the digests count by it.
        count = queryset.filter(approved_at__isnull=True).update(approved_at=now, flagged_at=None, updated_at=now)
        self.message_user(request, f"Approved: {count}.")

    @admin.action(description="Flag: withdraw, for another look", permissions=["change"])
    def flag(self, request: HttpRequest, queryset: QuerySet[PrayerPraiseRequest]) -> None:
        now = timezone.now()
        count = queryset.filter(flagged_at__isnull=True).update(flagged_at=now, approved_at=None, updated_at=now)
        self.message_user(request, f"Flagged: {count}.")

    @admin.action(description="Archive: take off the site", permissions=["change"])
    def archive(self, request: HttpRequest, queryset: QuerySet[PrayerPraiseRequest]) -> None:
        now = timezone.now()
        count = queryset.filter(archived_at__isnull=True).update(archived_at=now, updated_at=now)
        self.message_user(request, f"Archived: {count}.")


@admin.register(UserProfile)
class UserProfileAdmin(admin.ModelAdmin):
    list_display = ["user", "digest"]
    list_editable = ["digest"]
    list_filter = ["digest"]
    list_select_related = ["user"]
    search_fields = ["user__username", "user__email"]
    autocomplete_fields = ["user"]


@admin.register(EmailLog)
class EmailLogAdmin(admin.ModelAdmin):
    """To read, not to write: the rows decide who is mailed."""

    list_display = ["to", "subject", "kind", "period", "window", "status", "sent_at"]
    list_filter = ["status", "kind", "period", "window"]
    search_fields = ["to", "subject", "error"]
    date_hierarchy = "created_at"

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: EmailLog | None = None) -> bool:
        return False


class ProfileInline(admin.StackedInline):
    model = UserProfile


admin.site.unregister([User, PeriodicTask])


@admin.register(User)
class UserWithProfileAdmin(UserAdmin):
    inlines = [*UserAdmin.inlines, ProfileInline]


@admin.register(PeriodicTask)
class ScheduleAdmin(LinksToSlots, PeriodicTaskAdmin):
    """django-celery-beat's own, with a way to what became of a schedule."""
