"""Gates on the surroundings: database, Redis, broker, clocks, processes, tasks and versions."""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import threading
from typing import Any, Final

import redis
from django.conf import settings
from django.db import DatabaseError, InterfaceError, connections, router, transaction
from django.db.migrations.executor import MigrationExecutor
from django.db.models import F
from django.db.models.functions import Now
from django.utils.module_loading import import_string
from django_celery_beat.models import PeriodicTask

from cutover import clock, project
from cutover.errors import ConfigurationError, CutoverError
from cutover.fields import InstantField
from cutover.guard import GuardedTask
from cutover.models import Cutover
from cutover.phases.context import Context
from cutover.phases.gates import SHOWN
from cutover.phases.report import Check
from cutover.phases.state import outages

BROKER_TIMEOUT_S: Final = 5.0
WORKERS_TIMEOUT_S: Final = 1.0
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
        some = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
        return Check("migrations", False, f"{len(missing)} not applied: {some}", "run `python manage.py migrate`")
    return Check("migrations", True, "applied")


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
        return Check(name, False, f"gives no answer: {exc}", "start Redis, or mend the alias's LOCATION")
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
    except (redis.RedisError, OSError):
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


def broker(context: Context) -> Check:
    """The broker is reached. Bounded by a thread: a transport's own time limits do not cover every hang."""
    answer: list[str] = []

    def connect() -> None:
        try:
            with context.app.connection_for_write(connect_timeout=BROKER_TIMEOUT_S) as connection:
                connection.ensure_connection(max_retries=0, timeout=BROKER_TIMEOUT_S)
                connection.default_channel  # noqa: B018 - some transports connect here only
            answer.append("")
        except Exception as exc:  # whatever the transport raises
            answer.append(str(exc) or type(exc).__name__)

    thread = threading.Thread(target=connect, name="cutover-broker-probe", daemon=True)
    thread.start()
    thread.join(BROKER_TIMEOUT_S)
    if answer == [""]:
        return Check("broker", True, "reached")
    said = answer[0] if answer else f"no answer within {BROKER_TIMEOUT_S:g} s"
    return Check("broker", False, f"gives no answer: {said}", "start the broker, or mend the app's broker_url")


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
            wrong.append(f"{name}: {process['BACKEND']!r} can not be imported ({exc})")
    if wrong:
        return Check("processes", False, "; ".join(wrong), "mend PRODUCTION_PROCESSES")
    if not configured:
        return Check("processes", False, "none", "set PRODUCTION_PROCESSES, as django-prodserver's pages say")
    return Check("processes", True, ", ".join(configured))


def tasks(context: Context) -> Check:
    """Every task of the code schedule is registered, and runs under the run guard."""
    wanted = {str(entry.task) for entry in context.entries.values()}
    unknown = sorted(wanted - context.app.tasks.keys())
    bare = sorted(
        name for name in wanted & context.app.tasks.keys() if not isinstance(context.app.tasks[name], GuardedTask)
    )
    if unknown:
        return Check(
            "tasks", False, f"not registered: {', '.join(unknown[:SHOWN])}", "import their module, or mend the entry"
        )
    if bare:
        remedy = "give the app task_cls='cutover.guard.GuardedTask', or the task base=GuardedTask"
        return Check("tasks", False, f"without the run guard: {', '.join(bare[:SHOWN])}", remedy)
    return Check("tasks", True, f"{len(wanted)} registered and guarded")


def workers(context: Context) -> Check:
    """No worker that answers runs a task of the code schedule without the run guard."""
    try:
        with context.app.connection_for_write() as connection:
            asked = context.app.control.inspect(timeout=WORKERS_TIMEOUT_S, connection=connection)
            answers: dict[str, list[str]] = asked.registered("run_guard") or {}
    except Exception as exc:  # whatever the transport raises
        return Check(
            "workers", False, f"can not be asked: {str(exc) or type(exc).__name__}", "see the gate on the broker"
        )
    wanted = {str(entry.task) for entry in context.entries.values()}
    bare = sorted(
        f"{worker} runs {task}"
        for worker, listed in answers.items()
        for task, _, details in (line.partition(" ") for line in listed)
        if task in wanted and "run_guard=" not in details
    )
    if bare:
        remedy = "let the old release's workers end, or give their app task_cls='cutover.guard.GuardedTask'"
        return Check("workers", False, f"without the run guard: {', '.join(bare[:SHOWN])}", remedy)
    if not answers:
        return Check("workers", True, "none answers: nothing runs what is sent, as far as can be told")
    return Check("workers", True, f"{len(answers)} answer, all guarded")


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
        return Check(gate.__name__.replace("_", " "), False, str(exc), "see above")
    return found


def _middle(before: dt.datetime) -> dt.datetime:
    """The instant at which a question asked at ``before`` was answered, as well as one can tell."""
    return before + (clock.now() - before) / 2
