"""Gates on the surroundings: database, Redis, clocks, processes, tasks and versions; `messaging` has the broker's."""

from __future__ import annotations

import datetime as dt
import importlib.metadata
from collections.abc import Sequence
from typing import Any, Final

import redis
from django.conf import settings
from django.db import DatabaseError, InterfaceError, connections, router, transaction
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader
from django.db.models import F
from django.db.models.functions import Now
from django.utils.module_loading import import_string
from django_celery_beat.models import PeriodicTask

from cutover import clock
from cutover.errors import ConfigurationError, CutoverError
from cutover.fields import InstantField
from cutover.ledger.database import outages
from cutover.models import Cutover
from cutover.phases.context import Context
from cutover.phases.gates.conditions import SHOWN
from cutover.phases.report import Check
from cutover.schedules import project
from cutover.workers import coverage

CLOCKS_WARN: Final = dt.timedelta(seconds=1)
CLOCKS_REFUSE: Final = dt.timedelta(seconds=5)
OLDEST_BEAT: Final = (2, 9)
_APPS: Final = ("cutover", "django_celery_beat")


def migrations(context: Context) -> Check:
    """The tables are there. Raises LedgerUnavailable when the database gives no answer."""
    with outages(context.alias):
        executor = MigrationExecutor(connections[context.alias])
        targets = [node for node in executor.loader.graph.leaf_nodes() if node[0] in _APPS]
        missing = [f"{step.app_label}.{step.name}" for step, _ in executor.migration_plan(targets)]
    if missing:
        return Check(
            "migrations", False, f"{len(missing)} not applied: {_some(missing)}", "run `python manage.py migrate`"
        )
    if newer := _newer(executor.loader, targets):
        remedy = "type this in the release that brought them"
        return Check("migrations", False, f"the database is newer than this code: {_some(newer)}", remedy)
    return Check("migrations", True, "applied")


def _newer(loader: MigrationLoader, targets: Sequence[tuple[str, str]]) -> list[str]:
    """Migrations that were applied and come after the last one that this code has.

    By their numbers: of older ones the code may have dropped some, as squashed.
    """
    last = {app: name[:4] for app, name in targets}
    applied = [key for key in loader.applied_migrations if key not in loader.disk_migrations]
    return sorted(f"{app}.{name}" for app, name in applied if name[:4] > last.get(app, "9999"))


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def database(context: Context) -> Check:
    """The database takes writes, and the rows stand in the same one as the ledger."""
    elsewhere = router.db_for_write(PeriodicTask)
    if elsewhere != context.alias:
        detail = f"the rows are in {elsewhere!r}, the ledger in {context.alias!r}"
        return Check("database", False, detail, "set CUTOVER['DATABASE'] to the rows' database")
    try:
        with transaction.atomic(using=context.alias):
            Cutover.objects.using(context.alias).filter(id=1).update(phase=F("phase"))
    except (DatabaseError, InterfaceError) as exc:
        connections[context.alias].close()
        return Check("database", False, f"takes no writes: {str(exc).strip()}", "point DATABASES at the primary")
    vendor = connections[context.alias].vendor
    return Check("database", True, f"{vendor}, reached and written")


def lease_store(context: Context) -> Check:
    """Redis is reached, takes writes, and evicts nothing."""
    name, probe = "redis", f"{{cutover:{context.config.namespace}}}:probe"
    try:
        context.redis.set(probe, "1", px=1000)
        memory: Any = context.redis.info("memory")
    except redis.exceptions.ReadOnlyError:
        return Check(name, False, "is a read-only replica", "point the alias at the primary, or let Sentinel choose it")
    except redis.exceptions.OutOfMemoryError:
        return Check(name, False, "is out of memory", "raise maxmemory, or free some")
    except (redis.RedisError, OSError) as exc:
        return Check(name, False, f"gives no answer: {exc}", "start Redis, or fix the alias's LOCATION")
    policy, most = memory.get("maxmemory_policy", "noeviction"), int(memory.get("maxmemory", 0))
    if most and policy != "noeviction":
        remedy = "set maxmemory-policy noeviction, or give the lease a Redis of its own"
        return Check(name, False, f"evicts keys ({policy}): the lease could vanish", remedy)
    return Check(name, True, "reached and written, evicts nothing")


def clocks(context: Context) -> Check:
    """Redis, database and this host agree on the time."""
    apart: dict[str, dt.timedelta] = {}
    try:
        before = clock.now()
        seconds, micros = context.redis.time()
        apart["Redis"] = dt.datetime.fromtimestamp(seconds + micros / 1e6, dt.UTC) - _middle(before)
    except (redis.RedisError, OSError, CutoverError):
        pass  # the gate on Redis says so
    with outages(context.alias):
        before = clock.now()
        read = (
            Cutover.objects.using(context.alias)
            .annotate(read_at=Now(output_field=InstantField()))
            .values_list("read_at", flat=True)
            .first()
        )
        if read is not None:
            apart["the database"] = read - _middle(before)
    worst = max((abs(delta) for delta in apart.values()), default=dt.timedelta(0))
    said = ", ".join(f"{who} {delta.total_seconds():+.1f} s" for who, delta in apart.items())
    if worst > CLOCKS_REFUSE:
        return Check("clocks", False, f"against this host: {said}", "let NTP set the clocks")
    late = " (let NTP set the clocks)" if worst > CLOCKS_WARN else ""
    return Check("clocks", True, f"against this host: {said}{late}")


def processes(context: Context) -> Check:
    """Every production process has a backend and an app that can be imported."""
    wrong: list[str] = []
    configured: dict[str, Any] = getattr(settings, "PRODUCTION_PROCESSES", {})
    for name, process in configured.items():
        try:
            import_string(process["BACKEND"])
            if "APP" in process:
                project.import_app(process["APP"], f"PRODUCTION_PROCESSES[{name!r}]['APP']")
        except KeyError as exc:
            wrong.append(f"{name} has no {exc}")
        except ConfigurationError as exc:
            wrong.append(str(exc))
        except ImportError as exc:
            wrong.append(f"{name}: {process['BACKEND']!r} cannot be imported ({exc})")
    if wrong:
        return Check("processes", False, "; ".join(wrong), "fix PRODUCTION_PROCESSES")
    if not configured:
        return Check("processes", False, "none", "set PRODUCTION_PROCESSES, as django-prodserver's pages say")
    return Check("processes", True, ", ".join(configured))


def tasks(context: Context) -> Check:
    """Every task of the code schedule is registered, and runs under the run guard."""
    wanted = {str(entry.task) for entry in context.entries.values()}
    unknown = sorted(wanted - context.app.tasks.keys())
    bare = coverage.gaps(context.app, wanted)
    if unknown:
        return Check(
            "tasks", False, f"not registered: {', '.join(unknown[:SHOWN])}", "import their module, or fix the entry"
        )
    if bare:
        remedy = f"give the app task_cls='cutover.guard.GuardedTask'; {coverage.REMEDY}"
        return Check("tasks", False, f"without the run guard: {coverage.spelt(bare)}", remedy)
    return Check("tasks", True, f"{len(wanted)} registered and guarded")


def versions(context: Context) -> Check:
    """django-celery-beat is one that sends every row."""
    found = importlib.metadata.version("django-celery-beat")
    if tuple(int(part) for part in found.split(".")[:2]) < OLDEST_BEAT:
        remedy = "install django-celery-beat 2.9 or later: earlier ones never send some rows"
        return Check("versions", False, f"django-celery-beat {found}", remedy)
    return Check("versions", True, f"django-celery-beat {found}")


def guarded(gate: Any, context: Context) -> Check:
    """A gate's finding; an error of ours that it raises is its finding too."""
    try:
        found: Check = gate(context)
    except CutoverError as exc:
        name = "redis" if gate is lease_store else gate.__name__.replace("_", " ")
        remedy = "fix the setting" if isinstance(exc, ConfigurationError) else exc.remedy
        return Check(name, False, str(exc), remedy)
    return found


def _middle(before: dt.datetime) -> dt.datetime:
    """The instant at which a question asked at ``before`` was answered, as well as one can tell."""
    return before + (clock.now() - before) / 2
