"""Sentry Crons, by the project's own ``sentry_sdk``; silent where its integration for celery beat checks in itself."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, cast

from celery import current_app
from celery.beat import ScheduleEntry
from celery.schedules import crontab, maybe_schedule, schedule

from cutover.observe.check_ins.news import CheckIn, Word

if TYPE_CHECKING:
    from sentry_sdk._types import MonitorConfig

_STATUSES: Final = {Word.START: "in_progress", Word.SUCCESS: "ok", Word.FAIL: "error", Word.MISSED: "error"}
_UNITS: Final = (("day", 86_400), ("hour", 3_600), ("minute", 60))


def check_in_with_sentry(check_in: CheckIn, slug: str, said: Mapping[str, Any], entry: ScheduleEntry | None) -> None:
    """Send it, with what the monitor is to be: ``said``, and the schedule. Raises OSError where it is not set up."""
    import sentry_sdk
    from sentry_sdk.crons import capture_checkin

    if not sentry_sdk.get_client().is_active():
        raise OSError("sentry_sdk.init() was not called in this process, the beat: call it in Django's settings")
    if is_monitored(check_in.slot.entry, None if entry is None else entry.schedule):
        return
    timing = None if entry is None else timing_of(entry)
    config = cast("MonitorConfig", {**timing, **said}) if timing else None
    took_s = None if check_in.took is None else check_in.took.total_seconds()
    capture_checkin(slug, check_in.key.hex, _STATUSES[check_in.word], took_s, config)


def is_monitored(entry: str, given: Any) -> bool:
    """Whether Sentry's own integration, with ``monitor_beat_tasks``, checks in for that entry.

    ``given``: its schedule, as code may have it; None where it is not known.
    """
    import sentry_sdk
    from sentry_sdk.utils import match_regex_list

    integration: Any = sentry_sdk.get_client().get_integration("celery")
    if not getattr(integration, "monitor_beat_tasks", False):
        return False
    return not match_regex_list(entry, integration.exclude_beat_tasks) and (given is None or _takes(entry, given))


def _takes(entry: str, given: Any) -> bool:
    """Whether that integration takes such a schedule, by its own word: it leaves out seconds, the sun, and others."""
    try:
        from sentry_sdk.integrations.celery.beat import _get_monitor_config as monitor

        return bool(monitor(maybe_schedule(given), current_app, entry))
    except Exception:  # not a public function, and none of ours
        return True


def timing_of(entry: ScheduleEntry) -> dict[str, Any] | None:
    """When the entry is due, as Sentry has it; None where it has no such schedule. Pure.

    Of a crontab with days of the month and of the week Celery wants both to hold, and Sentry either.
    """
    given = entry.schedule
    if isinstance(given, crontab):
        fields = [_field(given, name) for name in ("minute", "hour", "day_of_month", "month_of_year", "day_of_week")]
        if fields[2] != "*" and fields[4] != "*":
            return None
        zone = getattr(given, "tz", None) or entry.app.timezone or "UTC"
        return {"schedule": {"type": "crontab", "value": " ".join(fields)}, "timezone": str(zone)}
    if type(given) is schedule:
        seconds = given.run_every.total_seconds()
        for unit, length in _UNITS:
            if seconds >= length and seconds % length == 0:
                return {"schedule": {"type": "interval", "value": int(seconds // length), "unit": unit}}
    return None


def _field(given: crontab, name: str) -> str:
    """One field of a crontab: as it was written, or as numbers where it was written in another way."""
    written = str(getattr(given, f"_orig_{name}"))
    is_plain = not set(written) - set("0123456789*/,-")
    return written if is_plain else ",".join(map(str, sorted(getattr(given, name))))
