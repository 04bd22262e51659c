"""Code entries against the rows that are to send them: every difference in when they fire and what they send."""

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from celery import Celery
from celery.beat import ScheduleEntry
from celery.schedules import crontab
from django_celery_beat.models import PeriodicTask

from cutover.foreign import text_of
from cutover.plural import counted
from cutover.schedules import messages, overlay, rows
from cutover.schedules.divergence import HORIZON, Divergence, first_divergence
from cutover.schedules.fingerprint import fingerprint
from cutover.schedules.overlay import NOTHING, Overlay
from cutover.schedules.timetable import zone_of
from cutover.types import EntryName

NOT_COMPARED: Final = "not compared"
"""What the row sends, where there is nothing to compare it with."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One field in which a row does not do what the code entry does."""

    entry: EntryName
    field: str
    code: Any
    row: Any

    @property
    def is_of_code(self) -> bool:
        """Whether the code's entry itself cannot be sent, whatever the row holds."""
        return self.row is NOT_COMPARED

    def __str__(self) -> str:
        return f"{self.entry}: {self.field} is {self.code} in code, {self.row} in the row"


def differences(
    app: Celery,
    code: Mapping[EntryName, ScheduleEntry],
    standing: Mapping[EntryName, PeriodicTask],
    since: dt.datetime,
    overlays: Mapping[EntryName, Overlay] = NOTHING,
    progress: Callable[[str], None] = lambda line: None,
    horizon: dt.timedelta = HORIZON,
) -> list[Difference]:
    """Every difference between ``code`` and the ``standing`` rows with their ``overlays``.

    Fire times are compared over ``horizon`` from ``since``; messages as celery would hand them to the broker.
    """
    found: list[Difference] = []
    comparison = _Comparison(app, overlay.Reader(app, overlays), since, horizon)
    for number, name in enumerate(sorted(code.keys() | standing.keys())):
        if number and number % 1_000 == 0:
            progress(f"comparing fire times and messages: {number} of {counted(len(code), 'entry')}")
        if name not in standing:
            found.append(Difference(name, "entry", "present", "missing"))
        elif name not in code:
            found.append(Difference(name, "entry", "missing", "present"))
        else:
            found += comparison.entry(code[name], standing[name])
    return found


class _Comparison:
    def __init__(self, app: Celery, reader: overlay.Reader, since: dt.datetime, horizon: dt.timedelta) -> None:
        self._app = app
        self._reader = reader
        self._builder = messages.Builder(app)
        self._since = since
        self._horizon = horizon
        self._divergences: dict[tuple[str, str], Divergence | None] = {}

    def entry(self, entry: ScheduleEntry, row: PeriodicTask) -> list[Difference]:
        name = EntryName(row.name)
        try:
            sent = self._reader.entry(row, as_proved=False)
        except Exception as exc:  # a schedule written past the model's own checks
            why = f"its schedule cannot be read ({text_of(exc)})" if row.scheduler is not None else "without a schedule"
            return [Difference(name, "entry", "readable", why)]
        if broken := rows.unreadable(row):
            return [Difference(name, "entry", "readable", broken)]
        unset = {"start_time": None, "expires": None, "one_off": row.clocked is not None}
        held = {column: getattr(row, column) for column in unset}
        found = [Difference(name, column, "unset", held[column]) for column in unset if held[column] != unset[column]]
        schedules = entry.schedule, sent.schedule
        pair = fingerprint(entry.schedule), fingerprint(sent.schedule)
        if pair not in self._divergences:
            self._divergences[pair] = first_divergence(*schedules, self._since, self._horizon)
        if (apart := self._divergences[pair]) is not None:
            zones = [zone_of(one) if isinstance(one, crontab) else self._app.timezone for one in schedules]
            found.append(Difference(name, "fire time", *(_spelt(at, zones) for at in apart)))
        return found + self._messages(name, entry, sent)

    def _messages(self, name: EntryName, entry: ScheduleEntry, sent: ScheduleEntry) -> list[Difference]:
        in_code = None
        try:
            in_code = self._builder.message(entry)
            in_row = self._builder.message(sent)
            apart = messages.differing(in_code, in_row, lambda: self._builder.message(entry))
        except messages.Unsendable as exc:
            why = f"not to be sent ({exc})"
            return [Difference(name, "message", *(("sent", why) if in_code else (why, NOT_COMPARED)))]
        return [Difference(name, field, *both) for field, both in apart.items()]


def _spelt(at: dt.datetime | None, zones: list[dt.tzinfo]) -> str:
    """An instant in both sides' zones; once where they have one name."""
    if at is None:
        return "never"
    return " = ".join(dict.fromkeys(f"{at.astimezone(zone).isoformat(sep=' ')} {zone}" for zone in zones))
