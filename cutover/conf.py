"""The only reader of Django's settings: ``CUTOVER = {...}``, checked as a whole before anything starts."""

import datetime as dt
import difflib
import os
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields
from typing import Any, Final

from django.conf import settings

from cutover.errors import ConfigurationError
from cutover.types import CatchUp, EntryName

RELEASE_VARIABLES = ("CUTOVER_RELEASE", "GIT_REV", "HEROKU_SLUG_COMMIT", "SOURCE_VERSION")
"""Where the release label is looked for when ``RELEASE`` is not set: ours, Dokku's, Heroku's two."""

RELEASE_LENGTH: Final = 100
"""How much of a release label the ledger keeps."""

POLL_EVERY: Final = dt.timedelta(seconds=2)
"""How often a beat's loop looks at fence and schedule, and sends its heartbeat, when nothing wakes it: 2 s.

Longer, and a change that nobody announces is seen later; a lease and a switch must outlast it.
"""
ANSWER_TIMEOUT: Final = dt.timedelta(seconds=2)
"""How long one answer of Redis is waited for: 2 s.

Shorter, and a failover's hiccup is taken for an outage; a lease and a switch must outlast it.
"""
_SLACK: Final = dt.timedelta(seconds=1)
"""By how much a turn of the loop may be late on a busy machine."""

LEAST_LEASE: Final = max(1.5 * ANSWER_TIMEOUT, POLL_EVERY + _SLACK)
"""A lease outlasts the time between two renewals, a third of it, and one answer that never comes; and one poll.

The loop sends one heartbeat in a poll: a shorter lease is given up by an idle leader, again and again.
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
        policy = CatchUp(own.get("CATCH_UP", self.catch_up))
        return CatchUpRule(policy, _duration("CATCH_UP_WINDOW", own.get("CATCH_UP_WINDOW", self.catch_up_window)))


def load() -> Config:
    """Read ``settings.CUTOVER``.

    Raises ConfigurationError for an unknown name, a value of the wrong type, or durations that contradict each other.
    """
    raw = getattr(settings, "CUTOVER", {})
    if not isinstance(raw, Mapping):
        raise ConfigurationError(f"CUTOVER must be a dictionary of settings, not {raw!r}.")
    known = {f.name.upper(): f for f in fields(Config)}
    values: dict[str, Any] = {}
    for name, value in raw.items():
        if name not in known:
            raise ConfigurationError(f"CUTOVER has no setting {name!r}{_suggestion(name, known)}.")
        read: Callable[[str, Any], Any] = _READ.get(name, _text)
        values[name.lower()] = read(name, value)
    values.setdefault("release", next((os.environ[v] for v in RELEASE_VARIABLES if os.environ.get(v)), ""))
    values["release"] = values["release"][:RELEASE_LENGTH]
    config = Config(**values)
    _validate(config)
    return config


def _duration(name: str, value: Any) -> dt.timedelta:
    if isinstance(value, dt.timedelta):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        with suppress(ValueError, OverflowError):
            return dt.timedelta(seconds=value)
    raise ConfigurationError(f"CUTOVER[{name!r}] must be a timedelta or seconds, not {value!r}.")


def _duration_or_none(name: str, value: Any) -> dt.timedelta | None:
    return None if value is None else _duration(name, value)


def _text(name: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    raise ConfigurationError(f"CUTOVER[{name!r}] must be a string, not {type(value).__name__}.")


def _switch(name: str, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise ConfigurationError(f"CUTOVER[{name!r}] must be True or False, not {value!r}.")


def _names(name: str, value: Any) -> frozenset[str]:
    if not isinstance(value, (list, tuple, set, frozenset)) or not all(isinstance(v, str) for v in value):
        raise ConfigurationError(f"CUTOVER[{name!r}] must be a list of task names.")
    return frozenset(value)


def _catch_up(name: str, value: Any) -> CatchUp:
    try:
        return CatchUp(value)
    except ValueError as exc:
        choices = " or ".join(repr(c.value) for c in CatchUp)
        raise ConfigurationError(f"CUTOVER[{name!r}] must be {choices}, not {value!r}.") from exc


def _converters(name: str, value: Any) -> Mapping[str, str]:
    if isinstance(value, Mapping) and all(isinstance(part, str) for pair in value.items() for part in pair):
        return dict(value)
    raise ConfigurationError(
        f"CUTOVER[{name!r}] must map dotted schedule classes to dotted functions that make a schedule a row holds."
    )


def _entries(setting: str, value: Any) -> Mapping[str, Mapping[str, Any]]:
    allowed = {"CATCH_UP", "CATCH_UP_WINDOW"}
    if not isinstance(value, Mapping):
        raise ConfigurationError(f"CUTOVER[{setting!r}] must map entry names to their own settings.")
    checked: dict[str, dict[str, Any]] = {}
    for entry, own in value.items():
        said = f"CUTOVER[{setting!r}][{entry!r}]"
        if not isinstance(own, Mapping):
            raise ConfigurationError(f"{said} must be a dictionary of settings, not {own!r}.")
        if unknown := [name for name in own if name not in allowed]:
            raise ConfigurationError(f"{said} has no setting {unknown[0]!r}{_suggestion(unknown[0], allowed)}.")
        checked[entry] = {name: _READ[name](name, v) for name, v in own.items()}
    return checked


_READ: Final[Mapping[Any, Callable[[str, Any], Any]]] = {
    **dict.fromkeys(("LEASE", "CATCH_UP_WINDOW", "RETENTION", "TAKEOVER_TIMEOUT"), _duration),
    "RESEND_AFTER": _duration_or_none,
    "CATCH_UP": _catch_up,
    "SENT_BY_BEAT_ALONE": _names,
    "RUN_WITHOUT_DATABASE": _switch,
    "ENTRIES": _entries,
    "CONVERTERS": _converters,
}
"""What makes of a setting's value the field of ``Config``; texts need nothing."""


def _validate(config: Config) -> None:
    for name, given, least, why in (
        ("LEASE", config.lease, LEAST_LEASE, "a leader that nothing is wrong with would lose a shorter one"),
        (
            "TAKEOVER_TIMEOUT",
            config.takeover_timeout,
            LEAST_TAKEOVER_TIMEOUT,
            "no standby may have seen the switch yet",
        ),
        ("RESEND_AFTER", config.resend_after, LEAST_RESEND_AFTER, "it is not looked for more often; None: never"),
    ):
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
    longest = max(windows)
    if config.retention <= longest + 2 * config.lease:
        raise ConfigurationError(
            "CUTOVER['RETENTION'] must be longer than the longest catch-up window and two leases: "
            f"a slot that the ledger has forgotten could be sent again (now {config.retention}, window {longest})."
        )
    if not config.namespace or not config.namespace.isprintable() or any(c in config.namespace for c in "{} "):
        raise ConfigurationError("CUTOVER['NAMESPACE'] must be printable, without spaces and braces.")


def _s(duration: dt.timedelta) -> str:
    return f"{duration.total_seconds():g} s"


def _suggestion(name: Any, known: Collection[str]) -> str:
    close = difflib.get_close_matches(str(name).upper(), known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; it has {', '.join(sorted(known))}"
