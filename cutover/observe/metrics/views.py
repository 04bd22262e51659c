"""The web process's page for Prometheus: what the database and Redis know of the site."""

from contextlib import suppress
from functools import cache
from typing import Any

from django.db import connections, transaction
from django.http import HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache

from cutover import conf
from cutover.errors import ConfigurationError


@never_cache  # the site's own cache, or a proxy's, would tell of a leader who is gone by now
def site(request: HttpRequest) -> HttpResponse:
    """The metrics of the site. Never an error of the servers that they are about; 501 without the extra ``metrics``."""
    try:
        from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
    except ImportError:
        return HttpResponse("pip install 'django-cutover[metrics]'\n", status=501, content_type="text/plain")
    return HttpResponse(generate_latest(_registry()), content_type=CONTENT_TYPE_LATEST)


for _alias in connections:  # ATOMIC_REQUESTS would ask a database that is away
    site = transaction.non_atomic_requests(using=_alias)(site)


@cache
def _registry() -> Any:
    from prometheus_client import CollectorRegistry

    from cutover.observe.metrics.samples import Site
    from cutover.observe.metrics.site import Readings
    from cutover.phases.context import Context

    registry, limit = CollectorRegistry(), 0
    with suppress(ConfigurationError):  # each reading logs what is wrong with it
        limit = conf.load().metrics_entries
    registry.register(Site(Readings(lambda: Context(conf.load())), limit))
    return registry
