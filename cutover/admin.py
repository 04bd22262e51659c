"""The tables in the admin, to be read: what may be written is written by the ledger and the phases.

The ledger of slots grows to millions of rows, so its list asks nothing that an index does not answer.
"""

import uuid
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Final

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.core.paginator import Paginator
from django.db import models as fields
from django.db.models import QuerySet
from django.http import HttpRequest

from cutover import models
from cutover.types import SlotState

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Any]
    _Paginator = Paginator[Any]
else:
    _ModelAdmin, _Paginator = admin.ModelAdmin, Paginator  # generic for the type checker alone

PAGED: Final = 1_000
"""How many rows of a large table can be paged through; what is older is found by its entry."""
SEARCHED: Final = 10_000
"""How many of the latest slots are searched for what has no index, which every claim would pay for."""


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


class LatestRows(_Paginator):
    """Pages of the first rows of a large table: no more rows are counted than can be paged through."""

    @cached_property
    def count(self) -> int:
        """How many rows there are to page through, at most ``PAGED``."""
        rows: QuerySet[Any] = self.object_list  # type: ignore[assignment]  # what a list of the admin pages through
        return len(rows.values_list("pk", flat=True)[:PAGED])


class LatestFirst(ChangeList):
    """A list in its model's own order, whatever the address asks for: no other has an index."""

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[Any]:
        """See Django."""
        return list(self.model_admin.get_ordering(request))


class LargeTableAdmin(ReadOnlyAdmin):
    """A table of any size: its list goes by indexes alone."""

    paginator = LatestRows
    list_max_show_all = 0
    sortable_by = ()

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """See Django."""
        return LatestFirst

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """Nothing is filtered by an address that the list's own filters do not make."""
        return lookup in {getattr(each, "parameter_name", None) for each in self.list_filter}


@admin.register(models.Fence)
class FenceAdmin(ReadOnlyAdmin):
    """The fence."""

    list_display = ("epoch", "side", "switched_at", "schedule_revision")


@admin.register(models.Term)
class TermAdmin(ReadOnlyAdmin):
    """Who led when."""

    list_display = ("epoch", "side", "host", "pid", "release", "started_at", "first_tick_at", "ended_at", "end_reason")
    list_filter = ("side", "end_reason", "release")
    search_fields = ("holder", "host", "release")


@admin.register(models.Entry)
class EntryAdmin(ReadOnlyAdmin):
    """Where entries stand."""

    list_display = ("name", "active", "eligible_since", "revision", "fingerprint")
    list_filter = ("active",)
    search_fields = ("name",)


class WhatBecameOfIt(admin.SimpleListFilter):
    """The slots that an operator looks for: each kind by an index of its own, or among the latest slots."""

    title = "what became of it"
    parameter_name = "which"
    _which: ClassVar[dict[str, tuple[str, dict[str, Any]]]] = {
        "unpublished": ("claimed, not published", {"state": SlotState.CLAIMED}),
        "unstarted": ("published, not started", {"state": SlotState.PUBLISHED, "run_started_at": None}),
        "missed": ("missed", {"state": SlotState.MISSED}),
        "unmanaged": (f"sent without the lease, of the latest {SEARCHED:,}", {"sender__isnull": False}),
    }

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """See Django."""
        return [(value, said) for value, (said, _) in self._which.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """See Django."""
        _, wanted = self._which.get(self.value() or "", ("", {}))
        return (_latest(queryset) if self.value() == "unmanaged" else queryset).filter(**wanted)


@admin.register(models.Slot)
class SlotAdmin(LargeTableAdmin):
    """The ledger."""

    list_display = (
        *("due_at", "entry", "state", "side", "epoch"),
        *("published_at", "run_started_at", "run_by", "deduplicated", "reason"),
    )
    list_filter = (WhatBecameOfIt,)
    search_fields = ("entry",)
    search_help_text = f"An entry's whole name; or the id of a task among the latest {SEARCHED:,} slots"
    ordering = ("-due_at",)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """By what an index answers: the entry's whole name, or a task id among the latest slots."""
        term = search_term.strip()
        if not term:
            return queryset, False
        with suppress(ValueError):
            return _latest(queryset.filter(task_id=uuid.UUID(term))), False
        return queryset.filter(entry=term), False


def _latest(slots: QuerySet[Any]) -> QuerySet[Any]:
    latest = models.Slot.objects.using(slots.db).order_by("-due_at").values_list("due_at", flat=True)
    oldest = list(latest[SEARCHED - 1 : SEARCHED])
    return slots.filter(due_at__gte=oldest[0]) if oldest else slots


@admin.register(models.Transition)
class TransitionAdmin(ReadOnlyAdmin):
    """What operators did."""

    list_display = ("begun_at", "phase", "step", "outcome", "operator", "ended_at", "detail")
    list_filter = ("phase", "outcome")
    search_fields = ("operator", "detail")


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
class ShadowSlotAdmin(LargeTableAdmin):
    """What a standby would have sent in a shadow run."""

    list_display = ("due_at", "entry", "seen_at", "run")
    ordering = ("-pk",)
