"""``path("metrics", include("cutover.observe.metrics.urls"))``: where only Prometheus may read it."""

from django.urls import path

from cutover.observe.metrics.views import site

urlpatterns = [path("", site, name="cutover-metrics")]
