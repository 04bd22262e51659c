"""The host's pages, and that for Prometheus."""

from django.urls import include, path

from prayer_room_api import urls

urlpatterns = [*urls.urlpatterns, path("metrics", include("cutover.observe.metrics.urls"))]
