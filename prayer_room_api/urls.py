"""The API and the admin. The probes are answered before URLs are looked at: see ``probes``."""

from django.contrib import admin
from django.urls import include, path
from rest_framework.routers import SimpleRouter

from .api import RequestViewSet

router = SimpleRouter()
router.register("requests", RequestViewSet, basename="request")

urlpatterns = [
    path("admin/", admin.site.urls),
    path("api/", include(router.urls)),
]
