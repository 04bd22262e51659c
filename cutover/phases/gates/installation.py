"""Gates on the installation: the code schedule, here and in the beat; processes, tasks and versions of this release."""

import importlib.metadata
from contextlib import suppress
from typing import Any

from django.conf import settings
from django.utils.module_loading import import_string

from cutover.errors import ConfigurationError, LeaseUnavailable
from cutover.foreign import text_of
from cutover.ledger.database import outages
from cutover.phases.context import Context
from cutover.phases.evidence import detection, sent
from cutover.phases.evidence.side import enabled_rows
from cutover.phases.report import Check, gate
from cutover.phases.wording import inline, to_the_second
from cutover.plural import counted
from cutover.schedules import project
from cutover.schedules.refusals import EntriesRefused, unsendable
from cutover.workers import coverage


@gate("code schedule")
def code_schedule(context: Context, *, optional: bool = False) -> Check:
    """The code schedule can be read, has entries, and a beat that claims slots can send each as celery's own does.

    ``optional``: nothing sends it, so that it may be empty where there are rows to be sent.
    """
    try:
        refused = [one for entry in context.entries.values() for one in unsendable(entry)]
        count = len(context.entries)
    except EntriesRefused as exc:
        refused = exc.refusals
    if refused:
        return Check("code schedule", False, inline(refused), "fix the code schedule: a beat would leave these out")
    if count:
        return Check("code schedule", True, counted(count, "entry"))
    with outages(context.alias):
        rows = enabled_rows(context).count()
    if rows and optional:
        return Check("code schedule", True, f"no entry; {counted(rows, 'row is', 'rows are')} enabled, to be sent")
    alone = f"; where nothing but the {counted(rows, 'enabled row')} is to be sent, add --no-code-beat" if rows else ""
    remedy = f"set CUTOVER['CODE_SCHEDULE'] to the dotted path of the retired schedule{alone}"
    return Check("code schedule", False, counted(count, "entry"), remedy)


@gate("sent schedule")
def sent_schedule(context: Context, *, patient: bool = True) -> Check:
    """The leader of the code side sends what the code schedule of this process says.

    ``patient``: waits for the word of a leader that was elected a moment ago.
    """
    name, found = "sent schedule", sent.account(context)
    if patient and found.is_awaited:

        def said() -> sent.Account | None:
            now = sent.account(context)
            return None if now.is_awaited else now

        found = context.wait_for(said, context.config.takeover_timeout, "the beat to say what it sends") or found
    if found.is_awaited:
        remedy = "it says so at its first poll: look at its log; a beat of a release without that has to be replaced"
        return Check(name, False, f"the beat {found.leader} has not said what it sends", remedy)
    if found.declared is None:
        said_nothing = "no beat has led for the code side yet: what one would send is not known"
        return Check(name, True, said_nothing, assumed=True)
    whose = found.declared.holder + (f" of release {found.declared.release}" if found.declared.release else "")
    as_of = f"{whose}, as of {to_the_second(found.declared.declared_at)}"
    remedy = "let each process read one schedule, whatever its arguments, handlers and variables, and restart the beat"
    here = sent.here(context)
    if unlike := sent.differences(found.declared.entries, here):
        return Check(name, False, f"{inline(unlike)} (by {as_of})", remedy)
    with suppress(LeaseUnavailable):  # the gates that need Redis say so
        if standbys := [f"{beat.host}:{beat.pid}" for beat in sent.unlike_standbys(context, here)]:
            detail = f"{inline(standbys, ', ')} would send another schedule than this process reads, should it lead"
            return Check(name, False, detail, remedy)
    return Check(name, True, f"the {counted(len(found.declared.entries), 'entry')} of this process (by {as_of})")


@gate("processes")
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
        return Check("processes", False, inline(wrong), "fix PRODUCTION_PROCESSES")
    if not configured:
        return Check("processes", False, "none", "set PRODUCTION_PROCESSES, as django-prodserver's pages say")
    return Check("processes", True, ", ".join(configured))


@gate("tasks")
def tasks(context: Context) -> Check:
    """Every task of the code schedule is registered, and it and what enabled rows send runs under the run guard.

    A row's task may be another project's, whose workers know it: that is said, and refused by nobody.
    """
    of_code, wanted = {text_of(entry.task) for entry in context.entries.values()}, detection.scheduled(context)
    absent = wanted - context.app.tasks.keys()
    unknown, elsewhere = sorted(absent & of_code), sorted(absent - of_code)
    bare = coverage.gaps(context.app, wanted)
    if unknown:
        remedy = "import their module in every process, not in the workers' alone, or fix the entry"
        return Check("tasks", False, f"not registered: {inline(unknown, ', ')}", remedy)
    if bare:
        remedy = f"give the app task_cls='cutover.guard.GuardedTask'; {coverage.REMEDY}"
        return Check("tasks", False, f"without the run guard: {coverage.spelt(bare)}", remedy)
    detail = f"{len(wanted - absent)} registered and guarded"
    if elsewhere:
        detail += f"; whether those of enabled rows alone are guarded is not known here: {inline(elsewhere, ', ')}"
    return Check("tasks", True, detail, assumed=bool(elsewhere))


@gate("versions")
def versions(context: Context) -> Check:
    """django-celery-beat is one that sends every row."""
    found = importlib.metadata.version("django-celery-beat")
    if tuple(int(part) for part in found.split(".")[:2]) < (2, 9):
        remedy = "install django-celery-beat 2.9 or later: earlier ones never send some rows"
        return Check("versions", False, f"django-celery-beat {found}", remedy)
    return Check("versions", True, f"django-celery-beat {found}")
