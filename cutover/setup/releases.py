"""Pure: the Procfile of each release, and the health checks without which a platform takes a beat for well."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from django.db import DEFAULT_DB_ALIAS

from cutover import conf
from cutover.setup.additions import BACKENDS, LEGACY
from cutover.setup.commands import CODE_SCHEDULER, STOCK_SCHEDULER, Kind, Process, interpreter_of, with_scheduler

GUARDED_WORKERS, CODE_SIDE = "Procfile.guarded-workers", "Procfile.code-side"
BOTH_SIDES, DATABASE_SIDE = "Procfile.both-sides", "Procfile.database-side"
MANAGE: Final = ("manage.py",)
OF_DJANGO: Final = ("-m", "django")
"""The same where a project has no ``manage.py``; it wants DJANGO_SETTINGS_MODULE in the environment."""
RELEASE: Final = "release"
OURS: Final = {f"cutover.backends.{BACKENDS[kind]}" for kind in (Kind.WORKER, Kind.BEAT)} | {
    "cutover.backends.CodeBeat"
}


def procfiles(
    processes: Sequence[Process],
    kept: Sequence[str],
    database: str = DEFAULT_DB_ALIAS,
    rows_by: str = "",
    stock: str = STOCK_SCHEDULER,
    of_code: str = CODE_SCHEDULER,
    manage: Sequence[str] = MANAGE,
) -> dict[str, str]:
    """By their names: what may go before release B, with the stock beat; then release B, release C, release D.

    ``kept``: processes that prodserver cannot start. ``database``: the alias of the ledger's. ``rows_by``: the
    scheduler that sends the rows already; such a site has no release whose beat sends the code's entries alone.
    ``stock``, ``of_code``: what sends the code's entries without the lease, and under it. ``manage``: what Python is
    given where commands are typed: the project's ``manage.py``, or what stands for it.
    """
    if not any(process.name == RELEASE for process in processes):
        interpreter = shlex.join(interpreter_of(processes))
        migrate = " && ".join(
            f"{conf.migrate(alias, shlex.join(manage), interpreter)} --noinput"
            for alias in dict.fromkeys((DEFAULT_DB_ALIAS, database))
        )
        processes = [*processes, Process(RELEASE, migrate, Kind.OTHER)]
    prodserver = f"{shlex.join(manage)} prodserver"
    both = {process.name: _new(process, kept, prodserver) for process in processes}
    old = {process.name: _old(process, of_code) for process in processes}
    before = {process.name: _old(process, stock=rows_by or stock) for process in processes}
    python = next((beat.python for beat in _beats(processes)), "python")
    legacy = {LEGACY: f"{python} {prodserver} {LEGACY}"}
    return {
        GUARDED_WORKERS: _lines(before),
        **({} if rows_by else {CODE_SIDE: _lines({**old, **legacy})}),
        BOTH_SIDES: _lines({**both, **legacy}),
        DATABASE_SIDE: _lines(both),
    }


def are_begun(lines: Sequence[Process], settings: Mapping[str, Any]) -> bool:
    """Whether prodserver starts anything of ours but the web process, or what ``settings`` do not tell of.

    A project may have had its web process, or others, started by prodserver before.
    """
    given = [settings.get(line.name) for line in lines if "prodserver" in line.command]
    return any(not isinstance(one, Mapping) or one.get("BACKEND") in OURS for one in given)


def health_checks(processes: Sequence[Process], manage: Sequence[str] = MANAGE) -> dict[str, Any]:
    """For ``app.json``: a beat passes once it could lead, a worker once it answers, the web process once it is up."""
    checks = {process.name: list(_checks(process, manage)) for process in processes if process.kind is not Kind.OTHER}
    return {**checks, LEGACY: [_asking("standby", interpreter_of(_beats(processes)), manage)]}


def _beats(processes: Sequence[Process]) -> list[Process]:
    """Those that have a beat, a beat of its own first."""
    return sorted((one for one in processes if one.has_beat), key=lambda one: one.kind is not Kind.BEAT)


def _old(process: Process, scheduler: str = "", stock: str = STOCK_SCHEDULER) -> str:
    return with_scheduler(process, scheduler, stock) if process.has_beat else process.command


def _new(process: Process, kept: Sequence[str], prodserver: str) -> str:
    is_kept = process.kind is Kind.OTHER or process.name in kept
    return process.command if is_kept else f"{process.python} {prodserver} {process.name}"


def _lines(commands: dict[str, str]) -> str:
    return "".join(f"{name}: {command}\n" for name, command in commands.items())


def _checks(process: Process, manage: Sequence[str]) -> Iterator[dict[str, Any]]:
    if process.kind is Kind.WEB:
        yield {"type": "startup", "name": f"{process.name} stays up", "uptime": 10}
    if process.kind is Kind.WORKER:
        yield _asking("worker", process.interpreter, manage)
    if process.has_beat:
        yield _asking("standby", process.interpreter, manage)


def _asking(role: str, python: Sequence[str], manage: Sequence[str]) -> dict[str, Any]:
    command = [*python, *manage, "cutover", "status", "--check", "--role", role]
    name = {"worker": "worker answers", "standby": "beat leads or stands by"}[role]
    return {"type": "startup", "name": name, "command": command, "attempts": 10, "wait": 3, "timeout": 20}
