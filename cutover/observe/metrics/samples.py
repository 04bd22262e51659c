"""A reading of the site as samples. Series of an entry up to a limit, and those of what is wrong always."""

from collections.abc import Iterator, Mapping
from typing import Any

from cutover.observe.conditions import Severity
from cutover.observe.entries import EntryRecord
from cutover.observe.metrics.catalogue import family
from cutover.observe.metrics.site import Overview, Readings
from cutover.types import SlotState


class Site:
    """The collector. ``limit``: of how many entries there are series; the first ones by name, and the ill."""

    def __init__(self, readings: Readings, limit: int) -> None:
        self._readings, self._limit = readings, limit
        self._ran_at = dict[str, float]()

    def collect(self) -> Iterator[Any]:
        """The samples of what was read."""
        reading = self._readings.latest()
        yield _many("cutover_up", {(server.value,): float(is_up) for server, is_up in [*reading.up.items()]})
        yield from _one("cutover_epoch", reading.epoch)
        if reading.is_led is not None and reading.side is not None:
            yield _many("cutover_led", {(reading.side.value,): float(reading.is_led)})
        if reading.standbys is not None:
            yield _many("cutover_standbys", {(side.value,): float(n) for side, n in reading.standbys.items()})
        if reading.paused is not None:  # without an entry the site: 0 is said too, for whoever waits for a change
            yield _many("cutover_paused", {("",): 0.0, **{(entry,): 1.0 for entry in reading.paused}})
        if (seen := reading.overview) is not None:
            yield from _one("cutover_unmanaged_beats", seen.unmanaged)
            states = (SlotState.CLAIMED, SlotState.PUBLISHED)
            yield _many("cutover_slots_stuck", {(s.value,): float(seen.stuck.get(s, 0)) for s in states})
            yield from _one("cutover_entries", len(seen.entries))
            yield from self._of_entries(seen)

    def _of_entries(self, seen: Overview) -> Iterator[Any]:
        records = seen.entries
        first = {record.entry for record in sorted(records, key=lambda record: record.entry)[: self._limit]}
        shown = [record for record in records if record.entry in first or record.severity is Severity.PROBLEM]
        self._remember(shown)
        yield _many("cutover_entry_info", {(r.entry, seen.side.value, seen.tasks.get(r.entry, "")): 1.0 for r in shown})
        due = {(r.entry,): r.next_due.timestamp() for r in shown if r.next_due is not None}
        yield _many("cutover_entry_next_due_timestamp_seconds", due)
        ran = {(r.entry,): self._ran_at[r.entry] for r in shown if r.entry in self._ran_at}
        yield _many("cutover_entry_last_run_timestamp_seconds", ran)
        found = {(r.entry, one.condition.value): 1.0 for r in shown for one in r.findings}
        yield _many("cutover_entry_condition", found)

    def _remember(self, shown: list[EntryRecord]) -> None:
        """When each ran last: a record has its latest slot alone, which may have to wait for a worker."""
        known = {record.entry: self._ran_at.get(record.entry) for record in shown}
        for record in shown:
            if record.last is not None and record.last.started_at is not None:
                known[record.entry] = record.last.started_at.timestamp()
        self._ran_at = {entry: at for entry, at in known.items() if at is not None}


def _one(name: str, value: float | None) -> Iterator[Any]:
    if value is not None:
        yield _many(name, {(): float(value)})


def _many(name: str, values: Mapping[Any, float]) -> Any:
    made = family(name)
    for labels, value in values.items():
        made.add_metric(labels, value)
    return made
