"""Every metric by name: its kind, its labels, its meaning, and which process exposes it."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Final, NamedTuple


class Kind(StrEnum):
    """Prometheus' kinds of metrics."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Place(StrEnum):
    """The process that exposes a metric; the web process does so for the site."""

    BEAT = "beat"
    WORKER = "worker"
    WEB = "web"


class Described(NamedTuple):
    """One metric. A scrape shows its meaning, ``docs/metrics.md`` the detail too: `make reference`."""

    kind: Kind
    places: Sequence[Place]
    labels: Sequence[str]
    meaning: str
    detail: str = ""


_BEAT, _WORKER, _WEB = (Place.BEAT,), (Place.WORKER,), (Place.WEB,)
_COUNTER, _GAUGE, _HISTOGRAM = Kind

METRICS: Final = {
    "cutover_leader": Described(_GAUGE, _BEAT, ("side",), "1 while this beat leads, 0 while it stands by"),
    "cutover_last_turn_timestamp_seconds": Described(
        _GAUGE, _BEAT, (), "When this beat's loop turned last", "Every two seconds at least."
    ),
    "cutover_epoch": Described(
        _GAUGE,
        (Place.BEAT, Place.WEB),
        (),
        "In a beat the epoch of its latest term, in the web that of the fence",
        "It rises with every term and every switch of side.",
    ),
    "cutover_slots_total": Described(
        _COUNTER,
        _BEAT,
        ("outcome",),
        "What has become of slots",
        "The outcomes are the last words of the events `cutover.slot.…` in docs/events.md. A message that is swept or "
        "resent is published once more, and counts once more.",
    ),
    "cutover_slots_missed_total": Described(
        _COUNTER,
        _BEAT,
        ("entry",),
        "Slots that are not sent, those passed over among them",
        "An entry has a series from its first one on, whatever the limit.",
    ),
    "cutover_slot_delay_seconds": Described(_HISTOGRAM, _BEAT, (), "From due to published", "By the beat's clock."),
    "cutover_run_delay_seconds": Described(
        _HISTOGRAM,
        _WORKER,
        (),
        "From due to the start of a slot's run",
        "By the worker's clock; retries do not count.",
    ),
    "cutover_run_duration_seconds": Described(
        _HISTOGRAM,
        _WORKER,
        ("outcome",),
        "From start to end of an attempt",
        "The outcome is `succeeded`, `failed` or `retried`.",
    ),
    "cutover_runs_deduplicated_total": Described(_COUNTER, _WORKER, (), "Further messages of slots, dropped"),
    "cutover_up": Described(
        _GAUGE,
        _WEB,
        ("server",),
        "1 where the server has answered this scrape, 0 where not",
        "The servers are `database` and `redis`.",
    ),
    "cutover_led": Described(
        _GAUGE,
        _WEB,
        ("side",),
        "1 where a living leader holds the lease for the active side",
        "And has a term in this database: a beat of another site may hold it, too.",
    ),
    "cutover_standbys": Described(_GAUGE, _WEB, ("side",), "Living beats that stand by, warm"),
    "cutover_paused": Described(
        _GAUGE,
        _WEB,
        ("entry",),
        "1 while the entry is paused",
        "With an empty `entry` everything: 0 where it is not. See docs/pause.md.",
    ),
    "cutover_unmanaged_beats": Described(
        _GAUGE,
        _WEB,
        (),
        "Beats without the lease that were heard lately",
        "Probable ones too, until they have fallen silent.",
    ),
    "cutover_slots_stuck": Described(
        _GAUGE,
        _WEB,
        ("state",),
        "Slots that are claimed, or published, for too long",
        "`claimed` and not published for 5 s, or `published` and not started for two minutes and its `countdown`.",
    ),
    "cutover_entries": Described(_GAUGE, _WEB, (), "Entries of the active side"),
    "cutover_entry_info": Described(_GAUGE, _WEB, ("entry", "side", "task"), "1 for an entry; its side and its task"),
    "cutover_entry_next_due_timestamp_seconds": Described(
        _GAUGE,
        _WEB,
        ("entry",),
        "Its first slot after the latest",
        "After the latest in the ledger, that is; in the past while it is overdue.",
    ),
    "cutover_entry_last_run_timestamp_seconds": Described(
        _GAUGE, _WEB, ("entry",), "When its latest run started", "As far as this process has seen one."
    ),
    "cutover_entry_condition": Described(
        _GAUGE,
        _WEB,
        ("entry", "condition"),
        "1 while this is wrong with the entry",
        "As `status` shows it: `unsendable`, `without_row`, `overdue`, `unsent`, `missed` (the latest slot), "
        "`not_run`, `lost`, `failing`, `unknown_task`, `future`, `unmanaged`, and what is no problem: "
        "`paused`, `catching_up` (its backlog is being worked off), `unseen` (no leader has taken it up), `unrecorded` "
        "(sent before the workers were asked for the run guard), `retrying`, `missed_earlier` (in the last day), "
        "`deduplicated`.",
    ),
}

BUCKETS_S: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0, 43200.0)
"""The bounds of every histogram: from what is quick to the longest that is caught up by default."""


def family(name: str) -> Any:
    """An empty family of samples of the metric, as ``prometheus_client`` has it."""
    from prometheus_client import core

    kind, _, labels, meaning, _ = METRICS[name]
    made = {
        Kind.COUNTER: core.CounterMetricFamily,
        Kind.GAUGE: core.GaugeMetricFamily,
        Kind.HISTOGRAM: core.HistogramMetricFamily,
    }
    return made[kind](name, meaning, labels=labels)
