"""The only reader of Django's settings: ``CUTOVER = {...}``, checked as a whole before anything starts."""

import datetime as dt
import difflib
import os
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields
from typing import Any, Final

from django.apps import apps
from django.conf import settings

from cutover.errors import ConfigurationError
from cutover.types import CatchUp, EntryName

RELEASE_VARIABLES = ("CUTOVER_RELEASE", "GIT_REV", "HEROKU_SLUG_COMMIT", "SOURCE_VERSION")
"""Where the release label is looked for when ``RELEASE`` is not set: ours, Dokku's, Heroku's two."""
RELEASE_LENGTH: Final = 100
"""How much of a release label the ledger keeps."""

POLL_EVERY: Final = dt.timedelta(seconds=2)
"""How often a beat's loop polls fence and schedule, and sends its heartbeat. Longer, and changes are seen later."""
ANSWER_TIMEOUT: Final = dt.timedelta(seconds=2)
"""How long one answer of Redis is waited for. Shorter, and a failover's hiccup is taken for an outage."""

LEAST_LEASE: Final = max(1.5 * ANSWER_TIMEOUT, POLL_EVERY + dt.timedelta(seconds=1))
"""A lease outlasts the time between two renewals, a third of it, and one answer that never comes; and a poll, which may
be a second late and sends the one heartbeat of an idle leader, who would lose a shorter lease again and again.
"""
LEAST_RESEND_AFTER: Final = POLL_EVERY
"""What waits for a worker is looked for once in a poll."""
LEAST_TAKEOVER_TIMEOUT: Final = POLL_EVERY + ANSWER_TIMEOUT
"""A switch that nobody hears of through Redis is seen at the next poll; then the lease is asked for."""


@dataclass(frozen=True, slots=True)
class CatchUpRule:
    """What to do for a late slot, and up to which age (``window`` >= 0)."""

    policy: CatchUp
    window: dt.timedelta


@dataclass(frozen=True)
class Config:
    """All of cutover's settings, typed. Meanings and defaults are those of ``docs/settings.md``."""

    app: str = ""
    code_schedule: str = ""
    redis_alias: str = "default"
    redis_url: str = field(default="", repr=False)
    database: str = "default"
    namespace: str = "cutover"
    lease: dt.timedelta = dt.timedelta(seconds=15)
    catch_up: CatchUp = CatchUp.LATEST
    catch_up_window: dt.timedelta = dt.timedelta(hours=12)
    entries: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    retention: dt.timedelta = dt.timedelta(days=30)
    takeover_timeout: dt.timedelta = dt.timedelta(seconds=10)
    release: str = ""
    run_without_database: bool = False
    resend_after: dt.timedelta | None = dt.timedelta(minutes=5)
    sent_by_beat_alone: frozenset[str] = frozenset()
    converters: Mapping[str, str] = field(default_factory=dict)

    @property
    def renew_every(self) -> dt.timedelta:
        """How often a leader renews: a third of the lease, so that two renewals may fail."""
        return self.lease / 3

    def catch_up_rule(self, entry: EntryName) -> CatchUpRule:
        """The rule for one entry: its own, where ``ENTRIES`` has one, else the general one."""
        own = self.entries.get(entry, {})
        return CatchUpRule(own.get("CATCH_UP", self.catch_up), own.get("CATCH_UP_WINDOW", self.catch_up_window))


def load() -> Config:
    """Read ``settings.CUTOVER``.

    Raises ConfigurationError for an unknown name, a value of the wrong type, or durations that contradict each other.
    """
    values = _checked("CUTOVER", getattr(settings, "CUTOVER", {}), {f.name.upper() for f in fields(Config)})
    if values.get("REDIS_URL") and "REDIS_ALIAS" in values:
        raise ConfigurationError("CUTOVER has both REDIS_ALIAS and REDIS_URL: leave out one, the lease has one Redis.")
    release = values.pop("RELEASE", next((os.environ[v] for v in RELEASE_VARIABLES if os.environ.get(v)), ""))
    config = Config(**{name.lower(): value for name, value in values.items()}, release=release[:RELEASE_LENGTH])
    _validate(config)
    return config


def require_apps() -> None:
    """Raise ConfigurationError while an app is not installed whose tables ours refer to."""
    if not apps.is_installed("django_celery_beat"):
        raise ConfigurationError(
            "django_celery_beat is not in INSTALLED_APPS: add it, for its rows are the database side."
        )


def near(name: str, known: Collection[str]) -> str:
    """The end of a sentence about a name that is not known: the known one that it looks like; empty for none."""
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _checked(said: str, given: Any, known: Collection[str]) -> dict[str, Any]:
    """A dictionary of settings, each as the field of ``Config``; ``said`` is what an error calls it."""
    if not isinstance(given, Mapping):
        raise ConfigurationError(f"{said} must be a dictionary of settings, not {given!r}.")
    for name in given:
        if name not in known:
            hint = near(str(name).upper(), known) or f"; it has {', '.join(sorted(known))}"
            raise ConfigurationError(f"{said} has no setting {name!r}{hint}.")
    return {name: _value(name, value) for name, value in given.items()}


def _value(name: str, value: Any) -> Any:
    match name:
        case "RESEND_AFTER" if value is None:
            return None
        case "LEASE" | "CATCH_UP_WINDOW" | "RETENTION" | "TAKEOVER_TIMEOUT" | "RESEND_AFTER":
            if isinstance(value, dt.timedelta):
                return value
            if isinstance(value, int | float) and not isinstance(value, bool):
                with suppress(ValueError, OverflowError):
                    return dt.timedelta(seconds=value)
            wanted = f"be a timedelta or seconds, not {value!r}"
        case "CATCH_UP":
            if value in list(CatchUp):
                return CatchUp(value)
            wanted = f"be {' or '.join(repr(c.value) for c in CatchUp)}, not {value!r}"
        case "SENT_BY_BEAT_ALONE":
            if isinstance(value, list | tuple | set | frozenset) and all(isinstance(v, str) for v in value):
                return frozenset(value)
            wanted = "be a list of task names"
        case "RUN_WITHOUT_DATABASE":
            if isinstance(value, bool):
                return value
            wanted = f"be True or False, not {value!r}"
        case "CONVERTERS":
            if isinstance(value, Mapping) and all(isinstance(part, str) for pair in value.items() for part in pair):
                return dict(value)
            wanted = "map dotted schedule classes to dotted functions that make a schedule a row holds"
        case "ENTRIES":
            own = ("CATCH_UP", "CATCH_UP_WINDOW")
            if isinstance(value, Mapping):
                return {entry: _checked(f"CUTOVER[{name!r}][{entry!r}]", given, own) for entry, given in value.items()}
            wanted = "map entry names to their own settings"
        case _:
            if isinstance(value, str):
                return value
            wanted = f"be a string, not {type(value).__name__}"
    raise ConfigurationError(f"CUTOVER[{name!r}] must {wanted}.")


def _validate(config: Config) -> None:
    for name, least, why in (
        ("LEASE", LEAST_LEASE, "a leader that nothing is wrong with would lose a shorter one"),
        ("TAKEOVER_TIMEOUT", LEAST_TAKEOVER_TIMEOUT, "no standby may have seen the switch yet"),
        ("RESEND_AFTER", LEAST_RESEND_AFTER, "it is not looked for more often; None: never"),
    ):
        given = getattr(config, name.lower())
        if given is not None and given < least:
            raise ConfigurationError(
                f"CUTOVER[{name!r}] must be at least {_s(least)}, not {_s(given)}: {why} (a beat's loop polls every "
                f"{_s(POLL_EVERY)}, and waits up to {_s(ANSWER_TIMEOUT)} for an answer of Redis)."
            )
    windows = [config.catch_up_window, *(config.catch_up_rule(EntryName(name)).window for name in config.entries)]
    if min(windows) < dt.timedelta(0):
        raise ConfigurationError(
            "CUTOVER['CATCH_UP_WINDOW'] must not be negative; 'CATCH_UP': 'none' turns catching up off."
        )
    if config.retention <= max(windows) + 2 * config.lease:
        raise ConfigurationError(
            "CUTOVER['RETENTION'] must be longer than the longest catch-up window and two leases: a slot that the "
            f"ledger has forgotten could be sent again (now {config.retention}, window {max(windows)})."
        )
    if not config.namespace or not config.namespace.isprintable() or any(c in config.namespace for c in "{} "):
        raise ConfigurationError("CUTOVER['NAMESPACE'] must be printable, without spaces and braces.")


def _s(duration: dt.timedelta) -> str:
    return f"{duration.total_seconds():g} s"
