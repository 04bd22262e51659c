"""The system checks by id: when each is given, and what to do. Rows of ``docs/checks.md``: `make reference`."""

from enum import StrEnum


class CheckId(StrEnum):
    """What a check finds. Errors keep Django's own commands from running, warnings do not."""

    E001 = "cutover.E001"
    """`CUTOVER` is no dictionary, has a misspelt name, a wrong type, names in `RENAMED` that go round in a circle, or
    durations that contradict each other (`RETENTION` no longer than the longest catch-up window and two leases). It
    comes alone: the others ask what it says. Do: See docs/settings.md.
    """
    E002 = "cutover.E002"
    """`django_celery_beat` is not in `INSTALLED_APPS`. Do: Add it; the order does not matter."""
    E003 = "cutover.E003"
    """`PRODUCTION_PROCESSES` is set and `django_prodserver` is not in `INSTALLED_APPS`. Do: Add it."""
    E004 = "cutover.E004"
    """`CUTOVER["DATABASE"]` is no alias of `DATABASES`, or that one's `ENGINE` cannot be imported, or its `AUTOCOMMIT`
    is off. Do: Name one; fix it.
    """
    E005 = "cutover.E005"
    """The rows of django-celery-beat are in another database than the ledger, or the routers keep the ledger's tables
    out. Do: Set `DATABASE` to the rows' alias, or route both apps to one: a switch is one commit.
    """
    E006 = "cutover.E006"
    """`CUTOVER["REDIS_ALIAS"]` is no `CACHES` entry, or none of django-redis; `CUTOVER["REDIS_URL"]` is no URL of
    Redis, or has an option of kombu's. Do: Set `REDIS_URL`, or add an entry for the lease alone; it need not be
    `default`.
    """
    E007 = "cutover.E007"
    """No Celery app is found, or `CUTOVER["APP"]` is none. Do: Say `"your_project.celery.app"`: dots, no colon."""
    E008 = "cutover.E008"
    """`CUTOVER["CODE_SCHEDULE"]` cannot be imported, or is no mapping. Do: Fix it; remove it once the cutover is
    closed.
    """
    E009 = "cutover.E009"
    """`PRODUCTION_PROCESSES` is no dictionary, a process has no `BACKEND`, or one that does not exist. A backend
    whose own server is not installed where the checks run is left to `cutover phase1`. Do: Fix the path; the nearest
    one is named.
    """
    E010 = "cutover.E010"
    """`prodserver` would refuse to start a process of `cutover.backends`: its `APP` is missing or none, its `ARGS`
    name what celery does not know. Do: Fix what is named.
    """
    E011 = "cutover.E011"
    """The ledger's database is none of PostgreSQL, SQLite, MySQL and MariaDB: how it locks is not known, and every
    claim rests on that. Do: Keep rows and ledger in one of them: docs/support.md.
    """
    E012 = "cutover.E012"
    """On MySQL or MariaDB a table of the ledger or of the rows has a storage engine without transactions (MyISAM,
    Aria): nothing would be fenced there. Asks the database, so only where Django does: `migrate`, and `check
    --database default`; phase 1 asks too. Do: Type `ALTER TABLE ... ENGINE=InnoDB`.
    """
    W001 = "cutover.W001"
    """The app's tasks run without the run guard. Do: Write `Celery("project", task_cls="cutover.guard.GuardedTask")`,
    or derive the project's own base from `GuardedTask`.
    """
    W002 = "cutover.W002"
    """The app's `beat_scheduler` is neither one of ours nor a subclass of one, or cannot be imported: `celery beat`
    and `celery worker -B` would send without the lease. Do: Set `CELERY_BEAT_SCHEDULER =
    "cutover.schedulers:CodeScheduler"`, after phase 3 `...:DatabaseScheduler`.
    """
    W003 = "cutover.W003"
    """`CUTOVER["ENTRIES"]` names what is no entry of the code schedule; the one that it looks like is named. Do:
    Nothing where it is the name of a row; else fix it.
    """
    W004 = "cutover.W004"
    """The app's tasks have the run guard, but some run without it: a `base` is no `GuardedTask`; `run_guard`,
    `__trace__` or `Strategy` is overridden (celery-batches does), in a class, a mixin or the task's own options.
    Task, place and reason are named. What a task overrides of celery's hooks does not matter. The modules with tasks
    are imported for it. Do: Derive a task's own base from `GuardedTask`.
    """
    W005 = "cutover.W005"
    """`PRODUCTION_PROCESSES` has a Celery worker and no beat. Do: Add one, unless another command starts beat."""
    W010 = "cutover.W010"
    """The rows are sent, and the code schedule has an entry that no row has: one that was added in code after the
    switch, or celery's own `celery.backend_cleanup`, which celery adds wherever results expire and the backend does
    not see to it. Nothing sends it; `cutover status` says so too. Asks the database, so only where Django does:
    `migrate`, and `check --database default`. Do: Add a row of that name in the admin, or take the entry out of the
    code.
    """
    W011 = "cutover.W011"
    """Entries of the code schedule share one ping URL, or one monitor of Sentry, for their names make the same slug, or
    have the same `PING_URL`. Do: Rename one, or give it a `PING_URL` of its own.
    """
    W012 = "cutover.W012"
    """`CHECK_INS["SENTRY"]` is set, and Sentry's own integration has `monitor_beat_tasks`: it checks in for these
    entries, and so ours does not. Do: Turn one of them off: docs/alerts.md#sentry.
    """
    W013 = "cutover.W013"
    """`CUTOVER["RENAMED"]` gives a name that no entry of the code schedule has, or has an old name that the code has
    still. Do: Nothing where it is the name of a row; else fix the name, rename the entry in the code, or take the line
    out.
    """
