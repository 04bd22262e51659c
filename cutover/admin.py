"""The tables in the admin, to be read: what may be written is written by the ledger and the phases."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.db import models as fields
from django.http import HttpRequest

from cutover import models

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Any]
else:
    _ModelAdmin = admin.ModelAdmin  # generic for the type checker alone


class ReadOnlyAdmin(_ModelAdmin):
    """A model that can be looked at by whoever may view it, and changed by nobody."""

    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Nobody adds."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: fields.Model | None = None) -> bool:
        """Nobody changes."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: fields.Model | None = None) -> bool:
        """Nobody deletes."""
        return False


@admin.register(models.Fence)
class FenceAdmin(ReadOnlyAdmin):
    """The fence."""

    list_display = ("epoch", "side", "switched_at")


@admin.register(models.Term)
class TermAdmin(ReadOnlyAdmin):
    """Who led when."""

    list_display = ("epoch", "side", "host", "pid", "release", "started_at", "first_tick_at", "ended_at", "end_reason")
    list_filter = ("side", "end_reason", "release")
    search_fields = ("holder", "host", "release")
    date_hierarchy = "started_at"


@admin.register(models.Entry)
class EntryAdmin(ReadOnlyAdmin):
    """Where entries stand."""

    list_display = ("name", "active", "eligible_since", "revision", "fingerprint")
    list_filter = ("active",)
    search_fields = ("name",)


@admin.register(models.Slot)
class SlotAdmin(ReadOnlyAdmin):
    """The ledger."""

    list_display = (
        *("due_at", "entry", "state", "side", "epoch"),
        *("published_at", "run_started_at", "run_by", "deduplicated", "reason"),
    )
    list_filter = ("state", "side", "entry")
    search_fields = ("entry", "task_id", "reason", "run_by")
    date_hierarchy = "due_at"


@admin.register(models.Transition)
class TransitionAdmin(ReadOnlyAdmin):
    """What operators did."""

    list_display = ("begun_at", "phase", "step", "outcome", "operator", "ended_at", "detail")
    list_filter = ("phase", "outcome")
    search_fields = ("operator", "detail")
    date_hierarchy = "begun_at"


@admin.register(models.Cutover)
class CutoverAdmin(ReadOnlyAdmin):
    """How far the cutover has come."""

    list_display = ("phase", "switched_at", "switch_epoch", "operator", "operator_seen_at")


@admin.register(models.ImportedEntry)
class ImportedEntryAdmin(ReadOnlyAdmin):
    """Rows that the cutover brought in or took over."""

    list_display = ("name", "created", "fingerprint", "options", "relative", "enabled_before", "last_run_at_before")
    list_filter = ("created", "relative", "enabled_before")
    search_fields = ("name",)


@admin.register(models.UnmanagedBeat)
class UnmanagedBeatAdmin(ReadOnlyAdmin):
    """Beats heard without the lease."""

    list_display = ("origin", "first_heard_at", "last_heard_at")
    search_fields = ("origin",)


@admin.register(models.ShadowRun)
class ShadowRunAdmin(ReadOnlyAdmin):
    """Shadow runs."""

    list_display = ("asked_at", "seconds", "holder", "began_at", "ended_at")


@admin.register(models.ShadowSlot)
class ShadowSlotAdmin(ReadOnlyAdmin):
    """What a standby would have sent in a shadow run."""

    list_display = ("due_at", "entry", "seen_at", "run")
    search_fields = ("entry",)
