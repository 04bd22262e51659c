"""Gates on the servers: database, Redis, and the clocks of both."""

import datetime as dt
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import redis
from django.db import connections, router
from django.db.migrations.executor import MigrationExecutor
from django.db.models import F
from django_celery_beat.models import PeriodicTask

from cutover import clock
from cutover.conf import migrate
from cutover.errors import CutoverError, LedgerBusy, LedgerRefused, LedgerUnavailable
from cutover.fields import DatabaseNow
from cutover.ledger.database import outages, transaction, without_transactions
from cutover.models import Cutover
from cutover.phases.context import Context
from cutover.phases.report import Check, gate
from cutover.phases.wording import inline, one_line

CLOCKS_WARN: Final = dt.timedelta(seconds=1)
CLOCKS_REFUSE: Final = dt.timedelta(seconds=5)
REDIS: Final = "Redis"
DATABASE: Final = "the database"
_APPS: Final = ("cutover", "django_celery_beat")


@gate("migrations")
def migrations(context: Context) -> Check:
    """The tables are there."""
    with outages(context.alias):
        executor = MigrationExecutor(connections[context.alias])
        targets = [node for node in executor.loader.graph.leaf_nodes() if node[0] in _APPS]
        missing = [f"{step.app_label}.{step.name}" for step, _ in executor.migration_plan(targets)]
    if missing:
        detail = f"{len(missing)} not applied: {inline(missing, ', ')}"
        return Check("migrations", False, detail, f"run `{migrate(context.alias)}`")
    # Applied, and after the last one that this code has, by their numbers: older ones it may have squashed.
    last = {app: name[:4] for app, name in targets}
    unknown = executor.loader.applied_migrations.keys() - executor.loader.disk_migrations.keys()
    if newer := sorted(f"{app}.{name}" for app, name in unknown if name[:4] > last.get(app, "9999")):
        detail = f"the database is newer than this code: {inline(newer, ', ')}"
        return Check("migrations", False, detail, "type this in the release that brought them")
    return Check("migrations", True, "applied")


@gate("database")
def database(context: Context) -> Check:
    """The database takes writes, and the rows are in the same one as the ledger."""
    elsewhere = router.db_for_write(PeriodicTask)
    if elsewhere != context.alias:
        detail = f"the rows are in {elsewhere!r}, the ledger in {context.alias!r}"
        return Check("database", False, detail, "set CUTOVER['DATABASE'] to the rows' database")
    try:
        with transaction(context.alias):
            Cutover.objects.using(context.alias).filter(id=1).update(phase=F("phase"))
    except (LedgerBusy, LedgerRefused) as exc:
        return Check("database", False, one_line(exc), exc.remedy)
    except LedgerUnavailable as exc:
        return Check("database", False, f"takes no writes: {one_line(exc)}", "point DATABASES at the primary")
    if tables := without_transactions(context.alias):
        detail = f"a storage engine without transactions fences nothing: {inline(tables, ', ')}"
        return Check("database", False, detail, f"ALTER TABLE {tables[0]} ENGINE=InnoDB; and so for each of them")
    vendor = connections[context.alias].vendor
    return Check("database", True, f"{vendor}, reached and written")


@gate("redis")
def lease_store(context: Context) -> Check:
    """Redis is reached, takes writes, and evicts nothing."""
    context.lease.probe()
    memory = context.lease.memory()
    policy, most = memory.get("maxmemory_policy", "noeviction"), int(memory.get("maxmemory", 0))
    if most and policy != "noeviction":
        remedy = "set maxmemory-policy noeviction, or give the lease a Redis of its own"
        return Check("redis", False, f"evicts keys ({policy}): the lease could vanish", remedy)
    return Check("redis", True, "reached and written, evicts nothing")


@gate("clocks")
def clocks(context: Context) -> Check:
    """Redis, database and this host agree on the time."""
    apart = _all_apart(context)
    worst = max((abs(delta) for delta in apart.values()), default=dt.timedelta(0))
    listed = ", ".join(f"{who} {delta.total_seconds():+.1f} s" for who, delta in apart.items())
    if worst > CLOCKS_REFUSE:
        return Check("clocks", False, f"against this host: {listed}", "let NTP set the clocks")
    late = " (let NTP set the clocks)" if worst > CLOCKS_WARN else ""
    return Check("clocks", True, f"against this host: {listed}{late}")


def database_ahead(context: Context) -> dt.timedelta:
    """How far the database's clock is ahead of this host's and of Redis's, by the one that is nearer to it.

    Nothing where it is between them, or Redis does not tell: that one other clock differs proves nothing, for it may
    be the wrong one. Raises LedgerUnavailable.
    """
    apart = _all_apart(context)
    if len(apart) < 2:
        return dt.timedelta(0)
    least, most = sorted((apart[DATABASE], apart[DATABASE] - apart[REDIS]))
    return max(least, dt.timedelta(0)) + min(most, dt.timedelta(0))


def _all_apart(context: Context) -> dict[str, dt.timedelta]:
    """How far each clock that can be read is ahead of this host's."""
    apart: dict[str, dt.timedelta] = {}
    with suppress(redis.RedisError, OSError, CutoverError):  # the gate on Redis says so
        apart[REDIS] = _apart(lambda: _at(*context.redis.time()))
    row = Cutover.objects.using(context.alias).annotate(read_at=DatabaseNow())
    with outages(context.alias), suppress(Cutover.DoesNotExist):
        apart[DATABASE] = _apart(lambda: row.get(id=1).read_at)
    return apart


def _apart(read: Callable[[], dt.datetime]) -> dt.timedelta:
    """How far a clock is from this host's; it is taken to be read halfway between the question and the answer."""
    before = clock.now()
    found = read()
    return found - (before + (clock.now() - before) / 2)


def _at(seconds: int, micros: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(seconds + micros / 1e6, dt.UTC)
