"""What the project supplies: its Celery app, its tasks, and the code schedule with all its entries."""

import datetime as dt
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import Any, Final
from weakref import WeakKeyDictionary

from celery import Celery, current_app
from celery.beat import ScheduleEntry
from celery.schedules import BaseSchedule, crontab
from celery.utils.imports import load_extension_class_names
from django.utils.module_loading import import_string
from kombu.utils.imports import symbol_by_name

from cutover.conf import Config
from cutover.errors import ConfigurationError
from cutover.foreign import text_of
from cutover.schedules.refusals import EntriesRefused, Refusal, Unfit, require_name_as_such
from cutover.types import EntryName
from cutover.visible import visible


def import_app(path: Any, setting: str) -> Celery:
    """The Celery app at ``path``. Raises ConfigurationError, naming ``setting``, where there is none."""
    hint = f"{setting} must be the dotted path of the Celery app, such as 'your_project.celery.app'"
    if not path or not isinstance(path, str):
        raise ConfigurationError(f"{hint}; it is {repr(path) if path else 'missing'}.")
    try:
        app = import_string(path)
    except ImportError as exc:
        raise ConfigurationError(f"{hint}; {path!r} cannot be imported: {exc}.") from exc
    if not isinstance(app, Celery):
        raise ConfigurationError(f"{hint}; {path!r} is a {type(app).__name__}.")
    return app


def celery_app(config: Config) -> Celery:
    """The app named by ``CUTOVER['APP']``, else Celery's current app where the project has set one."""
    app = current_app._get_current_object()
    if config.app or app.main in (None, "default"):
        return import_app(config.app, "CUTOVER['APP']")
    return app


def scheduler_class(named: str) -> Any:
    """What a name of a scheduler means to celery. Raises whatever the project's own module does."""
    return symbol_by_name(named, aliases=dict(load_extension_class_names("celery.beat_schedulers")))


CLEANUP: Final = "celery.backend_cleanup"
"""The entry that celery's beat adds by itself where results expire and the backend does not see to it."""

_is_loading: Final[ContextVar[bool]] = ContextVar("cutover_is_loading", default=False)
_loaded: Final[WeakKeyDictionary[Celery, tuple[str, ...]]] = WeakKeyDictionary()
"""The modules of each app that were imported."""


def is_loading() -> bool:
    """Whether ``load_tasks`` is under way in this thread."""
    return _is_loading.get()


def load_tasks(app: Celery) -> None:
    """Import every module with tasks, as a worker does at its start; nothing while that is under way already.

    Celery has Django run its system checks before it imports, each time: so it is done once a process. They are not
    left out: they import the URLs, and with them tasks and schedules that no module for tasks has. Raises
    ConfigurationError when a module cannot be imported.
    """
    modules = (*app.loader.default_modules,)
    if is_loading() or _loaded.get(app) == modules:
        return
    token = _is_loading.set(True)
    try:
        app.loader.import_default_modules()
    except ImportError as exc:
        raise ConfigurationError(f"A module with tasks cannot be imported: {exc}.") from exc
    finally:
        _is_loading.reset(token)
    app.finalize()
    _loaded[app] = modules


def code_schedule(app: Celery, config: Config) -> Mapping[str, Mapping[str, Any]]:
    """What is at ``CUTOVER['CODE_SCHEDULE']`` over ``app.conf.beat_schedule``. Raises ConfigurationError."""
    schedule = dict(app.conf.beat_schedule or {})
    if not config.code_schedule:
        return schedule
    setting = f"CUTOVER['CODE_SCHEDULE'] = {config.code_schedule!r}"
    try:
        found = import_string(config.code_schedule)
    except ImportError as exc:
        remedy = "Remove the setting once the retired code schedule is gone."
        raise ConfigurationError(f"{setting} cannot be imported: {exc}. {remedy}") from exc
    if not isinstance(found, Mapping):
        raise ConfigurationError(f"{setting} is no mapping of entries.")
    return {**schedule, **found}


def code_entries(app: Celery, config: Config) -> dict[EntryName, ScheduleEntry]:
    """What celery's own beat would send, by name. Raises as ``load_tasks``; EntriesRefused for what is no entry."""
    return dict(_code_entries(app, config))


def code_names(app: Celery, config: Config) -> set[EntryName]:
    """The names alone, of which there may be very many: no entry is kept. Raises as ``code_entries``."""
    return {name for name, _ in _code_entries(app, config)}


def _code_entries(app: Celery, config: Config) -> Iterator[tuple[EntryName, ScheduleEntry]]:
    load_tasks(app)
    raw = dict(code_schedule(app, config))
    if app.conf.result_expires and not app.backend.supports_autoexpire and CLEANUP not in raw:
        raw[CLEANUP] = {"task": CLEANUP, "schedule": crontab("0", "4", "*"), "options": {"expires": 12 * 3600}}
    refusals: list[Refusal] = []
    now = app.now()
    for name, fields in raw.items():
        try:  # else it could be neither sorted with the others, nor asked for, nor be on a page
            require_name_as_such(name)
        except Unfit as unfit:
            refusals.append(Refusal(EntryName(visible(text_of(name))), "name", *unfit.args))
            continue
        try:
            given = dict(fields, name=name, app=app)
            if _goes_by_the_app(given.get("schedule")):  # else each asks it what time it is, for longer than all else
                given.setdefault("last_run_at", now)
            entry = ScheduleEntry(**given)
            entry.options = dict(entry.options)
        except Exception as exc:  # a schedule's own clock may raise anything
            reason = f"is not what celery reads ({text_of(exc)})"
            refusals.append(Refusal(EntryName(str(name)), "entry", reason, "fix it"))
            continue
        yield EntryName(name), entry
    if refusals:
        raise EntriesRefused(refusals)


def _goes_by_the_app(schedule: Any) -> bool:
    """Whether what time it is by a schedule, or by what celery makes one of, is what time it is by its app."""
    if isinstance(schedule, BaseSchedule):
        return schedule.nowfun is None and type(schedule).now is BaseSchedule.now
    return isinstance(schedule, float | int | dt.timedelta)
