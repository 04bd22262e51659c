"""Whether settings can be meant as they are given: each value by itself, and all of them together.

What cannot is refused before anything starts: ConfigurationError, one line with what is wanted.
"""

import datetime as dt
import difflib
from collections.abc import Collection, Mapping
from contextlib import suppress
from importlib.util import find_spec
from typing import Any, Final

from cutover import check_ins
from cutover.conf.config import Config
from cutover.errors import ConfigurationError
from cutover.types import NAME_LENGTH, CatchUp, EntryName

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
MOST_OF_CATCH_UP: Final = 10_000
"""How many slots of one entry may be waited for at most: each is worked out, and kept in memory."""
EXPOSING: Final = frozenset({"beat", "worker"})
"""The processes that expose metrics on a port of their own."""


def checked(said: str, given: Any, known: Collection[str]) -> dict[str, Any]:
    """A dictionary of settings, each as the field of ``Config``; ``said`` is what an error calls it."""
    if not isinstance(given, Mapping):
        raise ConfigurationError(f"{said} must be a dictionary of settings, not {given!r}.")
    for name in given:
        if name not in known:
            hint = near(str(name).upper(), known) or near(str(name), known) or f"; it has {', '.join(sorted(known))}."
            raise ConfigurationError(f"{said} has no setting {name!r}{hint}")
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
            *others, last = (repr(policy.value) for policy in CatchUp)
            wanted = f"be {', '.join(others)} or {last}, not {value!r}"
        case "CATCH_UP_MOST":
            if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MOST_OF_CATCH_UP:
                return value
            wanted = f"be a number of slots from 1 to {MOST_OF_CATCH_UP:,}, not {value!r}"
        case "SENT_BY_BEAT_ALONE":
            if isinstance(value, list | tuple | set | frozenset) and all(isinstance(v, str) for v in value):
                return frozenset(value)
            wanted = "be a list of task names"
        case "RUN_WITHOUT_DATABASE" | "RUN_ERROR_MESSAGES":
            if isinstance(value, bool):
                return value
            wanted = f"be True or False, not {value!r}"
        case "CONVERTERS":
            if isinstance(value, Mapping) and all(isinstance(part, str) for pair in value.items() for part in pair):
                return dict(value)
            wanted = "map dotted schedule classes to dotted functions that make a schedule a row holds"
        case "RENAMED":
            named = [*value, *value.values()] if isinstance(value, Mapping) else [None]
            if all(isinstance(name, str) and 0 < len(name) <= NAME_LENGTH for name in named):
                return {EntryName(old): EntryName(new) for old, new in value.items()}
            wanted = f"map old entry names to new ones, of {NAME_LENGTH} characters at most"
        case "METRICS_PORT":
            ports = dict.fromkeys(EXPOSING, value) if isinstance(value, int) else value
            if isinstance(ports, Mapping) and ports.keys() <= EXPOSING and all(map(_is_port, ports.values())):
                return dict(ports)
            wanted = f"be a port, or map {' and '.join(sorted(EXPOSING))} to one each, not {value!r}"
        case "METRICS_ENTRIES":
            if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
                return value
            wanted = f"be a number of entries, not {value!r}"
        case "ENTRIES":
            own = ("CATCH_UP", "CATCH_UP_WINDOW", "CATCH_UP_MOST", "CHECK_INS")
            if isinstance(value, Mapping):
                return {entry: checked(f"CUTOVER[{name!r}][{entry!r}]", given, own) for entry, given in value.items()}
            wanted = "map entry names to their own settings"
        case "CHECK_INS" if value is None:
            return dict.fromkeys(check_ins.WHERE)
        case "CHECK_INS":
            if isinstance(value, Mapping):
                return checked(f"CUTOVER[{name!r}]", value, check_ins.WHERE)
            wanted = f"map {' and '.join(check_ins.WHERE)} to where slots are told, or be None"
        case "PING_URL":
            return check_ins.ping_url(value)
        case "SENTRY":
            if value is True or value is False or value is None:
                return {} if value else None
            return checked("CUTOVER['CHECK_INS']['SENTRY']", value, check_ins.OF_MONITOR)
        case _ if name in check_ins.OF_MONITOR:
            if type(value) is check_ins.OF_MONITOR[name]:
                return value
            wanted = f"be {check_ins.OF_MONITOR[name].__name__}, not {value!r}"
        case _:
            if isinstance(value, str):
                return value
            wanted = f"be a string, not {type(value).__name__}"
    raise ConfigurationError(f"CUTOVER[{name!r}] must {wanted}.")


def _is_port(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 65536


def near(name: str, known: Collection[str]) -> str:
    """The end of a sentence about a name that is not known: the known one that it looks like; empty for none."""
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def require_consistent(config: Config) -> None:
    """Raise ConfigurationError where settings contradict each other, or need what is not installed."""
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
    if trouble := _ambiguous(config.renamed):
        raise ConfigurationError(f"CUTOVER['RENAMED'] {trouble}: give each old name its one present name.")
    windows = config.windows
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
    general = config.check_ins.get("PING_URL")
    if general and check_ins.SLUG not in general:
        raise ConfigurationError(
            f"CUTOVER['CHECK_INS']['PING_URL'] must have {check_ins.SLUG} in it, where each entry's slug is to stand: "
            "who is told of all entries under one URL cannot tell which of them is missed."
        )
    told = [config.check_ins, *(own.get("CHECK_INS", {}) for own in config.entries.values())]
    if any(each.get("SENTRY") is not None for each in told) and find_spec("sentry_sdk") is None:
        raise ConfigurationError(
            "CUTOVER['CHECK_INS']['SENTRY'] needs sentry_sdk, which is not installed: pip install sentry-sdk, or leave "
            "the setting out."
        )
    if config.metrics_port and find_spec("prometheus_client") is None:
        raise ConfigurationError(
            "CUTOVER['METRICS_PORT'] needs prometheus_client, which is not installed: "
            "pip install 'django-cutover[metrics]', or leave the setting out."
        )


def _ambiguous(renamed: Mapping[EntryName, EntryName]) -> str:
    """Why it cannot be said what was renamed to what; empty where it can."""
    seen: dict[EntryName, EntryName] = {}
    for old, new in renamed.items():
        if new in seen:
            return f"gives {seen[new]!r} and {old!r} one name, {new!r}"
        seen[new] = old
    for name in renamed:
        walked = [name]
        while (following := renamed.get(walked[-1])) is not None:
            if following in walked:
                return f"goes round in a circle: {' -> '.join([*walked, following])}"
            walked.append(following)
    return ""


def _s(duration: dt.timedelta) -> str:
    return f"{duration.total_seconds():g} s"
