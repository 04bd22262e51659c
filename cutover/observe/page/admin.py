"""Where the page hangs in an admin site, and who may see it.

Every process of a project imports this with its admin; so what the page is made of is imported when it is asked for.
"""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from importlib import import_module
from typing import Any, Final
from urllib.parse import urlencode

from django.apps import apps
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db import Error, connections, transaction
from django.db.models import Model
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import path, reverse

from cutover import models

PAGES: Final = {"changelist": "", "entry": "entry/", "slot": "slot/"}
"""The name of each page, and its part of the address."""


class OverviewAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # no generic at run time
    """The site at a glance, one entry and its slots, one slot's whole life; for whoever may view slots."""

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """That of the ledger."""
        return may_see_slots(request)

    has_module_permission = has_view_permission

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Nobody changes, adds or deletes."""
        return False

    has_add_permission = has_delete_permission = has_change_permission

    def get_urls(self) -> list[Any]:
        """The pages."""
        return [path(route, self._view(name), name=f"cutover_overview_{name}") for name, route in PAGES.items()]

    def _view(self, name: str) -> Callable[..., Any]:
        view = self.admin_site.admin_view(partial(self._page, name))
        for alias in connections:  # within a transaction, on SQLite, a claim might have to wait for the page
            view = transaction.non_atomic_requests(using=alias)(view)
        return view

    def _page(self, name: str, request: HttpRequest) -> TemplateResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        shown = import_module("cutover.observe.page.pages").make(name, request.GET.dict())
        if name == "entry":
            shown["row"] = self._row(request, shown.get("name", ""))
        request.current_app = self.admin_site.name  # as Django's own views do
        around = {**self.admin_site.each_context(request), "opts": self.opts}
        return TemplateResponse(request, f"admin/cutover/overview_{name}.html", {**around, **shown})

    def _row(self, request: HttpRequest, entry: str) -> str:
        """The address of the entry's row; empty where there is none, or none that can be read, or that they may see."""
        site, tasks = self.admin_site, apps.get_model("django_celery_beat", "PeriodicTask")
        if not site.is_registered(tasks) or not site.get_model_admin(tasks).has_view_permission(request):
            return ""
        rows, key = tasks._default_manager.filter(name=entry), None
        with suppress(Error):  # it may be another database than that of sessions; the page says that it is away
            key = rows.values_list("pk", flat=True).first()
        change = "admin:django_celery_beat_periodictask_change"
        return reverse(change, args=[key], current_app=site.name) if key is not None else ""


class LinksToSlots(admin.ModelAdmin):  # type: ignore[type-arg]  # no generic at run time
    """For a project's own admin of PeriodicTask, ahead of its base: a column and a field that lead to the slots.

    Shown to whoever may see the page, on an admin site that has it.
    """

    @admin.display(description="slots")
    def cutover_slots(self, row: Any) -> str:
        """A link to the entry's page."""
        there = reverse("admin:cutover_overview_entry", current_app=self.admin_site.name)
        address = f"{there}?{urlencode({'name': row.name})}"
        return render_to_string("admin/cutover/link.html", {"address": address, "name": row.name})

    def get_list_display(self, request: HttpRequest) -> Any:
        """See Django."""
        return [*super().get_list_display(request), *self._links(request)]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """See Django."""
        return [*super().get_readonly_fields(request, obj), *(self._links(request) if obj else ())]

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """See Django."""
        own, links = super().get_fieldsets(request, obj), self._links(request)
        return [*own, ("Cutover", {"fields": links})] if obj and links else own

    def _links(self, request: HttpRequest) -> list[str]:
        is_there = self.admin_site.is_registered(models.Overview)
        return ["cutover_slots"] if is_there and may_see_slots(request) else []


def may_see_slots(request: HttpRequest) -> bool:
    """Whether this person may view the ledger."""
    return request.user.has_perm("cutover.view_slot")
