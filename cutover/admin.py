"""The page in the admin, and the tables, to be read: what may be written is written by the ledger and the phases.

The ledger of slots grows to millions of rows, so its list asks nothing that an index does not answer.
"""

import datetime as dt
import uuid
from contextlib import suppress
from typing import Any, ClassVar, Final, TypeVar

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.core.paginator import Paginator
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest

from cutover import models
from cutover.fields import stored
from cutover.observe.page.admin import LinksToSlots, OverviewAdmin
from cutover.types import SlotState

__all__ = ["LinksToSlots", "OverviewAdmin"]

_Row = TypeVar("_Row", bound=Model)
PAGED: Final = 1_000
"""How many rows of a large table can be paged through; what is older is found by its entry."""
SEARCHED: Final = 10_000
"""How many of the latest slots are searched for what has no index, which every claim would pay for."""


class InSiteTime(ChangeList):
    """A list whose instants are as Django shows its own."""

    def get_results(self, request: HttpRequest) -> None:
        """See Django."""
        super().get_results(request)
        self.result_list = [_in_site_time(row) for row in self.result_list]


class ReadOnlyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # no generic at run time
    """A model that can be looked at by whoever may view it, and changed by nobody."""

    show_full_result_count = False

    def get_changelist(self, request: HttpRequest, **_: Any) -> type[ChangeList]:
        """See Django."""
        return InSiteTime

    def get_object(self, *args: Any, **kwargs: Any) -> Model | None:
        """See Django."""
        row: Model | None = super().get_object(*args, **kwargs)
        return row and _in_site_time(row)

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Nobody changes, adds or deletes."""
        return False

    has_add_permission = has_delete_permission = has_change_permission


class LatestFirst(InSiteTime):
    """A list in its model's own order, whatever the address asks for: no other has an index."""

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[Any]:
        """See Django."""
        return list(self.model_admin.get_ordering(request))


class LargeTableAdmin(ReadOnlyAdmin):
    """A table of any size: its list goes by indexes alone."""

    list_max_show_all = 0
    sortable_by = ()

    def get_changelist(self, request: HttpRequest, **_: Any) -> type[ChangeList]:
        """See Django."""
        return LatestFirst

    def get_paginator(self, request: HttpRequest, queryset: Any, per_page: int, *_: Any, **__: Any) -> "Paginator[Any]":
        """Pages of the first ``PAGED`` rows; none are counted beyond those."""
        return Paginator(list(queryset[:PAGED]), per_page)

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """Nothing is filtered by an address that the list's own filters do not make."""
        return lookup == WhatBecameOfIt.parameter_name


class WhatBecameOfIt(admin.SimpleListFilter):
    """The slots that an operator looks for: each kind by an index of its own, or among the latest slots."""

    title = "what became of it"
    parameter_name = "which"
    kinds: ClassVar = {
        "unpublished": ("claimed, not published", Q(state=SlotState.CLAIMED)),
        "unstarted": ("published, not started", Q(state=SlotState.PUBLISHED, run_started_at=None)),
        "missed": ("missed", Q(state=SlotState.MISSED)),
        "unmanaged": (f"sent without the lease, of the latest {SEARCHED:,}", Q(sender__isnull=False)),
    }

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """See Django."""
        return [(kind, title) for kind, (title, _) in self.kinds.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """See Django."""
        _, wanted = self.kinds.get(self.value() or "", ("", Q()))
        return (_latest(queryset) if self.value() == "unmanaged" else queryset).filter(wanted)


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
        with suppress(ValueError):
            return _latest(queryset.filter(task_id=uuid.UUID(term))), False
        return queryset.filter(entry=term) if term else queryset, False


def _in_site_time(row: _Row) -> _Row:
    """The same, to be looked at: an aware instant is put into the site's zone by Django with ``USE_TZ`` alone."""
    for field in row._meta.concrete_fields:
        if isinstance(at := getattr(row, field.attname), dt.datetime):
            setattr(row, field.attname, stored(at))
    return row


def _latest(slots: QuerySet[Any]) -> QuerySet[Any]:
    latest = models.Slot.objects.using(slots.db).order_by("-due_at").values_list("due_at", flat=True)
    oldest = list(latest[SEARCHED - 1 : SEARCHED])
    return slots.filter(due_at__gte=oldest[0]) if oldest else slots


def _register(model: type[Model], columns: str, filters: str = "", searched: str = "") -> None:
    """A small table, by the names of its fields."""
    options = {"list_display": columns.split(), "list_filter": filters.split(), "search_fields": searched.split()}
    admin.site.register(model, ReadOnlyAdmin, **options)


admin.site.register(models.Overview, OverviewAdmin)
_register(models.Fence, "epoch side switched_at schedule_revision")
_register(
    models.Term,
    "epoch side host pid release started_at first_tick_at seen_at ended_at end_reason",
    filters="side end_reason release",
    searched="holder host release",
)
_register(models.Entry, "name active eligible_since revision fingerprint", "active", "name")
_register(models.Pause, "paused_at entry until paused_by reason ended_at ended_by", searched="entry reason")
_register(models.Declaration, "side holder release declared_at")
_register(models.Transition, "begun_at phase step outcome operator ended_at detail", "phase outcome", "operator detail")
_register(models.Cutover, "phase switched_at switch_epoch operator operator_seen_at parity_proved_at")
_register(models.QuietWait, "began_at operator leaps_at window_from window_to until ended_at outcome order ordered_by")
_register(models.SwitchGuard, "began_at operator switch_epoch until ended_at outcome detail")
_register(
    models.ImportedEntry,
    "name created fingerprint options relative enabled_before last_run_at_before",
    filters="created relative enabled_before",
    searched="name",
)
_register(models.UnmanagedBeat, "origin first_heard_at last_heard_at", searched="origin")
_register(
    models.SlotlessSender,
    "task entry origin messages at_slots first_seen_at last_seen_at",
    searched="task entry origin",
)
_register(models.OperatorWord, "task sent_by said_at", "sent_by", "task")
_register(models.ShadowRun, "asked_at seconds holder began_at ended_at")
admin.site.register(
    models.ShadowSlot, LargeTableAdmin, list_display=("due_at", "entry", "seen_at", "run"), ordering=("-pk",)
)
